"""Appends to Kafka: acknowledged by all in-sync replicas, idempotent, in order.

One producer serves all threads; its acknowledgements come in on a thread of its own.
"""

import logging
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from streams.kafka_config import KafkaConfig
from streams.kafka_errors import log_error
from streams.log import Append, LogUnavailable

logger = logging.getLogger("plaudit")

QUEUE_KBYTES_MAX: Final = 65_536
"""Records that wait for their acknowledgement; beyond it calls wait, then fail."""
QUEUE_RECORDS_MAX: Final = 100_000
REQUEST_TIMEOUT_MS: Final = 5_000
"""How long one broker may take; then the record is sent again, within the timeout."""
POLL_S: Final = 0.1
ROOM_S: Final = 0.01
"""How often a call looks for room in a full queue."""
GRACE_S: Final = 2.0
"""A producer gives up at the timeout and says so a moment later."""


class _Call:
    """Some records on their way, and who waits for them."""

    def __init__(self, count: int) -> None:
        self.offsets = [-1] * count
        self.error: KafkaError | None = None
        self._left = count
        self._lock = threading.Lock()
        self._done = threading.Event()

    def acknowledged(self, place: int, error: KafkaError | None, message: Any) -> None:
        """Take what became of one record, on whatever thread serves the producer."""
        with self._lock:
            if error is None:
                self.offsets[place] = message.offset()
            elif self.error is None:
                self.error = error
            self._left -= 1
            if self._left == 0:
                self._done.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait until all of them are done; tell whether they are."""
        return self._done.wait(timeout_s)


class KafkaWriter:
    """Safe for threads."""

    def __init__(self, config: KafkaConfig, timeout_s: float) -> None:
        """Prepare a producer; it connects by itself.

        Args:
          config: The cluster.
          timeout_s: How long a record may wait for its acknowledgement, seconds.
        """
        self._config = config
        self._timeout_s = timeout_s
        self._mutex = threading.Lock()
        self._failed: KafkaError | None = None
        self._producer = self._new_producer()
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=self._serve, name="kafka-acks", daemon=True
        )
        self._thread.start()

    def append(self, appends: Sequence[Append]) -> list[int]:
        """Store records; see `Log.append_many`."""
        if not appends:
            return []
        call = _Call(len(appends))
        deadline = time.monotonic() + self._timeout_s
        # A call's records stay together; others wait their turn.
        if not self._mutex.acquire(timeout=self._timeout_s):
            raise LogUnavailable("too much waits to be written; try again shortly")
        try:
            producer = self._producer
            for place, append in enumerate(appends):
                answered = partial(call.acknowledged, place)
                self._send(producer, append, answered, deadline)
        except KafkaException as error:
            raise log_error(error.args[0], "not written") from error
        finally:
            self._mutex.release()
        if not call.wait(deadline + GRACE_S - time.monotonic()):
            raise LogUnavailable(
                f"not written within {self._timeout_s:g} seconds. Check the brokers; "
                "it may still become so"
            )
        if call.error is not None:
            raise log_error(call.error, "not written")
        return call.offsets

    def close(self) -> None:
        """Let go of the brokers; idempotent. Nobody may be waiting for an append."""
        if not self._closing.is_set():
            self._closing.set()
            self._thread.join()
            self._producer.purge()
            self._producer.flush(0)

    def _new_producer(self) -> Producer:
        return Producer(
            self._config.librdkafka(
                **{
                    "acks": "all",
                    "enable.idempotence": True,
                    "linger.ms": 0,
                    "message.timeout.ms": int(self._timeout_s * 1_000),
                    "request.timeout.ms": REQUEST_TIMEOUT_MS,
                    "queue.buffering.max.kbytes": QUEUE_KBYTES_MAX,
                    "queue.buffering.max.messages": QUEUE_RECORDS_MAX,
                    # Without it an error would be raised where it is polled.
                    "error_cb": self._take_error,
                }
            )
        )

    def _send(
        self, producer: Producer, append: Append, answered: Any, deadline: float
    ) -> None:
        while True:
            try:
                producer.produce(
                    append.topic,
                    value=append.value,
                    key=append.key,
                    partition=append.partition,
                    on_delivery=answered,
                )
            except BufferError:
                if time.monotonic() >= deadline:
                    raise LogUnavailable(
                        "too much waits to be written; try again shortly"
                    ) from None
                # Acknowledgements make room; they come in on their own thread.
                time.sleep(ROOM_S)
            else:
                return

    def _take_error(self, error: KafkaError) -> None:
        """Note that the producer has failed for good; the rest it mends by itself."""
        if error.fatal():
            self._failed = error

    def _replace(self) -> None:
        """Begin with a new producer: one that failed for good takes nothing more."""
        with self._mutex:
            failed, self._producer = self._producer, self._new_producer()
            self._failed = None
        # Whoever waits for something it still holds is told.
        failed.purge()
        failed.flush(GRACE_S)

    def _serve(self) -> None:
        while not self._closing.is_set():
            self._producer.poll(POLL_S)
            if self._failed is not None:
                logger.warning("a new producer, because one failed: %s", self._failed)
                self._replace()
