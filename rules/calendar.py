"""Instants as text, time zones, local days, and the windows of recurring campaigns.

Days, weeks and months are cut in a zone: a period is named by its first local day, as
days since 1970-01-01. Days of 23 or 25 hours are one day, weeks start on Monday (ISO
8601). Zones come from the pinned `tzdata` package and never from the system, whose data
may differ from machine to machine (semantics.md section 2).
"""

from datetime import datetime, timedelta
from functools import lru_cache
from importlib.resources import files
from typing import Final
from zoneinfo import ZoneInfo

from rules.civil import EPOCH_ORDINAL, ERA_DAYS, civil_of, day_of
from rules.message import JsonObject
from rules.state import EVER_DAY
from rules.value import parse_instant

ZONES_CACHED_MAX: Final = 1_024
FIRST_MS: Final = day_of(1, 1, 1) * 86_400_000
LAST_MS: Final = day_of(10_000, 1, 1) * 86_400_000 - 1

_DAY_MS = 86_400_000
_EPOCH: Final = datetime(1970, 1, 1)
# Zones are at most a day off UTC: two days inside the range of `datetime`, whatever
# a zone does stays inside.
_FIRST_SAFE_DAY: Final = FIRST_MS // _DAY_MS + 2
_LAST_SAFE_DAY: Final = LAST_MS // _DAY_MS - 2


def parse_timestamp_ms(text: str) -> int | None:
    """Return ms since the epoch of an RFC 3339 instant or date, or None.

    Args:
      text: As `parse_instant` takes it; cut (floored) to the ms.

    Returns:
      Between FIRST_MS and LAST_MS, the UTC years 0001..9999; None outside.
    """
    instant = parse_instant(text)
    if instant is None:
        return None
    seconds, fraction = instant
    ms = seconds * 1_000 + int(f"{fraction[:3]:0<3}")
    return ms if FIRST_MS <= ms <= LAST_MS else None


def format_ms(ms: int) -> str:
    """Return the ISO text of an instant, ``2025-10-05T12:00:00.000Z``.

    Raises:
      OverflowError: Outside FIRST_MS..LAST_MS.
    """
    instant = _EPOCH + timedelta(milliseconds=ms)
    return f"{instant.isoformat(timespec='milliseconds')}Z"


@lru_cache(1)
def zone_names() -> frozenset[str]:
    """Return the IANA names that the pinned `tzdata` package has."""
    text = files("tzdata").joinpath("zones").read_text(encoding="utf-8")
    return frozenset(text.split())


@lru_cache(ZONES_CACHED_MAX)
def _load_zone(name: str) -> ZoneInfo:
    path = files("tzdata").joinpath("zoneinfo", *name.split("/"))
    with path.open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def zone(name: str) -> ZoneInfo | None:
    """Return the zone of an IANA name, or None; names are case-sensitive."""
    # The list is what keeps a caller's text away from any path.
    return _load_zone(name) if name in zone_names() else None


def local_day(ms: int, zone: ZoneInfo) -> int:
    """Return the local date of an instant, as days since 1970-01-01."""
    if _FIRST_SAFE_DAY <= ms // _DAY_MS <= _LAST_SAFE_DAY:
        return datetime.fromtimestamp(ms // 1_000, zone).toordinal() - EPOCH_ORDINAL
    # An era further in, zones do the same: local mean time early, a fixed rule late.
    eras = 1 if ms < 0 else -1
    return local_day(ms + eras * ERA_DAYS * _DAY_MS, zone) - eras * ERA_DAYS


def period_first_day(ms: int, zone: ZoneInfo, period: str) -> int:
    """Return the first local day of the period that an instant falls in.

    Args:
      ms: The instant.
      zone: Where days are cut.
      period: ``day``, ``week`` (from Monday), ``month`` or ``ever``.

    Returns:
      Days since 1970-01-01; EVER_DAY for ``ever``.
    """
    if period == "ever":
        return EVER_DAY
    day = local_day(ms, zone)
    if period == "week":
        # 1970-01-01 was a Thursday.
        return day - (day + 3) % 7
    if period == "month":
        return day - civil_of(day)[2] + 1
    return day


def recurrence_window(
    start_ms: int, recurrence: JsonObject, at_ms: int, zone: ZoneInfo
) -> int | None:
    """Return the number, from 0, of the window that an instant falls in.

    Window n begins at the start's local wall time n times `every` units later; a month
    too short for the day of the start begins on its last. A wall time that a change of
    clocks skips is reached when the clocks have changed; of one that comes twice the
    first counts.

    Args:
      start_ms: `startDate`, where window 0 begins.
      recurrence: ``{"unit": "day"|"week"|"month", "every": n >= 1, "windowDays"?: d}``.
      at_ms: The instant.
      zone: The org's.

    Returns:
      None before the start, and from `windowDays` local days after a window's begin on.
    """
    if at_ms < start_ms:
        return None
    steps = _Steps(start_ms, recurrence, zone)
    number = max(0, steps.estimate(local_day(at_ms, zone)))
    while number > 0 and steps.begin_ms(number) > at_ms:
        number -= 1
    while steps.begin_ms(number + 1) <= at_ms:
        number += 1
    window_days = recurrence.get("windowDays")
    if window_days is not None and at_ms >= steps.begin_ms(number, window_days):
        return None
    return number


class _Steps:
    """Where the windows of one recurrence begin."""

    __slots__ = ("_day", "_every", "_months", "_time_ms", "_zone")

    def __init__(self, start_ms: int, recurrence: JsonObject, zone: ZoneInfo) -> None:
        self._zone = zone
        self._day = local_day(start_ms, zone)
        self._time_ms = (start_ms + _offset_ms(start_ms, zone)) % _DAY_MS
        self._months = recurrence["unit"] == "month"
        self._every = recurrence["every"] * (7 if recurrence["unit"] == "week" else 1)

    def estimate(self, day: int) -> int:
        """Return the window that a local day belongs to, give or take one."""
        if not self._months:
            return int((day - self._day) // self._every)
        year, month, _ = civil_of(day)
        first_year, first_month, _ = civil_of(self._day)
        return int(((year - first_year) * 12 + month - first_month) // self._every)

    def begin_ms(self, number: int, days: int = 0) -> int:
        """Return when a window begins, or some local days after that."""
        if self._months:
            first = _month_later(self._day, number * self._every)
        else:
            first = self._day + number * self._every
        return _instant_ms(first + days, self._time_ms, self._zone)


def _month_later(day: int, months: int) -> int:
    """Return the same day of a later month, or that month's last."""
    year, month, day_of_month = civil_of(day)
    years, index = divmod(month - 1 + months, 12)
    first = day_of(year + years, index + 1, 1)
    years, index = divmod(month + months, 12)
    next_first = day_of(year + years, index + 1, 1)
    return min(first + day_of_month, next_first) - 1


def _offset_ms(ms: int, zone: ZoneInfo) -> int:
    """Return what local time is ahead of UTC at an instant."""
    if not _FIRST_SAFE_DAY <= ms // _DAY_MS <= _LAST_SAFE_DAY:
        ms += (1 if ms < 0 else -1) * ERA_DAYS * _DAY_MS
    offset = datetime.fromtimestamp(ms // 1_000, zone).utcoffset() or timedelta()
    return offset // timedelta(milliseconds=1)


def _instant_ms(day: int, time_ms: int, zone: ZoneInfo) -> int:
    """Return the instant at which a local wall time is first reached."""
    known = day
    while known > _LAST_SAFE_DAY:
        known -= ERA_DAYS
    while known < _FIRST_SAFE_DAY:
        known += ERA_DAYS
    wall = datetime.fromordinal(known + EPOCH_ORDINAL) + timedelta(milliseconds=time_ms)
    offset = wall.replace(tzinfo=zone).utcoffset() or timedelta()
    return day * _DAY_MS + time_ms - offset // timedelta(milliseconds=1)
