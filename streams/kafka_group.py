"""How far a consumer group has committed, asked and told from outside the group.

Not through the admin client: a coordinator that is just moving makes it crash
(ListConsumerGroupOffsets of librdkafka 2.16). A consumer that never joins asks as well.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, TypeAlias

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from streams.kafka_config import KafkaConfig
from streams.kafka_errors import ask
from streams.log import LogError, LogUnavailable

ANSWER_TIMEOUT_S: Final = 15.0
POLL_S: Final = 0.1
"""How often a commit looks whether it was answered."""
_MEMBERS: Final = frozenset(
    {
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.REBALANCE_IN_PROGRESS,
    }
)
"""What a group with members says to who is none."""


Committed: TypeAlias = tuple[KafkaError | None, list[TopicPartition]]
"""What a commit came to, as a whole and each partition."""


class KafkaGroup:
    """One group's offsets; safe for threads."""

    def __init__(self, config: KafkaConfig, group: str) -> None:
        """Name a group; nothing is asked yet."""
        self._group = group
        self._lock = threading.Lock()
        self._answered: list[Committed] = []
        self._consumer = Consumer(
            config.librdkafka(
                **{
                    "group.id": group,
                    "enable.auto.commit": False,
                    "on_commit": self._take_answer,
                }
            )
        )

    def committed(
        self, places: Collection[tuple[str, int]]
    ) -> dict[tuple[str, int], int | None]:
        """Return the next offset of each (topic, partition); None: never committed.

        Raises:
          LogUnavailable: The brokers do not answer in time.
        """
        asked = [TopicPartition(*place) for place in places]
        found = self._ask(lambda: self._consumer.committed(asked, ANSWER_TIMEOUT_S))
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
        if ahead:
            self._ask(lambda: self._commit(ahead))

    def _commit(self, offsets: Sequence[TopicPartition]) -> list[TopicPartition]:
        """Commit, and wait for the answer: the client's own wait has no timeout."""
        asked = _places(offsets)
        self._answered.clear()
        self._consumer.commit(offsets=list(offsets), asynchronous=True)
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while time.monotonic() < deadline:
            self._consumer.poll(POLL_S)
            for error, found in self._answered:
                # One to an earlier commit, too late for it, may come first.
                if _places(found) == asked:
                    if error is not None:
                        raise KafkaException(error)
                    return found
        raise LogUnavailable(f"group {self._group}: no answer. Check the brokers")

    def _take_answer(
        self, error: KafkaError | None, found: list[TopicPartition]
    ) -> None:
        self._answered.append((error, found))

    def _ask(self, question: Callable[[], list[TopicPartition]]) -> Sequence[Any]:
        """Ask the group's coordinator, of several threads one at a time."""

        def answer() -> Sequence[Any]:
            with self._lock:
                found = question()
            for one in found:
                if one.error is not None:
                    raise KafkaException(one.error)
            return found

        try:
            return ask(answer, f"group {self._group}", ANSWER_TIMEOUT_S)
        except LogError as error:
            cause = error.__cause__
            if isinstance(cause, KafkaException) and cause.args[0].code() in _MEMBERS:
                raise LogUnavailable(
                    f"group {self._group} has members. Stop all workers first, and "
                    "wait until those that were killed are missed: 15 seconds"
                ) from error
            raise

    def close(self) -> None:
        """Let go of the brokers; call it once."""
        self._consumer.close()


def _places(offsets: Sequence[TopicPartition]) -> set[tuple[str, int, int]]:
    return {(one.topic, one.partition, one.offset) for one in offsets}
