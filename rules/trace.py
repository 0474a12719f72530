"""Traces: why each candidate of an action's type fired or did not.

The tests are those of the program, from the same generator, one function for each.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from rules.candidate import Candidate, Unit
from rules.compiler import (
    Accessor,
    Code,
    Predicate,
    checked_field,
    compile_accessor,
    compile_condition,
    compile_predicate,
)
from rules.condition import Leaf, leaves_of
from rules.evaluators import Sources
from rules.message import Action, JsonObject
from rules.state import User
from rules.triggers import Match

# A leaf that can be explained takes about 5 kB.
LEAVES_CACHED_MAX: Final = 10_000


class Tracer:
    """Explains the candidates of one program."""

    __slots__ = ("_leaves_cached", "_sources", "_tests", "_units")

    def __init__(self, units: Sequence[Unit], sources: Sources) -> None:
        """Compile nothing yet.

        Args:
          units: The program's, in order.
          sources: Of their tests, the same as the program's.
        """
        self._units = units
        self._sources = sources
        self._leaves_cached = 0
        self._tests: dict[tuple[int, tuple[int, ...]], _Tests] = {}

    def trace(
        self,
        match: Match,
        user: User,
        action: Action,
        occurred_ms: int,
        fire: Callable[[Candidate], None],
    ) -> list[JsonObject]:
        """Fire what holds, in order, and return what `Program.trace` does."""
        lines: list[JsonObject] = []
        for place, triggers in match:
            unit = self._units[place]
            conditions: list[JsonObject] = []
            if unit.active:
                tests = self._tests_of(place, triggers)
                reason = tests.reason(user, action, occurred_ms)
                if reason in ("fired", "conditions_not_met"):
                    conditions = tests.explain(user, action, occurred_ms)
            else:
                reason = "not_active"
            candidate = unit.candidate
            lines.append(
                {
                    "campaignId": candidate.campaign_id,
                    "ruleId": candidate.rule_id,
                    "name": candidate.name,
                    "fired": reason == "fired",
                    "reason": reason,
                    "conditions": conditions,
                }
            )
            if reason == "fired":
                fire(candidate)
        return lines

    def _tests_of(self, place: int, triggers: tuple[int, ...]) -> "_Tests":
        tests = self._tests.get((place, triggers))
        if tests is None:
            unit = self._units[place]
            leaves = 1 + unit.leaves
            if self._leaves_cached + leaves > LEAVES_CACHED_MAX:
                self._tests.clear()
                self._leaves_cached = 0
            self._leaves_cached += leaves
            tests = _Tests(unit, triggers, self._sources)
            self._tests[(place, triggers)] = tests
        return tests


class _Tests:
    """The compiled tests of one unit."""

    __slots__ = ("_condition", "_leaves", "_segment", "_window")

    def __init__(self, unit: Unit, triggers: tuple[int, ...], sources: Sources) -> None:
        condition = unit.condition_for(triggers)
        self._window = _compile(unit, sources.window)
        self._segment = _compile(unit, sources.segment)
        self._condition = compile_condition(condition)
        self._leaves: list[tuple[Leaf, Accessor, Predicate]] = [
            (leaf, compile_accessor(checked_field(leaf.field)), compile_condition(leaf))
            for leaf in leaves_of(condition)
        ]

    def reason(self, user: User, action: Action, occurred_ms: int) -> str:
        """Return which test failed first, or ``fired``."""
        if not self._window(user, action, occurred_ms):
            return "outside_window"
        if not self._segment(user, action, occurred_ms):
            return "not_in_segment"
        if not self._condition(user, action, occurred_ms):
            return "conditions_not_met"
        return "fired"

    def explain(self, user: User, action: Action, occurred_ms: int) -> list[JsonObject]:
        """Return what each leaf saw and said."""
        return [
            _line(
                leaf, read(user, action, occurred_ms), test(user, action, occurred_ms)
            )
            for leaf, read, test in self._leaves
        ]


def _compile(unit: Unit, source: Callable[[Unit, Code], str]) -> Predicate:
    code = Code()
    return compile_predicate(source(unit, code), code)


def _line(leaf: Leaf, actual: Any, held: bool) -> JsonObject:
    return {
        "field": leaf.field,
        "operator": leaf.operator,
        "expected": leaf.value,
        "actual": actual,
        "held": held,
    }
