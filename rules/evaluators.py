"""The compiled functions of a program, one per action type, made when first needed.

Types that match the same triggers share a function. A match of very many conditions is
cut into blocks, whose borders depend on the program alone, so that types share those.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate, groupby
from typing import Final, TypeAlias

from rules.candidate import Candidate, Unit
from rules.compiler import (
    ALWAYS,
    NEVER,
    Code,
    Evaluator,
    all_of,
    compile_evaluator,
    within,
)
from rules.message import Action
from rules.segments import Members
from rules.state import User
from rules.triggers import Match, TriggerIndex

TYPES_CACHED_MAX: Final = 4_096
# Compiling a leaf takes about 0.1 ms; compiled it takes about 1 kB.
LEAVES_CACHED_MAX: Final = 100_000
LEAVES_PER_FUNCTION_MAX: Final = 2_000
LEAVES_PER_BLOCK: Final = 1_000

WindowOf: TypeAlias = Callable[[Candidate, int], int | None]


class Sources:
    """Source of the tests of a unit that come before its conditions."""

    __slots__ = ("_members", "_window_of")

    def __init__(self, members: Members, window_of: WindowOf) -> None:
        """Bind what the source calls."""
        self._members = members
        self._window_of = window_of

    def window(self, unit: Unit, code: Code) -> str:
        """Return an expression: the action lies in the campaign's window."""
        candidate = unit.candidate
        source = within(candidate.start_ms, candidate.end_ms)
        recurrence = candidate.recurrence
        if recurrence is None or recurrence.get("windowDays") is None:
            return source
        number = f"{code.bind(self._window_of)}({code.bind(candidate)}, occurred_ms)"
        return all_of([source, f"({number} is not None)"])

    def segment(self, unit: Unit, code: Code) -> str:
        """Return an expression: the user is in one of the campaign's segments."""
        if unit.segment_ids is None:
            return ALWAYS
        mask = self._members.mask(unit.segment_ids)
        if mask == 0:
            return NEVER
        return f"{code.bind(self._members.any_of)}(user, {mask})"


class Evaluators:
    """The functions of one program; bounded in types and in compiled conditions."""

    __slots__ = (
        "_blocks",
        "_by_match",
        "_by_type",
        "_index",
        "_leaves",
        "_leaves_cached",
        "_sources",
        "_units",
    )

    def __init__(
        self, units: Sequence[Unit], index: TriggerIndex, sources: Sources
    ) -> None:
        """Compile nothing yet.

        Args:
          units: The program's, in order.
          index: Of their triggers.
          sources: Of their tests.
        """
        self._units = units
        self._index = index
        self._sources = sources
        # A unit without conditions costs something, too.
        self._leaves = [1 + unit.leaves for unit in units]
        self._blocks = [n // LEAVES_PER_BLOCK for n in accumulate(self._leaves)]
        self._leaves_cached = 0
        self._by_type: dict[str, Evaluator] = {}
        self._by_match: dict[Match, Evaluator] = {}

    def of_type(self, action_type: str) -> Evaluator:
        """Return the function of an action type."""
        function = self._by_type.get(action_type)
        if function is None:
            function = self._find(self._index.match(action_type))
            if len(self._by_type) >= TYPES_CACHED_MAX:
                self._by_type.clear()
            self._by_type[action_type] = function
        return function

    def _find(self, match: Match) -> Evaluator:
        if sum(self._leaves[place] for place, _ in match) <= LEAVES_PER_FUNCTION_MAX:
            return self._compiled(match)
        blocks = groupby(match, key=lambda found: self._blocks[found[0]])
        return _one_after_another([self._compiled(tuple(b)) for _, b in blocks])

    def _compiled(self, match: Match) -> Evaluator:
        function = self._by_match.get(match)
        if function is None:
            leaves = 1 + sum(self._leaves[place] for place, _ in match)
            if self._leaves_cached + leaves > LEAVES_CACHED_MAX:
                self._by_type.clear()
                self._by_match.clear()
                self._leaves_cached = 0
            self._leaves_cached += leaves
            function = self._compile(match)
            self._by_match[match] = function
        return function

    def _compile(self, match: Match) -> Evaluator:
        code = Code()
        sources = self._sources
        candidates: list[tuple[str, Candidate]] = []
        for place, triggers in match:
            unit = self._units[place]
            if not unit.active:
                continue
            tests = [sources.window(unit, code), sources.segment(unit, code)]
            # Nothing is fetched for conditions that it never comes to.
            if NEVER not in tests:
                tests.append(code.condition(unit.condition_for(triggers)))
                candidates.append((all_of(tests), unit.candidate))
        return compile_evaluator(candidates, code)


def _one_after_another(functions: Sequence[Evaluator]) -> Evaluator:
    def evaluate(
        user: User,
        action: Action,
        occurred_ms: int,
        fire: Callable[[Candidate], None],
    ) -> None:
        for function in functions:
            function(user, action, occurred_ms, fire)

    return evaluate
