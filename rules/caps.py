"""Per-user caps of campaigns and rules (semantics.md section 7).

Counters are kept by the name of the local period of `occurredAt`, so a date pays once
whatever the zone. Those 400 days behind the user's newest are dropped, and what is
capped for a dropped period is refused, because nobody knows any more what it had.

A rule stands under its own caps and under its campaign's, which all the campaign's
rules share: an amount is cut to the least that remains, and an action counts once for
the campaign, however many of its rules changed something.
"""

from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from rules.calendar import period_first_day
from rules.candidate import Candidate
from rules.effect import Cap
from rules.state import EVER_DAY, CapKey, User

KEPT_DAYS: Final = 400


class Counter(NamedTuple):
    """One counter that a candidate stands under, and its limit."""

    key: CapKey
    limit: int


class CapLedger:
    """What is left under the caps of one candidate, for one action.

    Attributes:
      unknown: Measures whose counter is no longer kept.
    """

    __slots__ = ("_counted", "_counters", "_user", "unknown")

    def __init__(
        self,
        user: User,
        candidate: Candidate,
        occurred_ms: int,
        window: int | None,
        zone: ZoneInfo,
        counted: set[CapKey],
    ) -> None:
        """Find the counters that an action falls under.

        Args:
          user: The user.
          candidate: What fired.
          occurred_ms: When the action happened.
          window: The recurring window, whose counters start afresh; None: no windows.
          zone: The zone in force for the user.
          counted: Counters that this action is counted under already; added to.
        """
        self._user = user
        self._counted = counted
        self._counters: dict[str, list[Counter]] = {}
        self.unknown: set[str] = set()
        for scope, caps in (
            (candidate.cap_scope(window), candidate.caps),
            (candidate.campaign_cap_scope(window), candidate.campaign_caps),
        ):
            for cap in caps:
                self._add(cap, scope, period_first_day(occurred_ms, zone, cap.period))

    def _add(self, cap: Cap, scope: str, day: int) -> None:
        newest = self._user.state.newest_cap_day
        if newest is not None and newest - day >= KEPT_DAYS:
            self.unknown.add(cap.measure)
        key = CapKey(day, cap.period, scope, cap.measure)
        self._counters.setdefault(cap.measure, []).append(Counter(key, cap.limit))

    def left(self, measure: str) -> int | None:
        """Return what remains of a measure, >= 0, or None where nothing limits it."""
        cap = self._user.rows.cap
        return min(
            (
                max(0, counter.limit - cap(counter.key))
                for counter in self._counters.get(measure, ())
                if counter.key not in self._counted
            ),
            default=None,
        )

    def charge(self, measure: str, amount: int) -> None:
        """Add a credited amount to a measure's counters, if it has any."""
        for counter in self._counters.get(measure, ()):
            self._add_to(counter.key, amount)

    def count_action(self) -> None:
        """Count the action under every ``count`` cap that has not counted it yet."""
        for counter in self._counters.get("count", ()):
            if counter.key not in self._counted:
                self._counted.add(counter.key)
                self._add_to(counter.key, 1)

    def _add_to(self, key: CapKey, amount: int) -> None:
        rows = self._user.rows
        rows.set_cap(key, rows.cap(key) + amount)
        state = self._user.state
        if key.day != EVER_DAY and (
            state.newest_cap_day is None or key.day > state.newest_cap_day
        ):
            state.newest_cap_day = key.day
            rows.drop_caps_before(key.day - KEPT_DAYS + 1)
