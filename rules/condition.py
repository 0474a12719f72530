"""Conditions: from an operator's JSON to a checked tree (semantics.md section 6).

Three forms, which mix: an object ``{"country": "GB", "total": {"min": 10}}``, a list
``[{"field": "total", "operator": ">=", "value": 10}]``, and groups ``{"all": [...]}``,
``{"any": [...]}``, ``{"not": {...}}``. All end in leaves with canonical operators.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, TypeAlias

import msgspec
import re2

from rules.accessor import CODE, Scope, parse_field
from rules.errors import Rejection
from rules.fields import check_keys, child, json_bytes, refuse
from rules.message import JsonObject
from rules.value import json_problem, parse_instant

DEPTH_MAX: Final = 8
LEAVES_MAX: Final = 100
VALUE_BYTES_MAX: Final = 32_768
VALUES_MAX: Final = 1_000
PATTERN_CHARS_MAX: Final = 1_000
PATTERN_MEMORY_MAX: Final = 1 << 20

_PLAIN = [
    "equals",
    "not_equals",
    ">",
    ">=",
    "<",
    "<=",
    "between",
    "in",
    "not_in",
    "contains",
    "not_contains",
    "starts_with",
    "ends_with",
    "exists",
    "not_exists",
    "matches",
]
# What an operator may be called -> its canonical name.
OPERATORS: Final[dict[str, str]] = {name: name for name in _PLAIN} | {
    "==": "equals",
    "=": "equals",
    "!=": "not_equals",
    "gt": ">",
    "gte": ">=",
    "lt": "<",
    "lte": "<=",
}


class Leaf(msgspec.Struct, frozen=True):
    """One test of one field.

    Attributes:
      field: In full: a segment's fields begin with ``user.`` here.
      operator: Canonical: ``equals``, ``not_equals``, ``>`` ... ``matches``.
      value: The operand; of `between` ``{"min"?, "max"?}``, of `exists` None.
    """

    field: str
    operator: str
    value: Any = None


class AllOf(msgspec.Struct, frozen=True):
    """Holds if every part does; without parts it holds."""

    parts: tuple["Condition", ...] = ()


class AnyOf(msgspec.Struct, frozen=True):
    """Holds if some part does; without parts it never holds."""

    parts: tuple["Condition", ...] = ()


class Not(msgspec.Struct, frozen=True):
    """Holds if its part does not."""

    part: "Condition"


Condition: TypeAlias = Leaf | AllOf | AnyOf | Not


def leaves_of(condition: Condition) -> tuple[Leaf, ...]:
    """Return the leaves in the order they were written."""
    if isinstance(condition, Leaf):
        return (condition,)
    parts = (condition.part,) if isinstance(condition, Not) else condition.parts
    return tuple(leaf for part in parts for leaf in leaves_of(part))


def count_leaves(condition: Condition) -> int:
    """Return how many leaves there are; a campaign has LEAVES_MAX in all."""
    return len(leaves_of(condition))


def parse_conditions(
    raw: Any, path: str, problems: list[Rejection], *, scope: Scope = "action"
) -> Condition | None:
    """Parse conditions of any form.

    Args:
      raw: A list (a conjunction), an object, a group, or None (which holds).
      path: Its dotted path, ``triggers[0].conditions``.
      problems: Where each problem goes: INVALID_CONDITION, or NOT_SUPPORTED.
      scope: In a ``segment`` fields are the profile's.

    Returns:
      The tree, of at most LEAVES_MAX leaves and DEPTH_MAX groups one in another; None
      if a problem was added.
    """
    if raw is None:
        return AllOf()
    return _Parser(problems, scope).parse(raw, path)


def _refuse(problems: list[Rejection], path: str, message: str) -> None:
    refuse(problems, path, message, CODE)


class _Parser:
    """Parses one conditions value; counts its leaves on the way."""

    def __init__(self, problems: list[Rejection], scope: Scope) -> None:
        self._problems = problems
        self._scope: Scope = scope
        self._leaves = 0

    def parse(self, raw: Any, path: str) -> Condition | None:
        before = len(self._problems)
        if isinstance(raw, list):
            condition: Condition | None = AllOf(self._items(raw, path, 0))
        elif isinstance(raw, dict):
            # At the top, `field` may also be a key of the object form.
            is_leaf = "field" in raw and "operator" in raw
            condition = self._object(raw, path, 0, is_leaf=is_leaf)
        else:
            _refuse(self._problems, path, "must be an object or a list")
            return None
        if self._leaves > LEAVES_MAX:
            message = f"must have at most {LEAVES_MAX} conditions"
            _refuse(self._problems, path, message)
        return condition if len(self._problems) == before else None

    def _items(self, raw: list[Any], path: str, depth: int) -> tuple[Condition, ...]:
        parts: list[Condition] = []
        for i, item in enumerate(raw):
            if self._leaves > LEAVES_MAX:
                break
            part = self._item(item, f"{path}[{i}]", depth)
            if part is not None:
                parts.append(part)
        return tuple(parts)

    def _item(self, raw: Any, path: str, depth: int) -> Condition | None:
        if not isinstance(raw, dict):
            _refuse(self._problems, path, "must be an object")
            return None
        is_leaf = "field" in raw or "operator" in raw
        return self._object(raw, path, depth, is_leaf=is_leaf)

    def _object(
        self, raw: JsonObject, path: str, depth: int, *, is_leaf: bool
    ) -> Condition | None:
        if is_leaf:
            return self._leaf(raw, path)
        if not raw.keys().isdisjoint(("all", "any", "not")):
            return self._group(raw, path, depth)
        parts: list[Condition] = []
        for key, value in raw.items():
            if self._leaves > LEAVES_MAX:
                break
            part = self._shorthand(key, value, child(path, key))
            if part is not None:
                parts.append(part)
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def _group(self, raw: JsonObject, path: str, depth: int) -> Condition | None:
        if len(raw) != 1:
            _refuse(self._problems, path, "a group has one key: all, any or not")
            return None
        if depth == DEPTH_MAX:
            message = f"groups must be nested at most {DEPTH_MAX} deep"
            _refuse(self._problems, path, message)
            return None
        ((kind, content),) = raw.items()
        at = child(path, kind)
        if kind == "not":
            part = self._item(content, at, depth + 1)
            return None if part is None else Not(part)
        if not isinstance(content, list):
            _refuse(self._problems, at, "must be a list")
            return None
        if kind == "all":
            return AllOf(self._items(content, at, depth + 1))
        if not content:
            _refuse(self._problems, at, "must not be empty: it would never hold")
            return None
        return AnyOf(self._items(content, at, depth + 1))

    def _shorthand(self, key: str, value: Any, path: str) -> Condition | None:
        """Parse one key of the object form."""
        operator = "equals"
        if isinstance(value, list):
            operator = "in"
        elif isinstance(value, dict) and not value.keys().isdisjoint(("min", "max")):
            operator = "between"
        return self._checked(key, operator, value, path, path)

    def _leaf(self, raw: JsonObject, path: str) -> Condition | None:
        known = len(self._problems)
        bad: list[Rejection] = []
        check_keys(raw, ("field", "operator", "value"), path, bad)
        for problem in bad:
            _refuse(self._problems, problem.field or path, problem.message)
        name = raw.get("operator")
        operator = OPERATORS.get(name) if isinstance(name, str) else None
        if operator is None:
            message = f"must be one of {', '.join(OPERATORS)}"
            _refuse(self._problems, child(path, "operator"), message)
        if operator is None or len(self._problems) > known:
            self._leaves += 1
            return None
        field_path, value_path = child(path, "field"), child(path, "value")
        value = raw.get("value")
        return self._checked(raw.get("field"), operator, value, field_path, value_path)

    def _checked(
        self, name: Any, operator: str, value: Any, field_path: str, value_path: str
    ) -> Leaf | None:
        self._leaves += 1
        field = parse_field(name, field_path, self._problems, scope=self._scope)
        message = _operand_problem(operator, value)
        if message is not None:
            _refuse(self._problems, value_path, message)
        if field is None or message is not None:
            return None
        if operator == "between":
            value = _ends(value)
        elif operator in ("exists", "not_exists"):
            value = None
        return Leaf(field.text, operator, value)


def _operand_problem(operator: str, value: Any) -> str | None:
    """Return what is wrong with an operand, or None."""
    if operator in ("exists", "not_exists"):
        return None if value is None or value is True else "takes no value"
    if value is None:
        return "is required; test for absence with not_exists"
    problem = json_problem(value, "")
    if problem is not None:
        return problem.message
    if json_bytes(value) > VALUE_BYTES_MAX:
        return f"must be at most {VALUE_BYTES_MAX:,} bytes of JSON"
    if isinstance(value, list) and len(value) > VALUES_MAX:
        return f"must have at most {VALUES_MAX:,} values"
    check = _OPERAND_CHECKS.get(operator)
    return None if check is None else check(value)


_BOUND_MESSAGE = "must be a number, or an RFC 3339 instant or date"


def _list_problem(value: Any) -> str | None:
    return None if isinstance(value, list) else "must be a list"


def _string_problem(value: Any) -> str | None:
    return None if isinstance(value, str) else "must be a string"


def _bound_problem(value: Any) -> str | None:
    return _BOUND_MESSAGE if _bound(value) is None else None


def _bound(value: Any) -> Any:
    """Return what an end of a range sorts by, or None if it can be no end."""
    if isinstance(value, str):
        return parse_instant(value)
    return value if type(value) is int or type(value) is Decimal else None


def _ends(value: Any) -> JsonObject:
    """Return the ends of a range, in one form; a null end is open."""
    if isinstance(value, list):
        value = dict(zip(("min", "max"), value, strict=True))
    return {key: value[key] for key in ("min", "max") if value.get(key) is not None}


def _range_problem(value: Any) -> str | None:
    if isinstance(value, list):
        if len(value) != 2 or None in value:
            return "must have two ends"
    elif not isinstance(value, dict) or not value.keys() <= {"min", "max"}:
        return "must be [min, max] or an object of min and max"
    ends = _ends(value)
    if not ends:
        return "must have a min or a max"
    bounds = [_bound(end) for end in ends.values()]
    if None in bounds:
        return f"each end {_BOUND_MESSAGE}"
    if len(bounds) == 2:
        low, high = bounds
        if isinstance(low, tuple) is not isinstance(high, tuple):
            return "both ends must be numbers or both instants"
        if low > high:
            return "min must not be above max"
    return None


def _pattern_problem(value: Any) -> str | None:
    if not isinstance(value, str):
        return "must be a string"
    if len(value) > PATTERN_CHARS_MAX:
        return f"must have at most {PATTERN_CHARS_MAX:,} characters"
    try:
        compile_pattern(value)
    except re2.error:
        return "is not a regular expression that RE2 compiles"
    return None


_OPERAND_CHECKS: Final[dict[str, Callable[[Any], str | None]]] = {
    **dict.fromkeys(("in", "not_in"), _list_problem),
    **dict.fromkeys(("starts_with", "ends_with"), _string_problem),
    **dict.fromkeys((">", ">=", "<", "<="), _bound_problem),
    "between": _range_problem,
    "matches": _pattern_problem,
}


def compile_pattern(text: str) -> Any:
    """Return the RE2 pattern of a `matches` operand; it searches, unanchored.

    Raises:
      re2.error: RE2 refuses the pattern, or its program passes PATTERN_MEMORY_MAX.
    """
    options = re2.Options()
    options.max_mem = PATTERN_MEMORY_MAX
    options.never_capture = True
    # A caller's mistake is answered, not printed.
    options.log_errors = False
    return re2.compile(text, options)
