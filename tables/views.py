"""Read views: what the API may ask of the tables. A port.

Embedded, the views are secondaries of the worker's RocksDB (tables/embedded_view.py);
scaled out, a mirror. A view is caught up on demand, at most every few milliseconds.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from rules.ledger import Entry
from rules.message import JsonObject
from rules.outcome import Notification, Result
from rules.state import Lot, UserState
from tables.codec import Heartbeat, PartitionRow, Tally


class UserView(NamedTuple):
    """A user as stored: the value and the lots of each wallet, soonest first."""

    user_id: str
    state: UserState
    lots: list[Lot]


class Draft(NamedTuple):
    """Tables that are being rebuilt: how far they are, and their owner's heartbeat."""

    position: PartitionRow | None
    heartbeat: Heartbeat | None


class ReadView(Protocol):
    """Safe for threads. Every call is scoped to one org where users are concerned.

    `partition` numbers are of the topic ``users`` unless a topic is named; the caller
    computes them (MessageWriter.locate).
    """

    def users(
        self, partition: int, org: str, user_ids: Sequence[str]
    ) -> list[UserView | None]:
        """Return users of one partition, in order; None where never seen."""

    def entries(
        self, partition: int, org: str, user: str, *, below: int | None, limit: int
    ) -> list[Entry]:
        """Return ledger entries newest first, of sequence < `below`."""

    def notifications(
        self, partition: int, org: str, user: str, *, below: int | None, limit: int
    ) -> list[Notification]:
        """Return notifications newest first, of sequence < `below`."""

    def seen_until(
        self, partition: int, org: str, user: str, event_id: str
    ) -> int | None:
        """Return until when (ms, the log's clock) an event id is a duplicate, or None.

        May miss ids of the last moments: senders ask this for every action. A mirror
        knows none at all, because ids are most of what a partition holds.
        """

    def result(self, topic: str, partition: int, command_id: str) -> Result | None:
        """Return the answer to a command, or None while there is none."""

    def tally(self, org: str, batch: str) -> Tally | None:
        """Return what became of a batch, summed over partitions; None: unknown."""

    def config_version(self, org: str) -> int | None:
        """Return an org's config version, or None where the org does not exist."""

    def config_row(self, org: str, kind: str, row_id: str) -> JsonObject | None:
        """Return one config row (rules/config.py) of an org, archived ones included."""

    def config_rows(self, org: str, kind: str) -> list[JsonObject]:
        """Return all config rows of a kind, by id, archived ones included."""

    def position(self, topic: str, partition: int) -> PartitionRow | None:
        """Return how far a partition is folded, or None while it has no state."""

    def heartbeat(self, topic: str, partition: int) -> Heartbeat | None:
        """Return the owner's heartbeat, its time by the clock of who reads."""

    def draft(self, topic: str, partition: int) -> Draft | None:
        """Return how far tables are that cannot be read yet; None: there are none."""

    def counters(self, topic: str, partition: int) -> dict[str, int]:
        """Return counts of outcomes since the beginning of the log."""

    def age_ms(self) -> int:
        """Return how old the oldest answer is since this thread asked for it last.

        Of an answer that was not as fresh as the tables: ms since the owner said that
        this is how they stand. 0: all were, or there was none.
        """

    def close(self) -> None:
        """Release files and connections; idempotent."""
