"""Time zones, local days and recurring windows at their edges."""

from datetime import datetime, timedelta
from importlib.resources import files
from zoneinfo import ZoneInfo, reset_tzpath

import pytest

from rules.calendar import (
    FIRST_MS,
    LAST_MS,
    _load_zone,
    format_ms,
    local_day,
    parse_timestamp_ms,
    period_first_day,
    recurrence_window,
    zone,
    zone_names,
)
from rules.civil import civil_of, day_of
from rules.state import EVER_DAY

WINTER = datetime(2025, 1, 1)


def ms(text):
    value = parse_timestamp_ms(text)
    assert value is not None
    return value


def day(text):
    return ms(text) // 86_400_000


def window(start, recurrence, at, zone_name="UTC"):
    return recurrence_window(ms(start), recurrence, ms(at), zone(zone_name))


def test_timestamps_are_floored_to_the_ms():
    assert parse_timestamp_ms("1970-01-01T00:00:00.0019999Z") == 1
    assert parse_timestamp_ms("1969-12-31T23:59:59.9999Z") == -1
    assert parse_timestamp_ms("1970-01-01T00:00:00.5Z") == 500
    assert parse_timestamp_ms("2025-10-05") == 1_759_622_400_000


def test_timestamps_outside_the_years_1_to_9999_are_refused():
    assert parse_timestamp_ms("0001-01-01T00:00:00Z") == FIRST_MS
    assert parse_timestamp_ms("0001-01-01T00:00:00+00:01") is None
    assert parse_timestamp_ms("9999-12-31T23:59:59.999Z") == LAST_MS
    assert parse_timestamp_ms("9999-12-31T23:59:59.999-00:01") is None
    assert parse_timestamp_ms("0000-06-01") is None


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00.000Z",
        "1969-12-31T23:59:59.999Z",
        "2025-10-05T12:00:00.000Z",
        "9999-12-31T23:59:59.999Z",
    ],
)
def test_format_ms_is_what_was_parsed(text):
    assert format_ms(ms(text)) == text


def test_civil_dates_round_trip_past_the_years_of_datetime():
    for number in (-800_000, -719_528, -719_163, -1, 0, 19_000, 2_932_896, 3_000_000):
        assert day_of(*civil_of(number)) == number
    assert civil_of(-719_163) == (0, 12, 31)
    assert civil_of(2_932_897) == (10_000, 1, 1)


def test_zones_come_from_the_pinned_package_not_the_system(tmp_path):
    system = tmp_path / "Europe" / "Paris"
    system.parent.mkdir()
    utc = files("tzdata").joinpath("zoneinfo", "UTC").read_bytes()
    system.write_bytes(utc)
    _load_zone.cache_clear()
    reset_tzpath([str(tmp_path)])
    try:
        assert ZoneInfo.no_cache("Europe/Paris").utcoffset(WINTER) == timedelta()
        paris = zone("Europe/Paris")
    finally:
        reset_tzpath()
    assert paris is not None
    assert paris.utcoffset(WINTER) == timedelta(hours=1)


def test_zones_are_loaded_once():
    assert zone("Europe/Paris") is zone("Europe/Paris")
    assert len(zone_names()) > 400
    assert all(zone(name) is not None for name in zone_names())


@pytest.mark.parametrize(
    "name", ["", "Mars/Base", "../zones", "/etc/passwd", "europe/paris", "Europe", "."]
)
def test_unknown_zone_names_are_refused(name):
    assert zone(name) is None


@pytest.mark.parametrize(
    ("instant", "zone_name", "local"),
    [
        ("2025-03-30T00:59:59.999Z", "Europe/London", "2025-03-30"),
        ("2025-03-30T22:59:59.999Z", "Europe/London", "2025-03-30"),
        ("2025-03-30T23:00:00Z", "Europe/London", "2025-03-31"),
        ("2025-10-26T23:59:59.999Z", "Europe/London", "2025-10-26"),
        ("2025-10-25T23:00:00Z", "Europe/London", "2025-10-26"),
        ("2025-01-01T04:59:59.999Z", "America/New_York", "2024-12-31"),
        ("2025-01-01T05:00:00Z", "America/New_York", "2025-01-01"),
        ("2011-12-30T09:59:59.999Z", "Pacific/Apia", "2011-12-29"),
        ("2011-12-30T10:00:00Z", "Pacific/Apia", "2011-12-31"),
        ("1969-12-31T23:59:59.999Z", "UTC", "1969-12-31"),
    ],
)
def test_local_day_at_midnights_and_clock_changes(instant, zone_name, local):
    assert local_day(ms(instant), zone(zone_name)) == day(local)


def test_local_day_at_the_edges_of_time():
    assert local_day(FIRST_MS, zone("UTC")) == day_of(1, 1, 1)
    assert local_day(FIRST_MS, zone("America/New_York")) == day_of(1, 1, 1) - 1
    assert local_day(LAST_MS, zone("UTC")) == day_of(9999, 12, 31)
    assert local_day(LAST_MS, zone("Pacific/Kiritimati")) == day_of(9999, 12, 31) + 1


def test_days_of_23_and_25_hours_are_one_day():
    london = zone("Europe/London")
    for first, last in (
        ("2025-03-30T00:00:00Z", "2025-03-30T22:59:59.999Z"),
        ("2025-10-25T23:00:00Z", "2025-10-26T23:59:59.999Z"),
    ):
        days = {period_first_day(ms(t), london, "day") for t in (first, last)}
        assert len(days) == 1
        assert period_first_day(ms(first) - 1, london, "day") + 1 in days
        assert period_first_day(ms(last) + 1, london, "day") - 1 in days


@pytest.mark.parametrize(
    ("instant", "monday"),
    [
        ("2025-10-06T00:00:00Z", "2025-10-06"),
        ("2025-10-12T23:59:59.999Z", "2025-10-06"),
        ("2025-10-05T23:59:59.999Z", "2025-09-29"),
        ("2024-12-31T12:00:00Z", "2024-12-30"),
        ("1970-01-01", "1969-12-29"),
        ("1969-12-28", "1969-12-22"),
    ],
)
def test_weeks_start_on_monday(instant, monday):
    assert period_first_day(ms(instant), zone("UTC"), "week") == day(monday)


@pytest.mark.parametrize(
    ("instant", "first"),
    [
        ("2024-02-29T23:59:59.999Z", "2024-02-01"),
        ("2024-03-01", "2024-03-01"),
        ("2025-12-31T23:59:59Z", "2025-12-01"),
        ("1969-12-31", "1969-12-01"),
    ],
)
def test_months_start_on_the_first(instant, first):
    assert period_first_day(ms(instant), zone("UTC"), "month") == day(first)


def test_ever_has_one_day():
    assert period_first_day(0, zone("UTC"), "ever") == EVER_DAY


DAILY = {"unit": "day", "every": 1}


def test_recurrence_before_the_start_is_in_no_window():
    assert window("2025-01-01", DAILY, "2024-12-31T23:59:59.999Z") is None
    assert window("2025-01-01", DAILY, "2025-01-01") == 0


def test_recurrence_windows_touch():
    for every in (1, 3):
        for unit, days in (("day", every), ("week", 7 * every)):
            recurrence = {"unit": unit, "every": every}
            start = ms("2025-01-01T10:00:00Z")
            for number in (1, 2, 50):
                begin = start + number * days * 86_400_000
                at = (start, recurrence, begin, zone("UTC"))
                assert recurrence_window(*at) == number
                before = (start, recurrence, begin - 1, zone("UTC"))
                assert recurrence_window(*before) == number - 1


def test_recurrence_follows_the_wall_clock_through_a_clock_change():
    start = "2025-03-28T09:00:00Z"
    at = ("2025-03-30T07:59:59.999Z", "2025-03-30T08:00:00Z")
    assert [window(start, DAILY, t, "Europe/London") for t in at] == [1, 2]


def test_recurrence_at_a_wall_time_that_is_skipped():
    start = "2025-03-29T01:30:00Z"
    at = ("2025-03-30T01:29:59.999Z", "2025-03-30T01:30:00Z")
    assert [window(start, DAILY, t, "Europe/London") for t in at] == [0, 1]


def test_recurrence_at_a_wall_time_that_comes_twice_begins_at_the_first():
    start = "2025-10-25T00:30:00Z"
    at = ("2025-10-26T00:29:59.999Z", "2025-10-26T00:30:00Z", "2025-10-26T01:30:00Z")
    assert [window(start, DAILY, t, "Europe/London") for t in at] == [0, 1, 1]


def test_recurrence_by_month_clamps_to_the_last_day_and_recovers():
    monthly = {"unit": "month", "every": 1}
    start = "2024-01-31T10:00:00Z"
    for number, begin in enumerate(
        ("2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30", "2024-05-31")
    ):
        assert window(start, monthly, f"{begin}T10:00:00Z") == number
        if number:
            assert window(start, monthly, f"{begin}T09:59:59.999Z") == number - 1


def test_recurrence_by_quarter_crosses_years():
    quarterly = {"unit": "month", "every": 3}
    assert window("2024-11-30", quarterly, "2025-02-27T23:59:59.999Z") == 0
    assert window("2024-11-30", quarterly, "2025-02-28") == 1
    assert window("2024-11-30", quarterly, "2034-11-30") == 40


def test_recurrence_outside_window_days_is_in_no_window():
    weekend = {"unit": "week", "every": 1, "windowDays": 2}
    start = "2025-01-04"
    assert window(start, weekend, "2025-01-05T23:59:59.999Z") == 0
    assert window(start, weekend, "2025-01-06") is None
    assert window(start, weekend, "2025-01-10T23:59:59.999Z") is None
    assert window(start, weekend, "2025-01-11") == 1


def test_recurrence_window_days_are_local_days():
    one_day = {"unit": "week", "every": 1, "windowDays": 1}
    # Sunday 2025-03-30 has 23 hours in London.
    start = "2025-03-30T00:00:00Z"
    assert window(start, one_day, "2025-03-30T22:59:59.999Z", "Europe/London") == 0
    assert window(start, one_day, "2025-03-30T23:00:00Z", "Europe/London") is None


def test_recurrence_in_a_zone_that_skipped_a_day():
    start = "2011-12-28T20:00:00Z"
    at = ("2011-12-30T19:59:59.999Z", "2011-12-30T20:00:00Z", "2011-12-31T20:00:00Z")
    numbers = [window(start, DAILY, t, "Pacific/Apia") for t in at]
    assert numbers == [1, 3, 4]


def test_recurrence_survives_the_edges_of_time():
    yearly = {"unit": "month", "every": 12}
    start, at = "0001-01-01", "9999-12-31T23:59:59.999Z"
    for name in ("UTC", "Asia/Tokyo", "America/Los_Angeles"):
        assert window(start, yearly, at, name) == 9_998
    assert window(start, yearly | {"windowDays": 30}, at) is None
    assert window(start, DAILY, at) == LAST_MS // 86_400_000 - FIRST_MS // 86_400_000
