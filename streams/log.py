"""The log: ordered, durable records in topics and partitions. A port with two drivers.

SQLite files in the data folder (streams/sqlite_log.py), or topics of Kafka brokers
(streams/kafka_log.py).

Offsets of a partition begin at 0, are contiguous and never reused. A stamp
(`receivedAt`, ms since the epoch) is given by the log when it stores the record; it
never decreases within a partition, unless a broker's clock is set back.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, overload

from rules.errors import PlauditError
from rules.message import Message


class Record(NamedTuple):
    """What stands at one offset."""

    offset: int
    stamp_ms: int
    key: bytes | None
    value: bytes


class Append(NamedTuple):
    """One record to be stored."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes


class Log(Protocol):
    """Safe for threads; several processes may hold the same log."""

    def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has; raises `UnknownTopic`."""

    def append_many(self, appends: Sequence[Append]) -> list[int]:
        """Store records and return their offsets, in order, once they are durable.

        Records of one call for one partition stand in its order.

        Raises:
          LogUnavailable: Not durable in time; any of them may still become so.
          UnknownTopic: A topic or a partition does not exist; nothing is stored.
        """

    def read(
        self, topic: str, partition: int, offset: int, *, records_max: int = 1_000
    ) -> list[Record]:
        """Return records from an offset on, in order; empty at the end.

        At most `records_max` records and about 4 MB.
        """

    def first_offset(self, topic: str, partition: int) -> int:
        """Return the offset of the oldest record kept."""

    def end_offset(self, topic: str, partition: int) -> int:
        """Return the offset that the next record will get."""

    def close(self) -> None:
        """Release files and threads; idempotent."""


class GroupLog(Log, Protocol):
    """A log that also keeps how far a group of workers is done with it."""

    @property
    def log_id(self) -> str:
        """The log's id, 32 hex digits: that of its genesis records."""

    def committed(self, group: str, topic: str, partition: int) -> int | None:
        """Return the next offset the group has to process; None: it never committed."""

    def commit(self, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
        """Store a group's offsets by (topic, partition); they never move back.

        For tools, while no worker runs: workers commit what they process.
        """


class Position(NamedTuple):
    """Where a message stands in the log; `place` is its index in the record."""

    topic: str
    partition: int
    offset: int
    place: int


class Span(NamedTuple):
    """Messages of one call that stand one after the other in one record.

    Attributes:
      topic: Topic of the record.
      partition: Its partition.
      offset: Its offset.
      place: Index of the first of the messages in the record.
      indexes: Which messages of the call they are, ascending.
    """

    topic: str
    partition: int
    offset: int
    place: int
    indexes: Sequence[int]


class Positions(Sequence[Position]):
    """Where the messages of one call stand, in the order of the call.

    The positions are made when somebody looks at one: of a thousand messages in four
    records a caller often wants to know the records alone.

    Attributes:
      spans: Together they hold every message of the call once.
    """

    __slots__ = ("_positions", "spans")

    def __init__(self, spans: Sequence[Span]) -> None:
        """Keep the spans."""
        self.spans = spans
        self._positions: list[Position] | None = None

    def __len__(self) -> int:
        """Return how many messages there are."""
        return sum(len(span.indexes) for span in self.spans)

    def __eq__(self, other: object) -> bool:
        """Return whether these are the positions of another sequence."""
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]  # like a list's

    @overload
    def __getitem__(self, index: int) -> Position: ...

    @overload
    def __getitem__(self, index: slice) -> list[Position]: ...

    def __getitem__(self, index: int | slice) -> Position | list[Position]:
        """Return the position of a message, or of several."""
        if self._positions is None:
            self._positions = self._made()
        return self._positions[index]

    def _made(self) -> list[Position]:
        made: dict[int, Position] = {}
        for topic, partition, offset, first, indexes in self.spans:
            for place, index in enumerate(indexes, first):
                made[index] = Position(topic, partition, offset, place)
        return [made[index] for index in range(len(made))]


class MessageWriter(Protocol):
    """Sends messages to their partitions; safe for threads. What the API holds."""

    def write(self, messages: Sequence[Message]) -> Positions:
        """Store messages and return their positions once they are durable.

        Each goes to the partition of its key; messages of one call for one partition
        share an envelope, and calls that arrive together share a commit.

        Raises:
          LogUnavailable: Not durable within the timeout; it may still become so.
        """

    def locate(self, org: str, user: str | None) -> tuple[str, int]:
        """Return the (topic, partition) that decides about a user, or about an org."""


class LogError(PlauditError):
    """Base of the log's errors."""


class LogUnavailable(LogError):
    """The log does not answer in time. Check the disk, or the brokers; try again."""


class UnknownTopic(LogError):
    """A topic is missing. Run `plaudit init`."""
