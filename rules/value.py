"""Exact JSON values: their bounds, equality and instants (semantics.md section 6).

A value is what the decoder makes of JSON: None, bool, str, int, Decimal, list or dict.
Numbers are exact: 1, 1.0 and 1e0 are one value. No boolean is a number, at any depth.
"""

import re
from collections.abc import Hashable, Iterable
from decimal import (
    Clamped,
    Context,
    Decimal,
    Inexact,
    InvalidOperation,
    Overflow,
    Rounded,
    Subnormal,
    Underflow,
)
from functools import lru_cache
from typing import Any, Final, TypeAlias

from rules.civil import day_of
from rules.errors import Rejection
from rules.fields import child, number_fits

DEPTH_MAX: Final = 16
INSTANTS_CACHED_MAX: Final = 4_096

# Exact: whole seconds since the epoch, and the digits after the decimal point without
# trailing zeros. Such pairs sort as the instants do.
Instant: TypeAlias = tuple[int, str]

_INTEGER_MAX = 10**30
# A plain number (no exponent) of so few characters is within every bound.
_SHORT_CHARS_MAX = 30
_CACHED_CHARS_MAX = 64

_INSTANT: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[Tt]([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([01][0-9]|2[0-3]):([0-5][0-9])))?"
)


_WITHIN: Final = Context(
    prec=34,
    Emax=29,
    Emin=-30,
    traps=[
        *(Clamped, Inexact, InvalidOperation),
        *(Overflow, Rounded, Subnormal, Underflow),
    ],
)
plain_number: Final = _WITHIN.create_decimal
"""A decoder's `float_hook`: the exact number of a text, or an `ArithmeticError` where
it is not plainly within the bounds of numbers; then `json_problem` has to decide."""

_LONG_INTEGER: Final = b"0" * 31
_DIGITS: Final = bytes.maketrans(b"123456789", b"0" * 9)


def has_long_integer(text: bytes) -> bool:
    """Return whether JSON text may hold an integer outside of -1e30..1e30.

    False is certain. True only says that there are 31 digits in a row somewhere.
    """
    return _LONG_INTEGER in text.translate(_DIGITS)


def json_problem(value: Any, path: str) -> Rejection | None:
    """Return why a payload is refused, or None.

    Args:
      value: Any JSON value; a scalar has depth 0, a flat object 1, at most DEPTH_MAX.
      path: Its dotted path, ``data``.

    Returns:
      VALIDATION_ERROR that names the offender (``data.items[3].price``): nested too
      deep, or a number of more than 34 significant digits or outside 1e-30..1e30 (0
      aside).
    """
    # Nearly every payload is plainly in order; only where it is not, paths are made.
    if _plainly_fits(value, 0):
        return None
    found = _find_problem(value, path, 0)
    return None if found is None else Rejection("VALIDATION_ERROR", found[1], found[0])


def _plainly_fits(value: Any, depth: int) -> bool:
    """Return whether a list or object keeps its bounds, with no number near them."""
    if type(value) is dict:
        value = value.values()
    elif type(value) is not list:
        return False
    for item in value:
        kind = type(item)
        if kind is str or kind is bool or item is None:
            continue
        if kind is int:
            if -_INTEGER_MAX <= item <= _INTEGER_MAX:
                continue
        elif kind is Decimal:
            text = str(item)
            if len(text) <= _SHORT_CHARS_MAX and "E" not in text and item.is_finite():
                continue
        elif depth + 1 < DEPTH_MAX and _plainly_fits(item, depth + 1):
            continue
        return False
    return True


def _find_problem(value: Any, path: str, depth: int) -> tuple[str, str] | None:
    """Return (path, message) of the first offender; recurses DEPTH_MAX deep at most."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return None
    if kind is int or kind is Decimal:
        if number_fits(value):
            return None
        return path, "has more than 34 significant digits or lies outside 1e-30..1e30"
    if kind is not dict and kind is not list:
        return path, "is not a JSON value"
    if depth == DEPTH_MAX:
        return path, f"must be nested at most {DEPTH_MAX} deep"
    items: Iterable[tuple[Any, Any]] = (
        value.items() if kind is dict else enumerate(value)
    )
    for key, item in items:
        # Scalars that need no look are passed over before a path is made for them.
        if type(item) is str or item is None or type(item) is bool:
            continue
        where = child(path, key) if kind is dict else f"{path}[{key}]"
        found = _find_problem(item, where, depth + 1)
        if found is not None:
            return found
    return None


def equal(a: Any, b: Any) -> bool:
    """Return whether two JSON values are equal: 1 is 1.0, true is not 1."""
    kind = type(a)
    if kind is str or a is None:
        return bool(a == b)
    if kind is bool:
        return a is b
    if kind is int or kind is Decimal:
        return (type(b) is int or type(b) is Decimal) and bool(a == b)
    if kind is not type(b) or len(a) != len(b):
        return False
    if kind is list:
        return all(map(equal, a, b))
    return all(key in b and equal(item, b[key]) for key, item in a.items())


_BOOLEANS: Final = {False: ("bool", 0), True: ("bool", 1)}


def freeze(value: Any) -> Hashable:
    """Return a hashable stand-in: two are equal exactly where `equal` says so."""
    kind = type(value)
    if kind is list:
        return ("list", *map(freeze, value))
    if kind is dict:
        return ("dict", frozenset((key, freeze(item)) for key, item in value.items()))
    if kind is bool:
        return _BOOLEANS[value]
    return value  # type: ignore[no-any-return] # str, int, Decimal or None: hashable


def lookup(mapping: Any, path: tuple[str, ...]) -> Any:
    """Return what a path of keys leads to, or None; only objects are descended into."""
    for key in path:
        if type(mapping) is not dict:
            return None
        mapping = mapping.get(key)
    return mapping


def parse_instant(text: str) -> Instant | None:
    """Return the instant of an RFC 3339 date-time or date, or None if it is neither.

    Args:
      text: ``2025-10-05T12:00:00.25+01:00``; a date is midnight UTC. Any number of
        fraction digits. No leap second (:60), no blank for the ``T``.

    Returns:
      (seconds since the epoch, fraction digits without trailing zeros).

    Source: RFC 3339 section 5.6.
    """
    if text[4:5] != "-":
        return None
    # Long texts are not kept, so that the cache has a bound in bytes too.
    if len(text) > _CACHED_CHARS_MAX:
        return _parse_instant(text)
    return _cached_instant(text)


def _parse_instant(text: str) -> Instant | None:
    match = _INSTANT.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second, fraction, sign, *offset = match.groups()
    try:
        days = day_of(int(year), int(month), int(day))
    except ValueError:
        return None
    if hour is None:
        return days * 86_400, ""
    seconds = days * 86_400 + int(hour) * 3_600 + int(minute) * 60 + int(second)
    if sign is not None:
        shift = int(offset[0]) * 3_600 + int(offset[1]) * 60
        seconds += shift if sign == "-" else -shift
    return seconds, (fraction or "").rstrip("0")


_cached_instant = lru_cache(INSTANTS_CACHED_MAX)(_parse_instant)


def instant_of_ms(ms: int | None) -> Instant | None:
    """Return the instant of ms since the epoch; None stays None."""
    if ms is None:
        return None
    seconds, rest = divmod(ms, 1_000)
    return seconds, f"{rest:03d}".rstrip("0") if rest else ""
