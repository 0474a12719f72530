"""How far a consumer group has committed, asked and told from outside the group.

Not through the admin client: a coordinator that is just moving makes it crash
(ListConsumerGroupOffsets of librdkafka 2.16). A consumer that never joins asks as well.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streams.kafka_config import KafkaConfig
from streams.kafka_writer import log_error
from streams.log import LogUnavailable

ANSWER_TIMEOUT_S: Final = 15.0
AGAIN_AFTER_S: Final = 0.05
_MEMBERS: Final = frozenset(
    {
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.REBALANCE_IN_PROGRESS,
    }
)
"""What a group with members says to who is none."""
_PASSING: Final = frozenset(
    {
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError._TRANSPORT,
        KafkaError._WAIT_COORD,
    }
)


class KafkaGroup:
    """One group's offsets; safe for threads."""

    def __init__(self, config: KafkaConfig, group: str) -> None:
        """Name a group; nothing is asked yet."""
        self._group = group
        self._lock = threading.Lock()
        self._consumer = Consumer(
            config.librdkafka(**{"group.id": group, "enable.auto.commit": False})
        )

    def committed(
        self, places: Collection[tuple[str, int]]
    ) -> dict[tuple[str, int], int | None]:
        """Return the next offset of each (topic, partition); None: never committed.

        Raises:
          LogUnavailable: The brokers do not answer in time.
        """
        asked = [TopicPartition(*place) for place in places]
        found: list[TopicPartition] = []

        def ask() -> KafkaError | None:
            found[:] = self._consumer.committed(asked, timeout=ANSWER_TIMEOUT_S)
            return next((one.error for one in found if one.error is not None), None)

        self._until_done(ask, f"cannot ask how far group {self._group} is")
        return {
            (one.topic, one.partition): one.offset if one.offset >= 0 else None
            for one in found
        }

    def commit(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Store offsets by (topic, partition); smaller ones are ignored.

        Raises:
          LogUnavailable: The group has members, which commit by themselves; or the
            brokers do not answer in time.
        """
        before = self.committed(offsets)
        ahead = [
            TopicPartition(*place, offset)
            for place, offset in offsets.items()
            if (was := before[place]) is None or was < offset
        ]

        def store() -> KafkaError | None:
            done = self._consumer.commit(offsets=ahead, asynchronous=False)
            return next((one.error for one in done if one.error is not None), None)

        if ahead:
            self._until_done(store, f"cannot commit for group {self._group}")

    def _until_done(self, work: Callable[[], KafkaError | None], what: str) -> None:
        """Do something that returns its error; again while the coordinator moves."""
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while True:
            try:
                with self._lock:
                    error = work()
            except KafkaException as raised:
                error = raised.args[0]
            if error is None:
                return
            if error.code() in _MEMBERS:
                raise LogUnavailable(
                    f"group {self._group} has members. Stop all workers first, and "
                    "wait until those that were killed are missed: 15 seconds"
                )
            if error.code() not in _PASSING or time.monotonic() >= deadline:
                raise log_error(error, what)
            time.sleep(AGAIN_AFTER_S)

    def close(self) -> None:
        """Let go of the brokers; call it once."""
        self._consumer.close()
