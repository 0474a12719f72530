from decimal import Decimal

import pytest

from rules.fields import PROBLEMS_MAX, check_json, check_keys, child, number_fits


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        (0, True),
        (10**30, True),
        (-(10**30), True),
        (10**30 + 1, False),
        (Decimal("1e-30"), True),
        (Decimal("9e-31"), False),
        (Decimal("1e30"), True),
        (Decimal("1.1e30"), False),
        (Decimal("0e99"), True),
        (Decimal("-0.0"), True),
        (Decimal("0." + "1" * 35), False),
        (Decimal("0." + "1" * 34), True),
        (Decimal("1." + "1" * 33), True),
        (Decimal("1." + "1" * 34), False),
        (Decimal("1.5" + "0" * 40), True),
        (Decimal("NaN"), False),
        (Decimal("Infinity"), False),
    ],
)
def test_numbers_at_their_bounds(value, fits):
    assert number_fits(value) is fits


def test_path_shows_an_odd_key_cut_and_cleaned():
    assert child("", "a") == "a"
    assert child("a[0]", "b") == "a[0].b"
    assert child("a", "b\r\nc\x9f\ud800") == "a.b??c??"
    assert child("", "k" * 1_000) == "k" * 64


def test_unknown_fields_are_named_up_to_a_bound():
    problems = []
    check_keys({"a": 1, "x": 2}, ("a",), "p", problems)
    assert [(p.code, p.message, p.field) for p in problems] == [
        ("VALIDATION_ERROR", "unknown field", "p.x")
    ]
    check_keys({str(i): i for i in range(1_000)}, (), "p", problems)
    assert len(problems) == PROBLEMS_MAX


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("x" * 8, True),
        ("x" * 9, False),
        ([[]], True),
        ([[[]]], False),
        ({"a": {}}, True),
        ({"a": [1, {}]}, False),
        ([Decimal("1e31")], False),
    ],
)
def test_free_json_at_its_bounds(value, kept):
    problems = []
    assert check_json(value, 10, 2, "p", problems) is kept
    assert [p.field for p in problems] == ([] if kept else ["p"])
