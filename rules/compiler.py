"""From checked conditions to one strict Python function per (org, action type).

For two candidates it generates

    def evaluate(user, action, occurred_ms, fire):
        data = action.data
        state = user.state
        x0 = data.get('total')
        if (type(x0) is int or type(x0) is Decimal) and 10 <= x0:
            fire(c0)
        if 1750000000000 <= occurred_ms and members(user, 5) and state.points < 100:
            fire(c1)

The action's fields are fetched once, the user's read at each use. Text of an operator
gets into the source only as `ascii` writes it, integers as `repr` does, and everything
else as a constant bound to a generated name.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from rules.accessor import Field, parse_field
from rules.condition import AllOf, Condition, Leaf, Not, leaves_of
from rules.errors import InvariantError, Rejection
from rules.message import Action
from rules.operators import HELPERS, Operand, leaf_source
from rules.state import User

Predicate: TypeAlias = Callable[[User, Action | None, int], bool]
Accessor: TypeAlias = Callable[[User, Action | None, int], Any]
Evaluator: TypeAlias = Callable[[User, Action, int, Callable[[Any], None]], None]

ALWAYS: Final = "True"
NEVER: Final = "False"


class Code:
    """The source of one function while it is put together."""

    def __init__(self) -> None:
        """Begin with no constants and no fields fetched."""
        self._constants: dict[str, Any] = {}
        self._names: dict[tuple[str, ...], str] = {}
        self._fetches: list[str] = []
        self._roots: set[str] = set()

    def bind(self, value: Any) -> str:
        """Return a name that stands for a constant."""
        name = f"c{len(self._constants)}"
        self._constants[name] = value
        return name

    def condition(self, condition: Condition) -> str:
        """Return an expression, true where the condition holds."""
        if isinstance(condition, Leaf):
            return self._leaf(condition)
        if isinstance(condition, Not):
            return _not(self.condition(condition.part))
        # Conditions change nothing, so the cheap ones may come first.
        ordered = sorted(condition.parts, key=_cost)
        parts = [self.condition(part) for part in ordered]
        return all_of(parts) if isinstance(condition, AllOf) else any_of(parts)

    def _leaf(self, leaf: Leaf) -> str:
        operand = self._operand(checked_field(leaf.field))
        return f"({leaf_source(leaf.operator, leaf.value, operand, self.bind)})"

    def _operand(self, field: Field) -> Operand:
        found = field.property
        if found is None:
            name = self._fetch((field.root, *field.path))
            return Operand(name, name, "any")
        source = found.source
        if field.path:
            source = f"lookup({source}, {self.bind(field.path)})"
        if found.kind == "badges":
            return Operand(source, "t", "badges")
        if found.kind == "instant":
            first = f"(t := text_of_ms({source}))"
            return Operand(first, "t", "any", f"instant_of_ms({source})")
        return Operand(f"(t := {source})", "t", found.kind)

    def _fetch(self, path: tuple[str, ...]) -> str:
        """Return the local that holds a field of the payload; objects are shared."""
        if len(path) == 1:
            self._roots.add(path[0])
            return path[0]
        name = self._names.get(path)
        if name is None:
            holder = self._fetch(path[:-1])
            name = f"x{len(self._names)}"
            self._names[path] = name
            fetch = f"{name} = {holder}.get({path[-1]!a})"
            if len(path) > 2:
                fetch += f" if type({holder}) is dict else None"
            self._fetches.append(fetch)
        return name

    def value(self, field: Field) -> str:
        """Return an expression of a field's value, as JSON shows it."""
        operand = self._operand(field)
        if operand.kind == "badges":
            return f"list({operand.first})"
        return operand.first

    def function(self, name: str, parameters: str, body: Iterable[str]) -> Any:
        """Compile the function `name(parameters)` of a body and what it fetches."""
        lines = [
            f"def {name}({parameters}):",
            "state = user.state",
            *(f"{root} = action.{root}" for root in sorted(self._roots)),
            *self._fetches,
            *body,
        ]
        source = "\n    ".join(lines)
        namespace = {"__builtins__": {}, **HELPERS, **self._constants}
        # What is executed is put together above from checked parts alone.
        exec(compile(source, f"<{name}>", "exec"), namespace)  # noqa: S102
        return namespace[name]


_COSTS: Final = {
    **dict.fromkeys(
        ("equals", "not_equals", "exists", "not_exists", "in", "not_in"), 1
    ),
    # Decimals are compared, or texts parsed.
    **dict.fromkeys((">", ">=", "<", "<=", "between"), 3),
    **dict.fromkeys(("starts_with", "ends_with", "contains", "not_contains"), 3),
    "matches": 20,
}


def _cost(condition: Condition) -> int:
    """Return about what a condition costs, in comparisons of two texts."""
    return sum(_COSTS[leaf.operator] for leaf in leaves_of(condition))


def checked_field(text: str) -> Field:
    """Return the field of a text that was checked before.

    Raises:
      InvariantError: It does not parse.
    """
    problems: list[Rejection] = []
    field = parse_field(text, "field", problems)
    if field is None:
        raise InvariantError(f"a checked field does not parse: {problems[0].message}")
    return field


def all_of(parts: Iterable[str]) -> str:
    """Return the conjunction of expressions that are names, calls or in parentheses."""
    left = [part for part in dict.fromkeys(parts) if part != ALWAYS]
    if NEVER in left:
        return NEVER
    if len(left) < 2:
        return left[0] if left else ALWAYS
    return f"({' and '.join(left)})"


def any_of(parts: Iterable[str]) -> str:
    """Return the disjunction of such expressions."""
    left = [part for part in dict.fromkeys(parts) if part != NEVER]
    if ALWAYS in left:
        return ALWAYS
    if len(left) < 2:
        return left[0] if left else NEVER
    return f"({' or '.join(left)})"


def _not(part: str) -> str:
    if part in (ALWAYS, NEVER):
        return NEVER if part == ALWAYS else ALWAYS
    return f"(not {part})"


def within(start_ms: int | None, end_ms: int | None) -> str:
    """Return an expression: the action happened within the ends, both inclusive."""
    if start_ms is None and end_ms is None:
        return ALWAYS
    before = "" if start_ms is None else f"{start_ms!r} <= "
    after = "" if end_ms is None else f" <= {end_ms!r}"
    return f"({before}occurred_ms{after})"


def compile_predicate(source: str, code: Code) -> Predicate:
    """Compile one expression of a `Code` to a function of (user, action, ms)."""
    function: Predicate = code.function(
        "predicate", "user, action, occurred_ms", [f"return {source}"]
    )
    return function


def compile_condition(condition: Condition) -> Predicate:
    """Compile a condition; a segment's needs no action."""
    code = Code()
    return compile_predicate(code.condition(condition), code)


def compile_accessor(field: Field) -> Accessor:
    """Compile a field to a function that returns its value, None where it is absent."""
    code = Code()
    function: Accessor = code.function(
        "accessor", "user, action, occurred_ms", [f"return {code.value(field)}"]
    )
    return function


def compile_evaluator(candidates: Iterable[tuple[str, Any]], code: Code) -> Evaluator:
    """Compile the function that fires, in order, every candidate whose test holds.

    Args:
      candidates: (expression of the whole test, candidate), in order.
      code: Where the expressions were made.
    """
    body: list[str] = []
    for source, candidate in candidates:
        if source == NEVER:
            continue
        fire = f"fire({code.bind(candidate)})"
        body.append(fire if source == ALWAYS else f"if {source}: {fire}")
    function: Evaluator = code.function(
        "evaluate", "user, action, occurred_ms, fire", body
    )
    return function
