"""The read view of the scaled-out size: the mirror in Redis (tables/redis_slot.py).

Every question is one script, or two, on one slot; what a script reads belongs together.
A question for all slots goes to many of them at a time.
Redis away, a slot without an epoch in force, one that somebody else wrote over:
`ViewUnavailable`, never a wrong answer.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from tables import codec, keys
from tables.clock import wall_clock_ms
from tables.codec import Heartbeat
from tables.errors import (
    MirrorUnavailable,
    MirrorUnusable,
    UnknownFormat,
    ViewUnavailable,
)
from tables.redis_client import Clients, RedisClient
from tables.redis_slot import TOGETHER_MAX, Found, RedisSlot, read_each
from tables.row_view import ORGS, Range, RowView, T
from tables.views import Draft

ANSWER_TIMEOUT_S: Final = 1.0
"""How long a read waits for Redis, twice at most, before it is unavailable."""


class RedisView(RowView):
    """`ReadView` over the mirror. Safe for threads."""

    def __init__(self, clients: Clients, log_id: str, partitions: int) -> None:
        """Name the slots; nothing is sent.

        Args:
          clients: The mirror's Redis; `close` closes them.
          log_id: The log whose mirror is read.
          partitions: Number of partitions of ``users``.
        """
        super().__init__(partitions)
        self._clients = clients
        places = [*(("users", number) for number in range(partitions)), ORGS]
        self._slots = {
            place: RedisSlot(clients.of(*place), log_id, *place) for place in places
        }
        self._together = _together(
            [self._slots["users", number] for number in range(partitions)]
        )
        self._oldest = _Oldest()

    def seen_until(
        self, _partition: int, _org: str, _user: str, _event_id: str
    ) -> int | None:
        """Return None: the mirror knows no ids; see ReadView."""
        return None

    def draft(self, topic: str, partition: int) -> Draft | None:
        """Return how far an owner is whose slot cannot be read yet, or None."""
        with _as_view(topic, partition):
            row, beat, age_ms = self._slots[topic, partition].draft_rows()
            if row is None:
                return None
            return Draft(codec.partition_rows.decode(row), _beat(beat, age_ms))

    def heartbeat(self, topic: str, partition: int) -> Heartbeat | None:
        """Return the owner's heartbeat; see ReadView."""
        with _as_view(topic, partition):
            slot = self._slots[topic, partition]
            found = self._oldest.noting(slot, slot.read([keys.HEARTBEAT]))
            return _beat(found.values[0], found.beat_age_ms)

    def age_ms(self) -> int:
        """Return how old the oldest answer is since this thread asked; see ReadView."""
        age_ms, self._oldest.age_ms = self._oldest.age_ms, 0
        return age_ms

    def close(self) -> None:
        """Close connections; idempotent."""
        self._clients.close()

    def _get_everywhere(
        self, key: bytes, decode: Callable[[bytes], T]
    ) -> list[T | None]:
        rows: list[T | None] = []
        for slots in self._together:
            with _as_view(slots[0].topic, slots[0].partition):
                answers = read_each(slots, [key])
            for slot, found in zip(slots, answers, strict=True):
                with _as_view(slot.topic, slot.partition):
                    [value] = self._oldest.noting(slot, found).values
                    rows.append(None if value is None else decode(value))
        return rows

    @contextmanager
    def _reading(self, topic: str, partition: int) -> Iterator["_SlotRows"]:
        with _as_view(topic, partition):
            yield _SlotRows(self._slots[topic, partition], self._oldest)


class _Oldest(threading.local):
    """The age of the oldest answer that a thread has got."""

    age_ms = 0

    def noting(self, slot: RedisSlot, found: Found | None) -> Found:
        """Return an answer, with its age noted.

        Raises:
          ViewUnavailable: There is none: the slot has no epoch in force.
        """
        if found is None:
            raise ViewUnavailable(
                f"{slot.name} has no epoch in force: no worker has filled it yet. "
                "Wait until /ready says so; check that workers run"
            )
        self.age_ms = max(self.age_ms, found.age_ms)
        return found


def _together(slots: Sequence[RedisSlot]) -> list[list[RedisSlot]]:
    """Return slots by what can be asked in one round trip: one Redis, not too many."""
    by_client: dict[RedisClient, list[RedisSlot]] = {}
    for slot in slots:
        by_client.setdefault(slot.client, []).append(slot)
    return [
        held[first : first + TOGETHER_MAX]
        for held in by_client.values()
        for first in range(0, len(held), TOGETHER_MAX)
    ]


def _beat(row: bytes | None, age_ms: int | None) -> Heartbeat | None:
    """Return a heartbeat with its time by this machine's clock, not by its owner's."""
    if row is None:
        return None
    beat = codec.heartbeats.decode(row)
    if age_ms is not None:
        beat.wall_ms = wall_clock_ms() - age_ms
    return beat


@contextmanager
def _as_view(topic: str, partition: int) -> Iterator[None]:
    """Turn what Redis says into what readers expect.

    A row that cannot be read is no sign of a bad disk, as it is elsewhere: somebody
    else wrote it, or a newer version that this process will follow.
    """
    try:
        yield
    except (MirrorUnavailable, MirrorUnusable, UnknownFormat) as error:
        raise ViewUnavailable(f"{topic}-{partition}: {error}") from error


class _SlotRows:
    """The rows of one slot; see `tables.row_view.Rows`."""

    def __init__(self, slot: RedisSlot, oldest: _Oldest) -> None:
        self._slot = slot
        self._oldest = oldest

    def get(self, key: bytes) -> bytes | None:
        """Return a value, or None."""
        return self.get_many([key])[0]

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of many keys, in their order."""
        return self._read(keys, []).values

    def scan(
        self, begin: bytes, end: bytes, *, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Return (key, value) of [begin, end) in key order, at most `limit`."""
        return iter(self._read([], [(begin, end, limit)]).lists[0])

    def together(
        self, points: Sequence[bytes], ranges: Sequence[Range]
    ) -> tuple[list[bytes | None], list[list[bytes]]]:
        """Return values of rows, and of ranges, that belong to one instant."""
        found = self._read(points, [(begin, end, None) for begin, end in ranges])
        return found.values, [[value for _, value in rows] for rows in found.lists]

    def _read(
        self, points: Sequence[bytes], lists: Sequence[tuple[bytes, bytes, int | None]]
    ) -> Found:
        return self._oldest.noting(self._slot, self._slot.read(points, lists))
