"""Segments of an org, compiled: who is a member, cached on the user.

The segments that campaigns use have a bit each. A user keeps which bits are known and
which are set; whoever changes a field that a used segment reads zeroes what is known.
"""

from collections.abc import Iterable

from rules.compiler import Predicate, checked_field, compile_condition
from rules.condition import (
    AllOf,
    AnyOf,
    Condition,
    Not,
    leaves_of,
    parse_conditions,
)
from rules.config import Segment
from rules.errors import InvariantError, Rejection
from rules.state import User


def parse_segment(segment: Segment) -> Condition:
    """Return the condition of a stored segment: its criteria and none of its excludes.

    Raises:
      InvariantError: The row does not parse; nothing like it is ever accepted.
    """
    problems: list[Rejection] = []
    included = parse_conditions(segment.criteria, "criteria", problems, scope="segment")
    excluded = parse_conditions(
        segment.exclude_criteria, "excludeCriteria", problems, scope="segment"
    )
    if included is None or not isinstance(excluded, AllOf):
        reason = problems[0] if problems else None
        raise InvariantError(f"segment {segment.segment_id} does not parse: {reason}")
    return AllOf((included, Not(AnyOf(excluded.parts))))


class CompiledSegment:
    """One segment; compiled when it is first asked about.

    Attributes:
      row: What it was made from.
      condition: Its criteria and none of its excludes.
      fields: Every field that they read.
    """

    __slots__ = ("_test", "_user_ids", "condition", "fields", "row")

    def __init__(self, row: Segment) -> None:
        """Parse a row.

        Raises:
          InvariantError: The row does not parse.
        """
        self.row = row
        self.condition = parse_segment(row)
        self.fields = frozenset(leaf.field for leaf in leaves_of(self.condition))
        self._user_ids = frozenset(row.user_ids or ()) if row.type == "static" else None
        self._test: Predicate | None = None

    def holds(self, user: User) -> bool:
        """Return whether a user is a member now."""
        if self._user_ids is not None and user.user_id not in self._user_ids:
            return False
        if self._test is None:
            self._test = compile_condition(self.condition)
        return self._test(user, None, 0)


class Members:
    """Membership in the segments that an org's campaigns use.

    Attributes:
      fields: The UserState attributes that these segments read.
    """

    __slots__ = ("_bits", "_used", "_version", "fields")

    def __init__(self, version: int, used: Iterable[CompiledSegment]) -> None:
        """Give every used segment a bit.

        Args:
          version: The config's; what a user has cached of another does not count.
          used: The segments that campaigns name.
        """
        self._version = version
        self._used = list(used)
        self._bits = {s.row.segment_id: 1 << i for i, s in enumerate(self._used)}
        self.fields = frozenset(
            field.property.attribute
            for segment in self._used
            for field in map(checked_field, segment.fields)
            if field.property is not None and field.property.attribute is not None
        )

    def mask(self, segment_ids: Iterable[str]) -> int:
        """Return the bits of segments; those that are gone have none."""
        mask = 0
        for segment_id in segment_ids:
            mask |= self._bits.get(segment_id, 0)
        return mask

    def any_of(self, user: User, mask: int) -> bool:
        """Return whether a user is in one of the segments of a mask."""
        if user.segment_version != self._version:
            user.segment_version = self._version
            user.segment_known = 0
        unknown = mask & ~user.segment_known
        if unknown:
            self._learn(user, unknown)
        return user.segment_bits & mask != 0

    def _learn(self, user: User, unknown: int) -> None:
        bits = user.segment_bits & ~unknown
        while unknown:
            bit = unknown & -unknown
            if self._used[bit.bit_length() - 1].holds(user):
                bits |= bit
            user.segment_known |= bit
            unknown ^= bit
        user.segment_bits = bits
