"""Which triggers an action type matches, by index and not by search.

A pattern is one type, a prefix ``user.*``, or a bare ``*`` for every type. Names
compare case-sensitively.
"""

from collections.abc import Sequence
from typing import TypeAlias

from rules.candidate import Unit

# The places of the units that a type matches, in order, with their triggers' indices.
Match: TypeAlias = tuple[tuple[int, tuple[int, ...]], ...]

_Found: TypeAlias = list[tuple[int, int]]


class TriggerIndex:
    """The triggers of a program."""

    __slots__ = ("_exact", "_prefixes")

    def __init__(self, units: Sequence[Unit]) -> None:
        """Index the triggers of all units, active or not."""
        self._exact: dict[str, _Found] = {}
        # The bare `*` is the empty prefix.
        self._prefixes: dict[str, _Found] = {}
        for place, unit in enumerate(units):
            for number, trigger in enumerate(unit.triggers):
                pattern = trigger.pattern
                if pattern == "*" or pattern.endswith(".*"):
                    found = self._prefixes.setdefault(pattern[:-1], [])
                else:
                    found = self._exact.setdefault(pattern, [])
                found.append((place, number))

    def names(self, action_type: str) -> bool:
        """Return whether some trigger is exactly this type."""
        return action_type in self._exact

    def match(self, action_type: str) -> Match:
        """Return the units that an action type matches, by place."""
        found = list(self._exact.get(action_type, ()))
        found += self._prefixes.get("", ())
        end = action_type.find(".")
        while end >= 0:
            found += self._prefixes.get(action_type[: end + 1], ())
            end = action_type.find(".", end + 1)
        by_place: dict[int, list[int]] = {}
        for place, number in sorted(found):
            by_place.setdefault(place, []).append(number)
        return tuple((place, tuple(numbers)) for place, numbers in by_place.items())
