"""Users in memory: loaded states, their rows, and what a step changed.

A table belongs to one partition of one assignment. `prefetch` loads what a step will
need in one read; the fold then works on objects; `flush` writes each changed user once.
Nothing is evicted while a step is in flight, so reads see the step's own writes.
"""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Final

from rules.message import Action
from rules.state import FOREVER_MS, CapKey, Lot, User
from tables import codec, keys
from tables.store import Batch, Store

USERS_CACHED_MAX: Final = 50_000
"""Users kept decoded between steps."""
CACHED_BYTES_MAX: Final = 32_000_000
"""Their encoded states together; decoded, a state takes several times as much."""


def _lot_order(lot: Lot) -> tuple[int, int]:
    return lot.expires_at_ms, lot.sequence


class _Event:
    """An event id that the step in flight may meet, and until when it counts as seen.

    Attributes:
      hashed: `keys.event_hash` of it.
      until_ms: Until when it is a duplicate, the step's own marks included; None: it
        was not seen.
    """

    __slots__ = ("hashed", "until_ms")

    def __init__(self, hashed: bytes) -> None:
        """It was not seen, as far as is known."""
        self.hashed = hashed
        self.until_ms: int | None = None

    def note(self, until_ms: int) -> None:
        """It was seen; of several times the latest counts."""
        if self.until_ms is None or until_ms > self.until_ms:
            self.until_ms = until_ms


class StoredRows:
    """`rules.state.UserRows` of one user over the partition's store.

    Attributes:
      part: The part of the user's row keys that names it (`keys.user_part`).
      changed: Whether the step in flight changed the user.
      state_bytes: Size of the user's state as stored.
    """

    __slots__ = ("_caps", "_lots", "_table", "_who", "changed", "part", "state_bytes")

    def __init__(self, table: "UserTable", org: str, user: str) -> None:
        """Nothing is read yet."""
        self._table = table
        self._who = (org, user)
        self.changed = False
        self.state_bytes = 0
        self.part = keys.user_part(org, user)
        self._caps: dict[CapKey, int] = {}
        self._lots: dict[str, list[Lot]] = {}

    def seen_until(self, event_id: str) -> int | None:
        """See UserRows."""
        return self._table.events[self._who][event_id].until_ms

    def mark_seen(self, event_id: str, until_ms: int) -> None:
        """See UserRows."""
        self._table.mark_seen(self._table.events[self._who][event_id], until_ms)

    def cap(self, key: CapKey) -> int:
        """See UserRows."""
        value = self._caps.get(key)
        if value is None:
            stored = self._table.store.get(self._cap_key(key))
            value = 0 if stored is None else codec.numbers.decode(stored)
            self._caps[key] = value
        return value

    def set_cap(self, key: CapKey, value: int) -> None:
        """See UserRows."""
        self._caps[key] = value
        self._table.batch.put(self._cap_key(key), codec.numbers.encode(value))

    def drop_caps_before(self, day: int) -> None:
        """See UserRows."""
        begin = keys.caps(self.part)
        end = keys.caps_from(self.part, day)
        for key, _value in self._table.store.scan(begin, end):
            self._table.batch.delete(key)
        for cap_key in [key for key in self._caps if key.day < day]:
            # Perhaps the step in flight put it, where the scan does not see it.
            self._table.batch.delete(self._cap_key(cap_key))
            del self._caps[cap_key]

    def lots(self, currency: str) -> list[Lot]:
        """See UserRows."""
        found = self._lots.get(currency)
        if found is None:
            prefix = keys.lots(self.part, currency)
            rows = self._table.store.scan(prefix, keys.prefix_end(prefix))
            found = [codec.lots.decode(value) for _key, value in rows]
            self._lots[currency] = found
        return found

    def put_lot(self, lot: Lot) -> None:
        """See UserRows."""
        lots = self.lots(lot.currency)
        place = _lot_order(lot)
        index = bisect_left(lots, place, key=_lot_order)
        known = index < len(lots) and _lot_order(lots[index]) == place
        key = keys.lot(self.part, lot.currency, *place)
        if lot.remaining:
            lots[index : index + known] = [lot]
            self._table.batch.put(key, codec.lots.encode(lot))
        else:
            del lots[index : index + known]
            self._table.batch.delete(key)

    def _cap_key(self, key: CapKey) -> bytes:
        return keys.cap(self.part, key.day, key.period, key.scope, key.measure)


class UserTable:
    """The users of one partition.

    Attributes:
      store: The partition's rows.
      batch: Takes the writes of the step in flight.
      events: Event ids of the step in flight, by (org, user) and id.
    """

    def __init__(self, store: Store, cached_max: int = USERS_CACHED_MAX) -> None:
        """Start with nothing cached.

        Args:
          store: The partition's rows.
          cached_max: Users kept between steps.
        """
        self.store = store
        self.batch: Batch = store.batch()
        self._cached_max = cached_max
        self._cached_bytes = 0
        self._users: OrderedDict[tuple[str, str], User | None] = OrderedDict()
        self._changed: list[User] = []
        self.events: dict[tuple[str, str], dict[str, _Event]] = {}
        stored = store.get(keys.DEDUPE)
        self._dedupe = (
            codec.DedupeRow() if stored is None else codec.dedupe_rows.decode(stored)
        )
        self._bucket = 0
        self._marked_ms = -1
        self._marked_prefix = self._marked_value = b""

    def begin(self, batch: Batch, actions: Iterable[Action], clock_ms: int) -> None:
        """Open a step: load what its actions will need, in one read.

        Args:
          batch: Takes the step's writes.
          actions: The step's actions.
          clock_ms: The partition's clock before the step; buckets that lie wholly
            before it are dropped.
        """
        self.batch = batch
        self._drop_old_buckets(clock_ms)
        users = self._users
        events = self.events = {}
        wanted: list[bytes] = []
        unknown: list[tuple[str, str]] = []
        met: list[_Event] = []
        for action in actions:
            who = (action.org, action.user)
            if who not in users:
                users[who] = None
                unknown.append(who)
                wanted.append(keys.user(*who))
            event_id = action.event_id
            if event_id is not None:
                mine = events.get(who)
                if mine is None:
                    mine = events[who] = {}
                if event_id not in mine:
                    event = mine[event_id] = _Event(keys.event_hash(*who, event_id))
                    met.append(event)
        where = self._dedupe
        for bucket in keys.live_buckets(clock_ms, where.horizon_ms, kept=where.kept):
            prefix = keys.seen_bucket(bucket)
            wanted += [prefix + event.hashed for event in met]
        values = self.store.get_many(wanted) if wanted else []
        for who, value in zip(unknown, values, strict=False):
            users[who] = None if value is None else self._load(who, value)
        for index, value in enumerate(values[len(unknown) :]):
            if value is not None:
                met[index % len(met)].note(codec.decode_until(value))

    def __len__(self) -> int:
        """Return how many users are in memory, unknown ones included."""
        return len(self._users)

    def get(self, org: str, user: str) -> User | None:
        """Return a user, or None where no message has named it yet."""
        who = (org, user)
        try:
            found = self._users[who]
        except KeyError:
            value = self.store.get(keys.user(org, user))
            found = None if value is None else self._load(who, value)
            self._users[who] = found
        return found

    def rows(self, org: str, user: str) -> StoredRows:
        """Return the rows of a user, whether it exists yet or not."""
        return StoredRows(self, org, user)

    def put(self, user: User) -> bytes:
        """Note that a user of this table changed, or came to be.

        Returns:
          The part of row keys that names the user.
        """
        rows: Any = user.rows
        if not rows.changed:
            rows.changed = True
            self._users[user.org, user.user_id] = user
            self._changed.append(user)
        part: bytes = rows.part
        return part

    def flush(self) -> None:
        """Write every changed user into the step's batch, once."""
        put = self.batch.put
        encode = codec.states.encode
        for user in self._changed:
            rows: Any = user.rows
            value = encode(user.state)
            self._cached_bytes += len(value) - rows.state_bytes
            rows.state_bytes = len(value)
            put(keys.state(rows.part), value)

    def end(self) -> None:
        """Close a step that is stored: the changes are no longer pending."""
        users = self._users
        for user in self._changed:
            rows: Any = user.rows
            rows.changed = False
            users.move_to_end((user.org, user.user_id))
        self._changed = []
        while len(users) > self._cached_max or self._cached_bytes > CACHED_BYTES_MAX:
            _who, evicted = users.popitem(last=False)
            if evicted is not None:
                evicted_rows: Any = evicted.rows
                self._cached_bytes -= evicted_rows.state_bytes

    def widen_horizon(self, horizon_ms: int) -> None:
        """Look for seen ids at least this far ahead from now on."""
        if horizon_ms > self._dedupe.horizon_ms:
            self._dedupe.horizon_ms = horizon_ms
            self.batch.put(keys.DEDUPE, codec.dedupe_rows.encode(self._dedupe))

    def mark_seen(self, event: _Event, until_ms: int) -> None:
        """Remember an event id of the step."""
        if until_ms != self._marked_ms:
            # The ids of a record expire together: what their rows share is made once.
            self._marked_ms = until_ms
            self._marked_prefix = keys.seen_bucket(self._bucket_of(until_ms))
            self._marked_value = codec.encode_until(until_ms)
        event.note(until_ms)
        self.batch.put(self._marked_prefix + event.hashed, self._marked_value)

    def _bucket_of(self, until_ms: int) -> int:
        """Return the bucket of ids that expire at an instant."""
        if until_ms < FOREVER_MS:
            return until_ms // keys.BUCKET_MS
        if not self._dedupe.kept:
            self._dedupe.kept = True
            self.batch.put(keys.DEDUPE, codec.dedupe_rows.encode(self._dedupe))
        return keys.FOREVER_BUCKET

    def _load(self, who: tuple[str, str], value: bytes) -> User:
        rows = StoredRows(self, *who)
        rows.state_bytes = len(value)
        self._cached_bytes += len(value)
        return User(*who, codec.states.decode(value), rows)

    def _drop_old_buckets(self, clock_ms: int) -> None:
        bucket = clock_ms // keys.BUCKET_MS
        if bucket > self._bucket:
            self._bucket = bucket
            self.batch.delete_range(keys.seen_bucket(0), keys.seen_bucket(bucket))
