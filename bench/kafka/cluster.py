"""The broker as the benchmarks use it: topics, producing, offsets, reading a ledger."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported there
    AdminClient,
    NewTopic,
    OffsetSpec,
)

from bench.instance import BenchFailed
from streams.log import Append

TIMEOUT_S: Final = 30.0
TRANSACTION_TIMEOUT_S: Final = 120.0
"""Outlasts librdkafka's transaction.timeout.ms, a minute."""
QUEUE_RECORDS_MAX: Final = 200_000
READ_RECORDS_MAX: Final = 1_000
READ_WAIT_S: Final = 0.05
PACE_S: Final = 0.01
"""A paced load is sent in portions this far apart."""


class Cluster:
    """One broker; safe for threads but for `produce`, which is for one."""

    def __init__(self, address: str) -> None:
        """Connect at the first call."""
        self.address = address
        self._settings: dict[str, Any] = {"bootstrap.servers": address, "log_level": 0}
        self._admin = AdminClient(self._settings)

    def make_topics(self, counts: Mapping[str, int]) -> None:
        """Make topics with some partitions each, one replica."""
        topics = [NewTopic(name, n, replication_factor=1) for name, n in counts.items()]
        for future in self._admin.create_topics(topics).values():
            future.result(TIMEOUT_S)

    def produce(
        self,
        records: Sequence[Append],
        per_second: float | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """Store records and return once the broker has acknowledged all of them.

        Args:
          records: In this order, of each partition.
          per_second: How many a second, at an even pace; None: as fast as can be.
          stop: Once set, the rest is not sent.
        """
        producer = Producer(
            {
                **self._settings,
                "enable.idempotence": True,
                "linger.ms": 5,
                "queue.buffering.max.messages": QUEUE_RECORDS_MAX,
            }
        )
        failed: list[KafkaError] = []

        def delivered(error: KafkaError | None, _message: object) -> None:
            if error is not None:
                failed.append(error)

        began = time.monotonic()
        for number, record in enumerate(records):
            if stop is not None and stop.is_set():
                break
            while per_second and time.monotonic() - began < number / per_second:
                producer.poll(PACE_S)
            while True:
                try:
                    producer.produce(
                        record.topic,
                        record.value,
                        record.key,
                        record.partition,
                        on_delivery=delivered,
                    )
                    break
                except BufferError:
                    producer.poll(PACE_S)
            producer.poll(0)
        if producer.flush(TIMEOUT_S) or failed:
            raise BenchFailed(f"the broker does not take the load: {failed[:1]}")

    def ends(
        self, topic: str, partitions: int, *, committed: bool = False
    ) -> list[int]:
        """Return the offset that the next record of each partition will get.

        Args:
          topic: Topic.
          partitions: Of the topic.
          committed: Up to the first record that a transaction may still take back.
        """
        places = [TopicPartition(topic, number) for number in range(partitions)]
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        found = self._admin.list_offsets(
            dict.fromkeys(places, latest),
            isolation_level=IsolationLevel.READ_COMMITTED
            if committed
            else IsolationLevel.READ_UNCOMMITTED,
        )
        return [found[place].result(TIMEOUT_S).offset for place in places]

    def wait_until_committed(self, topic: str, partitions: int) -> float:
        """Wait until no transaction is open and return how long it took, seconds.

        That of a producer that was killed is open until the broker takes it back.
        """
        began = time.monotonic()
        while self.ends(topic, partitions, committed=True) != self.ends(
            topic, partitions
        ):
            if time.monotonic() - began > TRANSACTION_TIMEOUT_S:
                raise BenchFailed(f"a transaction on {topic} stays open")
            time.sleep(READ_WAIT_S)
        return time.monotonic() - began

    def committed(self, group: str, topic: str, partitions: int) -> list[int]:
        """Return the next offset a group would read of each partition; none: 0."""
        places = [TopicPartition(topic, number) for number in range(partitions)]
        asked = [ConsumerGroupTopicPartitions(group, places)]
        found = self._admin.list_consumer_group_offsets(asked)[group]
        offsets = {
            one.partition: one.offset
            for one in found.result(TIMEOUT_S).topic_partitions
        }
        return [max(0, offsets[number]) for number in range(partitions)]

    def lags(self, group: str, topic: str, partitions: int) -> list[int]:
        """Return how many records of each partition a group has not committed yet."""
        ends = self.ends(topic, partitions)
        done = self.committed(group, topic, partitions)
        return [end - offset for end, offset in zip(ends, done, strict=True)]

    def members(self, group: str, topic: str) -> int:
        """Return how many members of a group have partitions of a topic."""
        found = self._admin.describe_consumer_groups([group])[group].result(TIMEOUT_S)
        return sum(
            any(place.topic == topic for place in member.assignment.topic_partitions)
            for member in found.members
        )

    def reader(self, topic: str, partitions: int, *, committed: bool) -> "Reader":
        """Return a reader of a whole topic; see `Reader`."""
        return Reader(self._settings, topic, partitions, committed=committed)


class Reader:
    """Reads a topic from its beginning, and goes on from there at each call."""

    def __init__(
        self,
        settings: Mapping[str, Any],
        topic: str,
        partitions: int,
        *,
        committed: bool,
    ) -> None:
        """Begin.

        Args:
          settings: Of the broker.
          topic: Topic.
          partitions: Of the topic.
          committed: Only what no transaction may still take back.
        """
        self._partitions = partitions
        self._ended: set[int] = set()
        self._consumer = Consumer(
            {
                **settings,
                "group.id": "bench-reader",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 50,
                "isolation.level": "read_committed"
                if committed
                else "read_uncommitted",
            }
        )
        self._consumer.assign(
            [TopicPartition(topic, number, 0) for number in range(partitions)]
        )

    def __enter__(self) -> "Reader":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the broker."""
        self._consumer.close()

    def read_new(self) -> list[tuple[int, bytes]]:
        """Return (partition, value) of what has come in since the last call."""
        return [
            (int(message.partition() or 0), message.value() or b"")
            for message in self._consume()
        ]

    def read_to_end(self) -> list[tuple[int, bytes]]:
        """Return (partition, value) of all records; for a fresh reader."""
        found = []
        deadline = time.monotonic() + TIMEOUT_S
        while len(self._ended) < self._partitions:
            for message in self._consume():
                deadline = time.monotonic() + TIMEOUT_S
                found.append((int(message.partition() or 0), message.value() or b""))
            if time.monotonic() > deadline:
                raise BenchFailed("the ledger cannot be read to its end")
        return found

    def _consume(self) -> Iterator[Any]:
        for message in self._consumer.consume(READ_RECORDS_MAX, READ_WAIT_S):
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                self._ended.add(int(message.partition() or 0))
            else:
                raise BenchFailed(f"cannot read the ledger: {error.str()}")
