"""Checks of a decoded JSON body, field by field.

Every helper appends what is wrong to `problems` (at most PROBLEMS_MAX) and returns the
good value or None, so that one answer names all mistakes: ``effects[0].config.amount``.
A null is an absent field. Numbers are int or Decimal, as their text spells them: ``10``
is an integer, ``10.0`` is not, and a boolean is neither.
"""

import re
from collections.abc import Collection
from decimal import Decimal
from typing import Any, Final, TypeVar

import msgspec

from rules.errors import Rejection
from rules.message import JsonObject

ChoiceT = TypeVar("ChoiceT", bound=str)

PROBLEMS_MAX = 20
NAME_CHARS_MAX = 200
DESCRIPTION_CHARS_MAX = 2_000
ID_PATTERN: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")

_NUMBER_DIGITS_MAX = 34
_NUMBER_EXPONENT_MIN = -30
_NUMBER_MAX = 10**30
_SHOWN_KEY_CHARS_MAX = 64
# Surrogates cannot be stored as UTF-8.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_CONTROL_IN_PROSE: Final = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]"
)
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number")


def refuse(
    problems: list[Rejection],
    field: str | None,
    message: str,
    code: str = "VALIDATION_ERROR",
) -> None:
    """Append a problem, unless there are PROBLEMS_MAX already."""
    if len(problems) < PROBLEMS_MAX:
        problems.append(Rejection(code, message, field or None))


def child(path: str, key: str) -> str:
    """Return the dotted path of a key; a caller's odd key is shown cut and cleaned."""
    shown = _CONTROL.sub("?", key[:_SHOWN_KEY_CHARS_MAX])
    return f"{path}.{shown}" if path else shown


def check_object(raw: Any, path: str, problems: list[Rejection]) -> JsonObject | None:
    """Return a JSON object, or None with a problem."""
    if isinstance(raw, dict):
        return raw
    refuse(problems, path, "must be an object")
    return None


def check_keys(
    body: JsonObject, allowed: Collection[str], path: str, problems: list[Rejection]
) -> None:
    """Refuse every key of a body that is not allowed."""
    for key in body:
        if key not in allowed:
            refuse(problems, child(path, key), "unknown field")


def check_list(
    raw: Any, items_max: int, path: str, problems: list[Rejection]
) -> list[Any] | None:
    """Return a list of at most `items_max` items, or None with a problem."""
    if not isinstance(raw, list):
        refuse(problems, path, "must be a list")
    elif len(raw) > items_max:
        refuse(problems, path, f"must have at most {items_max:,} items")
    else:
        return raw
    return None


def check_text(
    raw: Any,
    chars_max: int,
    path: str,
    problems: list[Rejection],
    *,
    prose: bool = False,
    empty: bool = False,
) -> str | None:
    """Return a string without control characters, or None with a problem.

    Args:
      raw: What was sent.
      chars_max: Longest, in characters.
      path: Its dotted path.
      problems: Where a problem goes.
      prose: Line ends and tabs are welcome.
      empty: A string of no or blank characters is welcome.
    """
    if not isinstance(raw, str):
        refuse(problems, path, "must be a string")
    elif not empty and not raw.strip():
        refuse(problems, path, "must not be empty")
    elif len(raw) > chars_max:
        refuse(problems, path, f"must have at most {chars_max:,} characters")
    elif (_CONTROL_IN_PROSE if prose else _CONTROL).search(raw):
        refuse(problems, path, "must not hold control characters")
    else:
        return raw
    return None


def check_pattern(
    raw: Any, pattern: re.Pattern[str], path: str, problems: list[Rejection]
) -> str | None:
    """Return a string that matches a pattern as a whole, or None with a problem."""
    if not isinstance(raw, str):
        refuse(problems, path, "must be a string")
    elif not pattern.fullmatch(raw):
        refuse(problems, path, f"must match {pattern.pattern}")
    else:
        return raw
    return None


def check_choice(
    raw: Any, choices: tuple[ChoiceT, ...], path: str, problems: list[Rejection]
) -> ChoiceT | None:
    """Return one of the given strings, or None with a problem."""
    for choice in choices:
        if raw == choice:
            return choice
    refuse(problems, path, f"must be one of {', '.join(choices)}")
    return None


def check_integer(
    raw: Any, least: int, most: int, path: str, problems: list[Rejection]
) -> int | None:
    """Return an integer within bounds, inclusive, or None with a problem."""
    if type(raw) is int and least <= raw <= most:
        return raw
    refuse(problems, path, f"must be an integer between {least:,} and {most:,}")
    return None


def check_boolean(raw: Any, path: str, problems: list[Rejection]) -> bool | None:
    """Return a boolean, or None with a problem."""
    if isinstance(raw, bool):
        return raw
    refuse(problems, path, "must be true or false")
    return None


def number_fits(value: int | Decimal) -> bool:
    """Return whether a number has at most 34 digits and lies within 1e-30..1e30.

    Source: semantics.md section 6; zero always fits.
    """
    if isinstance(value, int):
        return -_NUMBER_MAX <= value <= _NUMBER_MAX
    if not value.is_finite():
        return False
    if value == 0:
        return True
    significant = "".join(map(str, value.as_tuple().digits)).strip("0")
    return (
        len(significant) <= _NUMBER_DIGITS_MAX
        and value.adjusted() >= _NUMBER_EXPONENT_MIN
        # Compared, because arithmetic would round, or overflow.
        and -_NUMBER_MAX <= value <= _NUMBER_MAX
    )


def check_json(
    raw: Any, bytes_max: int, depth_max: int, path: str, problems: list[Rejection]
) -> bool:
    """Return whether a free JSON value keeps its bounds; if not, there is a problem.

    Args:
      raw: Any JSON value; a scalar has depth 0.
      bytes_max: Most bytes of its compact JSON text.
      depth_max: Most nested lists and objects.
      path: Its dotted path.
      problems: Where a problem goes.
    """
    level = [raw]
    depth = 0
    while level:
        if any(type(v) in (int, Decimal) and not number_fits(v) for v in level):
            refuse(problems, path, "has a number of more than 34 digits or past 1e30")
            return False
        nested = [v for v in level if isinstance(v, dict | list)]
        if nested and depth == depth_max:
            refuse(problems, path, f"must be nested at most {depth_max} deep")
            return False
        level = [
            item
            for container in nested
            for item in (
                container.values() if isinstance(container, dict) else container
            )
        ]
        depth += 1
    if json_bytes(raw) > bytes_max:
        refuse(problems, path, f"must be at most {bytes_max:,} bytes of JSON")
        return False
    return True


def json_bytes(value: Any) -> int:
    """Return how many bytes the compact JSON text of a value has."""
    return len(_ENCODER.encode(value))
