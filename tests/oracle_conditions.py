"""Conditions for tests/oracle.py: section 6 of semantics.md, read aloud.

`look_up` takes a field and returns its value, None where it is absent.
"""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

ABSENT_HOLDS = ("not_exists", "not_equals", "not_in", "not_contains")
ALIASES = {
    "==": "equals",
    "=": "equals",
    "!=": "not_equals",
    "gt": ">",
    "gte": ">=",
    "lt": "<",
    "lte": "<=",
}
INSTANT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):(\d\d)))?",
    re.ASCII,
)


def holds(conditions, look_up):
    """Return whether conditions of any form hold; None and {} do."""
    if not conditions:
        return True
    if isinstance(conditions, dict) and set(conditions) & {"all", "any", "not"}:
        return group_holds(conditions, look_up)
    if isinstance(conditions, dict) and "operator" in conditions:
        return leaf_holds(conditions, look_up)
    if isinstance(conditions, dict):
        return all(plain_holds(look_up(f), v) for f, v in conditions.items())
    return all(holds(condition, look_up) for condition in conditions)


def group_holds(group, look_up):
    ((word, inner),) = group.items()
    if word == "not":
        return not holds(inner, look_up)
    quantifier = all if word == "all" else any
    return quantifier(holds(condition, look_up) for condition in inner)


def criteria_hold(criteria, look_up, quantifier):
    return quantifier(holds(criterion, look_up) for criterion in criteria)


def plain_holds(found, wanted):
    """The object form: equality, a range, or membership."""
    if found is None:
        return False
    if isinstance(wanted, dict) and wanted and set(wanted) <= {"min", "max"}:
        low, high = wanted.get("min"), wanted.get("max")
        return (low is None or compare(found, low) in (0, 1)) and (
            high is None or compare(found, high) in (0, -1)
        )
    if isinstance(wanted, list):
        return any(same(found, item) for item in wanted)
    return same(found, wanted)


def contains(found, wanted):
    if isinstance(found, list):
        any_of = wanted if isinstance(wanted, list) else [wanted]
        return any(same(item, one) for item in found for one in any_of)
    if isinstance(found, str) and isinstance(wanted, str):
        return wanted in found
    return False


def is_number(value):
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def same(a, b):
    """Equality of JSON values: numbers by value, nothing coerces, at any depth."""
    if is_number(a) and is_number(b):
        return Fraction(a) == Fraction(b)
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return a == b


def leaf_holds(leaf, look_up):
    operator = ALIASES.get(leaf["operator"], leaf["operator"])
    found, wanted = look_up(leaf["field"]), leaf.get("value")
    if found is None:
        return operator in ABSENT_HOLDS
    if operator in ABSENT_HOLDS:
        return not OPERATORS[operator.removeprefix("not_")](found, wanted)
    return OPERATORS[operator](found, wanted)


def is_text(found, test):
    return isinstance(found, str) and test(found)


# What each operator says of a value that is there.
OPERATORS = {
    "exists": lambda found, _: True,
    "equals": same,
    "in": lambda found, wanted: any(same(found, item) for item in wanted),
    "contains": contains,
    "<": lambda found, wanted: compare(found, wanted) == -1,
    "<=": lambda found, wanted: compare(found, wanted) in (-1, 0),
    ">": lambda found, wanted: compare(found, wanted) == 1,
    ">=": lambda found, wanted: compare(found, wanted) in (1, 0),
    "between": lambda found, wanted: (
        compare(found, wanted[0]) in (1, 0) and compare(found, wanted[1]) in (-1, 0)
    ),
    "starts_with": lambda found, wanted: is_text(found, lambda t: t.startswith(wanted)),
    "ends_with": lambda found, wanted: is_text(found, lambda t: t.endswith(wanted)),
    # The patterns of the tests mean the same to re and to RE2.
    "matches": lambda found, wanted: bool(is_text(found, re.compile(wanted).search)),
}


def compare(a, b):
    """Return -1, 0 or 1; None where the two have no order."""
    if is_number(a) and is_number(b):
        a, b = Fraction(a), Fraction(b)
    elif isinstance(a, str) and isinstance(b, str):
        a, b = instant(a), instant(b)
        if a is None or b is None:
            return None
    else:
        return None
    return (a > b) - (a < b)


def instant(text):
    """Return an RFC 3339 instant or date as exact seconds, or None."""
    found = INSTANT.fullmatch(text)
    if not found:
        return None
    *numbers, fraction, _, sign, hours, minutes = found.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
    try:
        moment = datetime(*(int(n or 0) for n in numbers), tzinfo=UTC)
    except ValueError:
        return None
    moment += -offset if sign == "+" else offset
    whole = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    return whole + (Fraction(int(fraction), 10 ** len(fraction)) if fraction else 0)
