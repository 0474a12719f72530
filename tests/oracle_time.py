"""Time for tests/oracle.py: instants are ms since the epoch, days are since 1970."""

from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

DAY_MS = 86_400_000
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def iso(instant_ms):
    """Return an instant as the API shows it, None for None."""
    if instant_ms is None:
        return None
    text = (EPOCH + timedelta(milliseconds=instant_ms)).isoformat(
        timespec="milliseconds"
    )
    return text.replace("+00:00", "Z")


def is_zone(name):
    try:
        return isinstance(name, str) and bool(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False


def local(instant_ms, zone):
    return (EPOCH + timedelta(milliseconds=instant_ms)).astimezone(ZoneInfo(zone))


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
