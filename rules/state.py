"""The state of one user: a small value, and rows that are read only when needed.

`UserState` is the value. What can grow (dedupe ids, cap counters, expiring lots) is
rows behind `UserRows`, so that a celebrity's or a cheater's state stays small.
"""

from typing import Any, Protocol

import msgspec

FOREVER_MS = (1 << 62) - 1
EVER_DAY = (1 << 32) - 1
COUNTERS_MAX = 256
BADGES_MAX = 1_000
CUSTOM_FIELDS_MAX = 100
NOTIFICATIONS_MAX = 500
BENEFITS_MAX = 1_000


class UserState(msgspec.Struct, array_like=True):
    """What a user is, apart from rows. New fields go at the end, with a default.

    Attributes:
      created_at_ms: Clock of the first accepted message that named the user.
      updated_at_ms: Clock of the last message that changed the user.
      last_action_at_ms: Greatest `occurredAt` of an action; None: never acted.
      points, xp, coins: Balances, 0..BALANCE_MAX.
      lifetime_points, lifetime_xp, lifetime_coins: All credits so far.
      tier: Name of the tier held.
      entry_count: Ledger entries so far; the last entry's sequence.
      notification_count: Notifications so far; the last one's sequence.
      badges: Badge id -> ms when awarded.
      benefits: Benefit id -> ms when it expires, None: never.
      counts: Action type -> how many were done.
      preferences, custom_fields: As the user or a campaign wrote them.
      next_expiry_ms: A lower bound on the earliest expiry of a lot; None: no lots.
      newest_cap_day: Newest local day (days since 1970) of any cap; None: no caps yet.
    """

    created_at_ms: int
    updated_at_ms: int
    last_action_at_ms: int | None = None
    points: int = 0
    xp: int = 0
    coins: int = 0
    lifetime_points: int = 0
    lifetime_xp: int = 0
    lifetime_coins: int = 0
    tier: str = ""
    entry_count: int = 0
    notification_count: int = 0
    badges: dict[str, int] = {}
    benefits: dict[str, int | None] = {}
    counts: dict[str, int] = {}
    email: str | None = None
    display_name: str | None = None
    avatar_url: str | None = None
    preferences: dict[str, Any] = {}
    custom_fields: dict[str, Any] = {}
    next_expiry_ms: int | None = None
    newest_cap_day: int | None = None


class CapKey(msgspec.Struct, frozen=True, array_like=True):
    """Names one cap counter of a user.

    Attributes:
      day: First local day (days since 1970) of the period; EVER_DAY for ``ever``.
      period: ``day``, ``week``, ``month`` or ``ever``.
      scope: Campaign or rule id; with ``#w`` and the window's number if it recurs.
      measure: ``count``, or the currency whose amount is capped.
    """

    day: int
    period: str
    scope: str
    measure: str


class Lot(msgspec.Struct, array_like=True):
    """Credited units that will expire.

    Attributes:
      currency: The wallet.
      expires_at_ms: When what remains is debited.
      sequence: The credit entry's sequence; older first among equals.
      remaining: Units not yet spent, > 0.
    """

    currency: str
    expires_at_ms: int
    sequence: int
    remaining: int


class UserRows(Protocol):
    """A user's rows. Reads see the writes made before them in the same step."""

    def seen_until(self, event_id: str) -> int | None:
        """Return until when (ms, inclusive) an event id is a duplicate, or None."""

    def mark_seen(self, event_id: str, until_ms: int) -> None:
        """Remember an event id until a clock (ms, inclusive); FOREVER_MS never ends."""

    def cap(self, key: CapKey) -> int:
        """Return a cap counter, 0 where there is none."""

    def set_cap(self, key: CapKey, value: int) -> None:
        """Store a cap counter."""

    def drop_caps_before(self, day: int) -> None:
        """Forget counters of periods that began before a day; `ever` ones stay."""

    def lots(self, currency: str) -> list[Lot]:
        """Return a wallet's lots by (expires_at_ms, sequence); do not mutate them."""

    def put_lot(self, lot: Lot) -> None:
        """Store a lot (key: currency, expiry, sequence); `remaining` 0 deletes it."""


class User:
    """One user's aggregate while it is in memory: the value, its rows, what is cached.

    Attributes:
      org: Org id.
      user_id: User id.
      state: The value; rules mutate it in place.
      rows: The rows.
      segment_bits: Cached membership, bit i for the program's segment i.
      segment_known: Which bits of `segment_bits` are valid.
      segment_version: Config version that the bits belong to.
    """

    __slots__ = (
        "org",
        "rows",
        "segment_bits",
        "segment_known",
        "segment_version",
        "state",
        "user_id",
    )

    def __init__(
        self, org: str, user_id: str, state: UserState, rows: UserRows
    ) -> None:
        """Wrap a loaded state; nothing is known of segments yet."""
        self.org = org
        self.user_id = user_id
        self.state = state
        self.rows = rows
        self.segment_bits = 0
        self.segment_known = 0
        self.segment_version = -1
