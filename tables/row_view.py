"""How the questions of a `ReadView` are answered from rows: shared by all views.

A view says where a partition's rows are read (`_reading`); everything else is here.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol, TypeAlias, TypeVar

from rules.ledger import CURRENCIES, Entry
from rules.message import JsonObject
from rules.outcome import Notification, Result
from tables import codec, keys
from tables.codec import Heartbeat, PartitionRow, Tally
from tables.store import Reader
from tables.views import UserView

T = TypeVar("T")

ORGS: Final = ("orgs", 0)

Range: TypeAlias = tuple[bytes, bytes]
"""Keys from the first, included, to the second, not included."""


class Rows(Reader, Protocol):
    """What a view reads a partition with."""

    def together(
        self, points: Sequence[bytes], ranges: Sequence[Range]
    ) -> tuple[list[bytes | None], list[list[bytes]]]:
        """Return values of rows, and of ranges, that belong to one instant."""


class RowView(ABC):
    """The part of a `ReadView` that does not depend on where the rows are."""

    def __init__(self, user_partitions: int) -> None:
        """Serve that many partitions of ``users``, and the one of ``orgs``."""
        self._user_partitions = user_partitions

    @abstractmethod
    def _reading(self, topic: str, partition: int) -> AbstractContextManager[Rows]:
        """Give the rows of a partition; what is read of them is decoded within.

        Raises:
          ViewUnavailable: The partition has no state that can be read now.
          KeyError: There is no such partition.
        """

    def users(
        self, partition: int, org: str, user_ids: Sequence[str]
    ) -> list[UserView | None]:
        """Return users of one partition, in order; None where never seen."""
        with self._reading("users", partition) as rows:
            values = rows.get_many([keys.user(org, user) for user in user_ids])
            found = {
                user: UserView(user, codec.states.decode(value), [])
                for user, value in zip(user_ids, values, strict=True)
                if value is not None
            }
            expiring = [
                user
                for user, view in found.items()
                if view.state.next_expiry_ms is not None
            ]
            if expiring:
                found |= _with_lots(rows, org, expiring)
        return [found.get(user) for user in user_ids]

    def entries(
        self, partition: int, org: str, user: str, *, below: int | None, limit: int
    ) -> list[Entry]:
        """Return ledger entries newest first, of sequence < `below`."""
        prefix = keys.entries(keys.user_part(org, user))
        rows = self._page(partition, prefix, below, limit, codec.entries.decode)
        found = [entry for row in rows for entry in reversed(row)]
        # The first row may reach beyond: it is the one in which `below` stands.
        if below is not None:
            found = [entry for entry in found if entry.sequence < below]
        return found[:limit]

    def notifications(
        self, partition: int, org: str, user: str, *, below: int | None, limit: int
    ) -> list[Notification]:
        """Return notifications newest first, of sequence < `below`."""
        prefix = keys.notifications(keys.user_part(org, user))
        decode = codec.notifications.decode
        return self._page(partition, prefix, below, limit, decode)

    def result(self, topic: str, partition: int, command_id: str) -> Result | None:
        """Return the answer to a command, or None while there is none."""
        key = keys.result(command_id)
        return self._get(topic, partition, key, codec.results.decode)

    def tally(self, org: str, batch: str) -> Tally | None:
        """Return what became of a batch, summed over partitions; None: unknown."""
        found = self._get_everywhere(keys.tally(org, batch), codec.tallies.decode)
        tallies = [tally for tally in found if tally is not None]
        if not tallies:
            return None
        return Tally(
            applied=sum(tally.applied for tally in tallies),
            duplicate=sum(tally.duplicate for tally in tallies),
            too_late=sum(tally.too_late for tally in tallies),
            refused=sum(tally.refused for tally in tallies),
        )

    def config_version(self, org: str) -> int | None:
        """Return an org's config version, or None where the org does not exist."""
        return self._get(*ORGS, keys.config_version(org), codec.numbers.decode)

    def config_row(self, org: str, kind: str, row_id: str) -> JsonObject | None:
        """Return one config row of an org, archived ones included."""
        key = keys.config_row(org, kind, row_id)
        return self._get(*ORGS, key, codec.config_rows.decode)

    def config_rows(self, org: str, kind: str) -> list[JsonObject]:
        """Return all config rows of a kind, by id, archived ones included."""
        prefix = keys.config_rows(org, kind)
        with self._reading(*ORGS) as rows:
            found = rows.scan(prefix, keys.prefix_end(prefix))
            return [codec.config_rows.decode(value) for _key, value in found]

    def position(self, topic: str, partition: int) -> PartitionRow | None:
        """Return how far a partition is folded, or None while nothing is folded."""
        return self._get(topic, partition, keys.PARTITION, codec.partition_rows.decode)

    def heartbeat(self, topic: str, partition: int) -> Heartbeat | None:
        """Return the owner's heartbeat."""
        return self._get(topic, partition, keys.HEARTBEAT, codec.heartbeats.decode)

    def counters(self, topic: str, partition: int) -> dict[str, int]:
        """Return counts of outcomes since the beginning of the log."""
        return self._get(topic, partition, keys.COUNTERS, codec.counters.decode) or {}

    def _get(
        self, topic: str, partition: int, key: bytes, decode: Callable[[bytes], T]
    ) -> T | None:
        with self._reading(topic, partition) as rows:
            value = rows.get(key)
            return None if value is None else decode(value)

    def _get_everywhere(
        self, key: bytes, decode: Callable[[bytes], T]
    ) -> list[T | None]:
        """Return a row of every partition of ``users``, in any order."""
        numbers = range(self._user_partitions)
        return [self._get("users", number, key, decode) for number in numbers]

    def _page(
        self,
        partition: int,
        prefix: bytes,
        below: int | None,
        limit: int,
        decode: Callable[[bytes], T],
    ) -> list[T]:
        """Return rows of a newest-first list, of sequence < `below`."""
        begin, end = keys.newest_first(prefix, below), keys.prefix_end(prefix)
        with self._reading("users", partition) as rows:
            found = rows.scan(begin, end, limit=limit)
            return [decode(value) for _key, value in found]


def _with_lots(rows: Rows, org: str, users: Sequence[str]) -> dict[str, UserView]:
    """Return users together with their lots, which most users do not have."""
    parts = [keys.user_part(org, user) for user in users]
    prefixes = [keys.all_lots(part) for part in parts]
    values, lists = rows.together(
        [keys.state(part) for part in parts],
        [(prefix, keys.prefix_end(prefix)) for prefix in prefixes],
    )
    found = {}
    for user, value, stored in zip(users, values, lists, strict=True):
        if value is not None:
            lots = [codec.lots.decode(lot) for lot in stored]
            lots.sort(key=lambda lot: CURRENCIES.index(lot.currency))
            found[user] = UserView(user, codec.states.decode(value), lots)
    return found
