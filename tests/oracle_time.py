"""Time for tests/oracle.py: instants are ms since the epoch, days are since 1970."""

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo

DAY_MS = 86_400_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso(instant_ms):
    """Return an instant as the API shows it, None for None."""
    if instant_ms is None:
        return None
    text = (EPOCH + timedelta(milliseconds=instant_ms)).isoformat(
        timespec="milliseconds"
    )
    return text.replace("+00:00", "Z")


@lru_cache
def zone_of(name):
    """Return a zone of the pinned package, whatever the system has."""
    with files("tzdata").joinpath("zoneinfo", name).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def is_zone(name):
    try:
        return isinstance(name, str) and bool(zone_of(name))
    except (ValueError, OSError):
        return False


def local(instant_ms, zone):
    return (EPOCH + timedelta(milliseconds=instant_ms)).astimezone(zone_of(zone))


def day_number(day):
    return (day - date(1970, 1, 1)).days


def period_start(instant_ms, zone, period):
    """Return the first local day of a period; None for ``ever``."""
    day = local(instant_ms, zone).date()
    if period == "ever":
        return None
    if period == "week":
        day -= timedelta(days=day.isoweekday() - 1)
    if period == "month":
        day = day.replace(day=1)
    return day_number(day)


def window_number(recurrence, start_ms, at_ms, zone):
    """Return which window of a recurring campaign an instant is in, None: in none.

    Windows are counted in local time from the start: the third of a monthly campaign
    that starts on 31 January at 18:00 begins on 31 March at 18:00.
    """
    if at_ms < start_ms:
        return None
    unit_days = {"day": 1, "week": 7, "month": 31}[recurrence["unit"]]
    longest_ms = unit_days * recurrence["every"] * DAY_MS
    number = max(0, (at_ms - start_ms) // longest_ms - 2)
    while window_start(recurrence, start_ms, number + 1, zone) <= at_ms:
        number += 1
    open_days = recurrence.get("windowDays")
    if open_days is None:
        return number
    closes = window_start(recurrence, start_ms, number, zone, open_days)
    return number if at_ms < closes else None


def window_start(recurrence, start_ms, number, zone, days_later=0):
    first = local(start_ms, zone)
    steps = number * recurrence["every"]
    if recurrence["unit"] == "month":
        years, month = divmod(first.month - 1 + steps, 12)
        year, month = first.year + years, month + 1
        day = date(year, month, min(first.day, monthrange(year, month)[1]))
    else:
        day = first.date() + timedelta(
            days=steps * (7 if recurrence["unit"] == "week" else 1)
        )
    wall = datetime.combine(day + timedelta(days=days_later), first.time())
    return (wall.replace(tzinfo=first.tzinfo) - EPOCH) // timedelta(milliseconds=1)
