"""Python source of one leaf: what each operator does with what stands in a field.

Every expression looks at the types, so that a malformed payload makes it false and
never raises. An absent field (None) fails every operator but the negated ones, which
are exactly the opposite of their plain twins.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, TypeAlias

import msgspec

from rules.calendar import format_ms
from rules.condition import compile_pattern
from rules.value import equal, freeze, instant_of_ms, lookup, parse_instant

NEGATED: Final = {
    "not_equals": "equals",
    "not_in": "in",
    "not_contains": "contains",
    "not_exists": "exists",
}


class Operand(msgspec.Struct, frozen=True):
    """How source reads a field.

    Attributes:
      first: Expression of its value, evaluated once, first.
      again: Name of that value afterwards.
      kind: ``any``, ``int`` or ``badges`` (then the value is a dict of badge ids).
      instant: Expression of an instant field's `Instant` or None, where it is one.
    """

    first: str
    again: str
    kind: str
    instant: str | None = None


Bind: TypeAlias = Callable[[Any], str]


def held_benefits(benefits: dict[str, int | None], at_ms: int) -> list[str]:
    """Return the benefits held at an instant, in the order they were unlocked."""
    return [
        benefit
        for benefit, expires_at_ms in benefits.items()
        if expires_at_ms is None or expires_at_ms > at_ms
    ]


def text_of_ms(ms: int | None) -> str | None:
    """Return the ISO text of an instant field; None stays None."""
    return None if ms is None else format_ms(ms)


def holds_any(items: list[Any], frozen: frozenset[Any]) -> bool:
    """Return whether a list holds one of the frozen values."""
    return any(freeze(item) in frozen for item in items)


# What the generated source may call.
HELPERS: Final[dict[str, Any]] = {
    "Decimal": Decimal,
    "dict": dict,
    "equal": equal,
    "freeze": freeze,
    "held_benefits": held_benefits,
    "holds_any": holds_any,
    "instant_of_ms": instant_of_ms,
    "int": int,
    "list": list,
    "lookup": lookup,
    "parse_instant": parse_instant,
    "str": str,
    "text_of_ms": text_of_ms,
    "type": type,
}


def leaf_source(operator: str, value: Any, operand: Operand, bind: Bind) -> str:
    """Return an expression, true where the leaf holds.

    Args:
      operator: Canonical.
      value: The checked operand.
      operand: How to read the field.
      bind: Gives a constant a name.
    """
    plain = NEGATED.get(operator)
    if plain is not None:
        return f"not ({leaf_source(plain, value, operand, bind)})"
    if operator == "contains" and operand.kind == "badges":
        return _badges_contain(value, operand.first, bind)
    if operand.kind == "badges":
        operand = Operand(f"({operand.again} := list({operand.first}))", "t", "any")
    if operator in _RANGES:
        return _RANGES[operator](value, operand, bind)
    return _SOURCES[operator](value, operand, bind)


def constant(value: Any, bind: Bind) -> str:
    """Return source of a constant: a literal if that is exact and safe, or a name."""
    kind = type(value)
    if kind is str:
        return ascii(value)
    return repr(value) if kind is int or kind is bool else str(bind(value))


def _is_number(operand: Operand, first: str) -> str:
    return f"(type({first}) is int or type({operand.again}) is Decimal)"


def _exists(_value: Any, operand: Operand, _bind: Bind) -> str:
    return f"{operand.first} is not None"


def _equals(value: Any, operand: Operand, bind: Bind) -> str:
    kind = type(value)
    if kind is str:
        return f"{operand.first} == {value!a}"
    if kind is bool:
        return f"{operand.first} is {value!r}"
    if kind is int or kind is Decimal:
        same = f"{operand.first} == {constant(value, bind)}"
        if operand.kind == "int":
            return same
        # Equal and no number it can only be where it is a boolean.
        return f"{same} and {_is_number(operand, operand.again)}"
    return f"equal({operand.first}, {bind(value)})"


def _in(value: list[Any], operand: Operand, bind: Bind) -> str:
    kinds = {type(item) for item in value}
    values = bind(frozenset(map(freeze, value)))
    if kinds <= {str}:
        return f"type({operand.first}) is str and {operand.again} in {values}"
    if kinds <= {int, Decimal}:
        number = _is_number(operand, operand.first)
        return f"{number} and {operand.again} in {values}"
    return f"{operand.first} is not None and freeze({operand.again}) in {values}"


def _contains(value: Any, operand: Operand, bind: Bind) -> str:
    if type(value) is str:
        kind = f"(type({operand.first}) is str or type({operand.again}) is list)"
        return f"{kind} and {value!a} in {operand.again}"
    values = value if type(value) is list else [value]
    frozen = bind(frozenset(map(freeze, values)))
    return f"type({operand.first}) is list and holds_any({operand.again}, {frozen})"


def _badges_contain(value: Any, badges: str, bind: Bind) -> str:
    if type(value) is str:
        return f"{value!a} in {badges}"
    values = value if type(value) is list else []
    ids = bind(frozenset(item for item in values if type(item) is str))
    return f"not {ids}.isdisjoint({badges})"


def _starts_with(value: str, operand: Operand, _bind: Bind) -> str:
    text = f"type({operand.first}) is str"
    return f"{text} and {operand.again}.startswith({value!a})"


def _ends_with(value: str, operand: Operand, _bind: Bind) -> str:
    text = f"type({operand.first}) is str"
    return f"{text} and {operand.again}.endswith({value!a})"


TEXT_CHARS_MAX: Final = 1_024
"""Longest text that `matches` looks at, characters; a longer one does not match. A
search takes up to a microsecond a character, and one action may meet many patterns."""


def _matches(value: str, operand: Operand, bind: Bind) -> str:
    search = compile_pattern(value).search

    def found(text: str) -> bool:
        return len(text) <= TEXT_CHARS_MAX and search(text) is not None

    return f"type({operand.first}) is str and {bind(found)}({operand.again})"


_SOURCES: Final[dict[str, Callable[[Any, Operand, Bind], str]]] = {
    "exists": _exists,
    "equals": _equals,
    "in": _in,
    "contains": _contains,
    "starts_with": _starts_with,
    "ends_with": _ends_with,
    "matches": _matches,
}


def _range(low: Any, high: Any, operand: Operand, bind: Bind, or_equal: str) -> str:
    """Return source of a range; `or_equal` is ``=`` where the ends belong to it."""
    bound = low if low is not None else high
    before = after = ""
    if type(bound) is str:
        if low is not None:
            before = f"{bind(parse_instant(low))} <{or_equal} "
        if high is not None:
            after = f" <{or_equal} {bind(parse_instant(high))}"
        found = operand.instant or (
            f"parse_instant({operand.again}) if type({operand.first}) is str else None"
        )
        return f"(t2 := {found}) is not None and {before}t2{after}"
    if low is not None:
        before = f"{constant(low, bind)} <{or_equal} "
    if high is not None:
        after = f" <{or_equal} {constant(high, bind)}"
    if operand.kind == "int":
        return f"{before}{operand.first}{after}"
    number = _is_number(operand, operand.first)
    return f"{number} and {before}{operand.again}{after}"


_RANGES: Final[dict[str, Callable[[Any, Operand, Bind], str]]] = {
    ">": lambda value, operand, bind: _range(value, None, operand, bind, ""),
    ">=": lambda value, operand, bind: _range(value, None, operand, bind, "="),
    "<": lambda value, operand, bind: _range(None, value, operand, bind, ""),
    "<=": lambda value, operand, bind: _range(None, value, operand, bind, "="),
    "between": lambda value, operand, bind: _range(
        value.get("min"), value.get("max"), operand, bind, "="
    ),
}
