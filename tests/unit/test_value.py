"""Bounds, equality and instants of exact JSON values."""

from decimal import Decimal

import pytest

from rules.value import (
    equal,
    freeze,
    instant_of_ms,
    json_problem,
    lookup,
    parse_instant,
)


def nested(depth):
    value = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"a": "x", "b": True, "c": None, "d": 5, "e": Decimal("12.50")},
        {"a": 10**30, "b": -(10**30)},
        {"a": Decimal("1e30"), "b": Decimal("1e-30"), "c": Decimal("-1e-30")},
        {"a": Decimal("9.999999999999999999999999999999999")},
        {"a": Decimal("0e500"), "b": 0, "c": Decimal("-0.0")},
        {"a": [{"b": [1, "x", Decimal("0.1")]}]},
    ],
)
def test_json_problem_accepts_up_to_the_bounds(value):
    assert json_problem(value, "data") is None


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"a": 10**30 + 1}, "data.a"),
        ({"a": Decimal("1.1e30")}, "data.a"),
        ({"a": Decimal("9e-31")}, "data.a"),
        ({"a": Decimal("1.2345678901234567890123456789012345")}, "data.a"),
        ({"a": Decimal("1e999999")}, "data.a"),
        ({"a": Decimal("NaN")}, "data.a"),
        ({"a": Decimal("Infinity")}, "data.a"),
        ({"a": Decimal("NaN123")}, "data.a"),
        ({"ok": 1, "a": {"b": [1, 10**40]}}, "data.a.b[1]"),
        ({"a": 1.5}, "data.a"),
        ({"a": (1,)}, "data.a"),
    ],
)
def test_json_problem_names_the_offender_past_the_bounds(value, field):
    problem = json_problem(value, "data")
    assert problem is not None
    assert (problem.code, problem.field) == ("VALIDATION_ERROR", field)


def test_json_problem_accepts_depth_16_and_refuses_17():
    assert json_problem({"a": nested(15)}, "data") is None
    assert json_problem({"a": nested(16)}, "data") is not None


def test_json_problem_survives_endless_nesting():
    assert json_problem({"a": nested(5_000)}, "data") is not None


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (1, Decimal("1.0"), True),
        (Decimal("1e0"), Decimal("1.000"), True),
        (Decimal("0.1"), Decimal("0.10000000000000000000000000000001"), False),
        (1, True, False),
        (0, False, False),
        (True, True, True),
        (True, 1, False),
        ([1, [True]], [Decimal("1.0"), [True]], True),
        ([1, [True]], [1, [1]], False),
        ({"a": 1, "b": None}, {"b": None, "a": Decimal(1)}, True),
        ({"a": 1}, {"a": 1, "b": None}, False),
        ({"a": None}, {"b": None}, False),
        ("1", 1, False),
        ("a", "a", True),
        (None, None, True),
        (None, False, False),
        (None, 0, False),
        ([], {}, False),
        ({}, {}, True),
        ([1, 2], [2, 1], False),
    ],
)
def test_equal_keeps_types_apart_at_any_depth(a, b, same):
    assert equal(a, b) is same
    assert equal(b, a) is same
    assert (freeze(a) == freeze(b)) is same
    if same:
        assert hash(freeze(a)) == hash(freeze(b))


def test_freeze_keeps_a_list_apart_from_what_it_freezes_to():
    assert freeze(True) != freeze(["bool", 1])
    assert freeze(["list", 1]) != freeze([1])


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1970-01-01T00:00:00Z", (0, "")),
        ("1970-01-01", (0, "")),
        ("1970-01-02", (86_400, "")),
        ("1969-12-31T23:59:59.5Z", (-1, "5")),
        ("2025-10-05T12:00:00.250Z", (1_759_665_600, "25")),
        ("2025-10-05t12:00:00.000z", (1_759_665_600, "")),
        ("2025-10-05T12:00:00+01:30", (1_759_660_200, "")),
        ("2025-10-05T12:00:00-00:00", (1_759_665_600, "")),
        ("2025-10-05T12:00:00-23:59", (1_759_751_940, "")),
        ("2024-02-29", (1_709_164_800, "")),
        ("2000-02-29T23:59:59Z", (951_868_799, "")),
        ("0001-01-01", (-62_135_596_800, "")),
        ("0000-12-31", (-62_135_683_200, "")),
        ("9999-12-31T23:59:59.999Z", (253_402_300_799, "999")),
    ],
)
def test_parse_instant_is_exact(text, instant):
    assert parse_instant(text) == instant


def test_parse_instant_keeps_every_fraction_digit():
    digits = "1" * 200
    assert parse_instant(f"1970-01-01T00:00:00.{digits}Z") == (0, digits)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "2025",
        "2025-10",
        "2025-1-5",
        "2025-02-29",
        "1900-02-29",
        "2025-04-31",
        "2025-13-01",
        "2025-00-10",
        "2025-10-00",
        "2025-10-05T12:00:00",
        "2025-10-05 12:00:00Z",
        "2025-10-05T12:00Z",
        "2025-10-05T24:00:00Z",
        "2025-10-05T12:60:00Z",
        "2016-12-31T23:59:60Z",
        "2025-10-05T12:00:00.Z",
        "2025-10-05T12:00:00,5Z",
        "2025-10-05T12:00:00+0100",
        "2025-10-05T12:00:00+01",
        "2025-10-05T12:00:00+24:00",
        "2025-10-05T12:00:00+01:60",
        "2025-10-05Z",
        "2025-10-05T12:00:00Z\n",
        " 2025-10-05",
        "+2025-10-05",
        "-025-10-05",
        "12025-10-05",
        "2025-W40-1",
        "٢٠٢٥-10-05",
        "2025-10-05T12:00:00Z" + "0" * 100,
    ],
)
def test_parse_instant_refuses_what_is_no_instant(text):
    assert parse_instant(text) is None


def test_instants_of_ms_compare_with_parsed_ones():
    assert instant_of_ms(None) is None
    assert instant_of_ms(1_500) == parse_instant("1970-01-01T00:00:01.5Z")
    assert instant_of_ms(-1) == parse_instant("1969-12-31T23:59:59.999Z")
    assert instant_of_ms(2_000) == parse_instant("1970-01-01T00:00:02Z")


def test_lookup_descends_into_objects_alone():
    assert lookup({"a": {"b": 1}}, ("a", "b")) == 1
    assert lookup({"a": {"b": 1}}, ("a", "c")) is None
    assert lookup({"a": [{"b": 1}]}, ("a", "0")) is None
    assert lookup({"a.b": 1}, ("a", "b")) is None
    assert lookup({"a": None}, ("a", "b")) is None
