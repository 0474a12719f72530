"""Per-user caps of a campaign or rule (semantics.md section 7).

Counters are kept by the name of the local period of `occurredAt`, so a date pays once
whatever the zone. Those 400 days behind the user's newest are dropped, and what is
capped for a dropped period is refused, because nobody knows any more what it had.
"""

from typing import Final
from zoneinfo import ZoneInfo

from rules.calendar import period_first_day
from rules.effect import Cap
from rules.state import EVER_DAY, CapKey, User

KEPT_DAYS: Final = 400


class CapLedger:
    """What is left under the caps of one candidate, for one action."""

    __slots__ = ("_keys", "_user", "unknown")

    def __init__(
        self,
        user: User,
        caps: tuple[Cap, ...],
        scope: str,
        occurred_ms: int,
        zone: ZoneInfo,
    ) -> None:
        """Find the counters that an action falls under.

        Args:
          user: The user.
          caps: The candidate's caps, at most one per measure.
          scope: Names the candidate and, if it recurs, the window.
          occurred_ms: When the action happened.
          zone: The zone in force for the user.
        """
        newest = user.state.newest_cap_day
        self._user = user
        self._keys: dict[str, tuple[CapKey, int]] = {}
        self.unknown: set[str] = set()
        for cap in caps:
            day = period_first_day(occurred_ms, zone, cap.period)
            if newest is not None and newest - day >= KEPT_DAYS:
                self.unknown.add(cap.measure)
            key = CapKey(day, cap.period, scope, cap.measure)
            self._keys[cap.measure] = (key, cap.limit)

    def left(self, measure: str) -> int | None:
        """Return what remains of a measure, >= 0, or None where it is not capped."""
        found = self._keys.get(measure)
        if found is None:
            return None
        key, limit = found
        return max(0, limit - self._user.rows.cap(key))

    def charge(self, measure: str, amount: int) -> None:
        """Count an amount against a measure's cap, if it has one."""
        found = self._keys.get(measure)
        if found is None:
            return
        key, _limit = found
        rows = self._user.rows
        rows.set_cap(key, rows.cap(key) + amount)
        state = self._user.state
        if key.day != EVER_DAY and (
            state.newest_cap_day is None or key.day > state.newest_cap_day
        ):
            state.newest_cap_day = key.day
            rows.drop_caps_before(key.day - KEPT_DAYS + 1)
