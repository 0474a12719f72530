"""Reads a partition from any offset, for checks, tools and rebuilds.

What the workers fold comes in through Faust (streams/transports/kafka.py); this is for
who reads here and there. A read that goes on where the last one ended takes what was
fetched ahead.

A consumer that fails again and again is replaced: librdkafka's does not always find its
way back to brokers that hung and were started again.
"""

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streams.kafka_config import KafkaConfig
from streams.kafka_errors import ask, log_error
from streams.log import LogUnavailable, Record

logger = logging.getLogger("plaudit")

READ_BYTES_MAX: Final = 4_000_000
"""A read stops after the record that passes this."""
AHEAD_RECORDS_MAX: Final = 500
AHEAD_KBYTES_MAX: Final = 16_384
FETCH_WAIT_MS: Final = 20
"""How long a broker may hold back an answer that is empty."""
LEADERS_S: Final = 1.0
BOUNDS_S: Final = 3.0
"""How long a broker may take to say where a partition ends; then it is asked again."""
POLL_S: Final = 0.5
FAILURES_MAX: Final = 3
"""So many calls in a row that the brokers do not answer in time, and the consumer is
replaced; that costs little, and the next call finds out."""
NAME: Final = "plaudit-reader"
"""Clients must name a group, though this one never joins it."""


class _Client:
    """A consumer, how it fares, and how many calls are using it."""

    def __init__(self, consumer: Consumer) -> None:
        self.consumer = consumer
        self.calls = 0
        self.failures = 0


class KafkaReader:
    """Safe for threads; one reads at a time."""

    def __init__(self, config: KafkaConfig, timeout_s: float) -> None:
        """Prepare a consumer; it connects by itself.

        Args:
          config: The cluster.
          timeout_s: Longest wait for a record that is known to be there, seconds.
        """
        self._config = config
        self._timeout_s = timeout_s
        self._lock = threading.Lock()
        self._mutex = threading.Lock()
        self._client = self._new_client()
        # Whose all of the following is.
        self._read_by = self._client
        self._place: tuple[str, int, int] | None = None
        self._ahead: deque[Record] = deque()
        self._open = True
        self._knows_leaders = False
        self._end_seen = -1

    def _new_client(self) -> _Client:
        consumer = Consumer(
            self._config.librdkafka(
                **{
                    "group.id": NAME,
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "enable.partition.eof": True,
                    "auto.offset.reset": "error",
                    "isolation.level": "read_uncommitted",
                    "fetch.wait.max.ms": FETCH_WAIT_MS,
                    "fetch.error.backoff.ms": FETCH_WAIT_MS,
                    "queued.max.messages.kbytes": AHEAD_KBYTES_MAX,
                }
            )
        )
        return _Client(consumer)

    @contextlib.contextmanager
    def _using(self) -> Iterator[_Client]:
        """Have the consumer for the length of a block, and note how it fared.

        Raises:
          LogUnavailable: What the block raises; or the reader is closed.
        """
        with self._mutex:
            if not self._open:
                raise LogUnavailable("the log is closed")
            client = self._client
            client.calls += 1
        failed = False
        try:
            yield client
        except LogUnavailable:
            failed = True
            raise
        finally:
            self._leave(client, failed=failed)

    def _leave(self, client: _Client, *, failed: bool) -> None:
        with self._mutex:
            client.calls -= 1
            client.failures = client.failures + 1 if failed else 0
            stuck = client.failures >= FAILURES_MAX and client is self._client
            if stuck and self._open:
                logger.warning("a new consumer, because one reached no broker")
                # Where there can be none, the old one is tried again.
                with contextlib.suppress(KafkaException):
                    self._client = self._new_client()
            gone = client is not self._client or not self._open
            last = gone and client.calls == 0
        if last:
            # Its brokers may hang: nobody waits for the end of it.
            threading.Thread(
                target=client.consumer.close, name="kafka-close", daemon=True
            ).start()

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the first offset kept and the next one, of a partition.

        Raises:
          LogUnavailable: The brokers do not answer in time.
        """
        place = TopicPartition(topic, partition)
        what = f"cannot ask where {topic}/{partition} ends"
        # The last question may begin just before the end.
        timeout_s = self._timeout_s - BOUNDS_S - LEADERS_S
        with self._using() as client:
            return ask(lambda: _watermarks(client.consumer, place), what, timeout_s)

    def read(
        self, topic: str, partition: int, offset: int, end: int, records_max: int
    ) -> list[Record]:
        """Return records from an offset on, in order.

        Args:
          topic: Topic.
          partition: Partition.
          offset: Where to begin; not before the first offset kept.
          end: An offset that the partition is known to end at, or beyond.
          records_max: At most so many, and about 4 MB.

        Raises:
          LogUnavailable: The brokers do not answer in time.
        """
        records: list[Record] = []
        with self._lock, self._using() as client:
            self._read_with(client)
            try:
                self._go_to(topic, partition, offset)
                room = READ_BYTES_MAX
                deadline = time.monotonic() + self._timeout_s
                while offset < end and len(records) < records_max and room >= 0:
                    if not self._ahead and not self._fetch(end, deadline):
                        break
                    record = self._ahead.popleft()
                    records.append(record)
                    room -= len(record.value)
                    offset = record.offset + 1
            except BaseException:
                self._place = None
                raise
            self._place = (topic, partition, offset)
            if offset >= end and not self._ahead:
                self._rest()
        return records

    def close(self) -> None:
        """Let go of the brokers; idempotent."""
        with self._lock, self._mutex:
            was_open, self._open = self._open, False
            client = self._client
            # The last of those that still ask closes it.
            unused = client.calls == 0
        if was_open and unused:
            client.consumer.close()

    def _read_with(self, client: _Client) -> None:
        """Begin anew where the consumer is another than before."""
        if self._read_by is not client:
            self._read_by = client
            self._place = None
            self._knows_leaders = False

    def _go_to(self, topic: str, partition: int, offset: int) -> None:
        if not self._knows_leaders:
            # Else the first read of every topic waits a second for who leads it.
            try:
                self._read_by.consumer.list_topics(timeout=self._timeout_s)
            except KafkaException as error:
                raise log_error(error.args[0], "no broker answers") from error
            self._knows_leaders = True
        if self._place != (topic, partition, offset):
            self._ahead.clear()
            self._end_seen = -1
            self._read_by.consumer.assign([TopicPartition(topic, partition, offset)])

    def _rest(self) -> None:
        """Fetch nothing while nobody reads."""
        self._place = None
        self._read_by.consumer.unassign()

    def _fetch(self, end: int, deadline: float) -> bool:
        """Take what has come in, at least a record; False: there is none up to the end.

        The last records below the end may be none of ours: marks of transactions.
        """
        while not self._ahead and self._end_seen < end:
            first = self._read_by.consumer.poll(POLL_S)
            if first is not None:
                for message in (
                    first,
                    *self._read_by.consumer.consume(AHEAD_RECORDS_MAX, timeout=0),
                ):
                    self._take(message)
            elif time.monotonic() >= deadline:
                raise LogUnavailable(
                    f"nothing to read within {self._timeout_s:g} seconds. Check the "
                    "brokers; try again"
                )
        return bool(self._ahead)

    def _take(self, message: Any) -> None:
        error = message.error()
        if error is None:
            self._ahead.append(_record(message))
        elif error.code() == KafkaError._PARTITION_EOF:
            self._end_seen = message.offset()
        else:
            raise log_error(error, "cannot read") from KafkaException(error)


def _watermarks(consumer: Consumer, place: TopicPartition) -> tuple[int, int]:
    """Return the first offset kept and the next one, of a partition.

    Raises:
      KafkaException: No answer, or not yet.
    """
    try:
        first, end = consumer.get_watermark_offsets(place, BOUNDS_S)
    except KafkaException:
        # A leader that is gone stays unknown to a client that fetches nothing, for
        # ever, unless it asks for all topics. That nobody tells them either is no news:
        # the question failed for a reason.
        with contextlib.suppress(KafkaException):
            consumer.list_topics(timeout=LEADERS_S)
        raise
    if first < 0 or end < 0:
        # What a partition says that has just been made.
        raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
    return first, end


def _record(message: Any) -> Record:
    _kind, stamp_ms = message.timestamp()
    return Record(message.offset(), stamp_ms, message.key(), message.value() or b"")
