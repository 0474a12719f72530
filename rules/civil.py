"""Days and civil dates of the proleptic Gregorian calendar, for any year.

`datetime.date` stops at the years 1 and 9999, and an instant near either edge has a
local date beyond it. The calendar repeats every 400 years (146,097 days, a whole number
of weeks), so the standard library counts inside one such era, the rest is arithmetic.
"""

from datetime import date
from typing import Final

ERA_YEARS: Final = 400
ERA_DAYS: Final = 146_097
EPOCH_ORDINAL: Final = 719_163


def day_of(year: int, month: int, day: int) -> int:
    """Return days since 1970-01-01 of a civil date.

    Raises:
      ValueError: There is no such month, or no such day in that month.
    """
    era, year_of_era = divmod(year - 1, ERA_YEARS)
    ordinal = date(year_of_era + 1, month, day).toordinal()
    return era * ERA_DAYS + ordinal - EPOCH_ORDINAL


def civil_of(day: int) -> tuple[int, int, int]:
    """Return (year, month, day of month) of days since 1970-01-01."""
    era, day_of_era = divmod(day + EPOCH_ORDINAL - 1, ERA_DAYS)
    civil = date.fromordinal(day_of_era + 1)
    return civil.year + era * ERA_YEARS, civil.month, civil.day
