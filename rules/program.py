"""The program of an org: its config at one version, compiled.

    evaluate(user, action, occurred_ms, fire)

calls `fire(candidate)` for every candidate that an action earns, in order: campaigns by
priority, the higher first, then by age, then by id; the rules of an advanced campaign
at its place, by the same three. Each is tested on the user as those before it left it.
"""

from bisect import bisect_right
from collections.abc import Callable
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo

from rules.accessor import parse_field
from rules.calendar import recurrence_window, zone
from rules.candidate import Candidate, ParsedCampaign, Unit, parse_all
from rules.compiler import (
    ALWAYS,
    NEVER,
    Accessor,
    Code,
    Evaluator,
    all_of,
    compile_accessor,
    compile_evaluator,
    within,
)
from rules.config import OrgConfig
from rules.errors import InvariantError
from rules.message import Action, JsonObject
from rules.segments import CompiledSegment, Members
from rules.state import User, UserState
from rules.trace import Tracer
from rules.triggers import Match, TriggerIndex

__all__ = ["Candidate", "Program"]

TYPES_CACHED_MAX: Final = 4_096
FIELDS_CACHED_MAX: Final = 4_096

Fire: TypeAlias = Callable[[Candidate], None]


class Program:
    """An org's campaigns, rules, segments, tiers and settings at one config version.

    Attributes:
      org: Org id.
      version: Config version.
      settings: The org's settings.
      segment_fields: The UserState attributes that used segments read; whoever changes
        one of them zeroes `User.segment_known`.
    """

    def __init__(self, config: OrgConfig, previous: "Program | None" = None) -> None:
        """Parse a config; functions are compiled when an action first needs them.

        Args:
          config: The org's config.
          previous: The program of an earlier version: rows that both share are not
            parsed again.

        Raises:
          InvariantError: A stored row does not parse; nothing like it is ever accepted.
        """
        self.org = config.org
        self.version = config.version
        self.settings = config.settings
        known: dict[str, ParsedCampaign] = previous._parsed if previous else {}
        self._parsed: dict[str, ParsedCampaign] = parse_all(config, known)
        segments: dict[str, CompiledSegment] = previous._segments if previous else {}
        self._segments: dict[str, CompiledSegment] = _parse_segments(config, segments)
        self._units = [u for parsed in self._parsed.values() for u in parsed.units]
        used = dict.fromkeys(s for u in self._units for s in u.segment_ids or ())
        self._members = Members(
            config.version, (self._segments[s] for s in used if s in self._segments)
        )
        self.segment_fields = self._members.fields
        self._index = TriggerIndex(self._units)
        self._counted = self._counted_types()
        self._by_type: dict[str, Evaluator] = {}
        self._by_match: dict[Match, Evaluator] = {}
        self._accessors: dict[str, Accessor | None] = {}
        self._tracer = Tracer(self._units, self._window_source, self._segment_source)
        self._tier_names = [tier.name for tier in config.settings.tiers]
        self._thresholds = [tier.threshold for tier in config.settings.tiers]
        self._zone = _org_zone(config)

    def evaluate(
        self, user: User, action: Action, occurred_ms: int, fire: Fire
    ) -> None:
        """Fire every candidate that an action earns, in order.

        Args:
          user: The user, whom `fire` may change.
          action: The action.
          occurred_ms: When it happened.
          fire: Called with each candidate whose tests hold.
        """
        function = self._by_type.get(action.type)
        if function is None:
            function = self._function(action.type)
        function(user, action, occurred_ms, fire)

    def trace(
        self, user: User, action: Action, occurred_ms: int, fire: Fire
    ) -> list[JsonObject]:
        """Fire as `evaluate` does and explain every candidate of the action's type.

        Returns:
          Per candidate, in order, ``{"campaignId", "ruleId", "name", "fired", "reason",
          "conditions"}``; `reason` is ``fired``, ``not_active``, ``outside_window``,
          ``not_in_segment`` or ``conditions_not_met``. `conditions` has ``{"field",
          "operator", "expected", "actual", "held"}`` for each, where it came to them.
        """
        match = self._index.match(action.type)
        return self._tracer.trace(match, user, action, occurred_ms, fire)

    def names_type(self, action_type: str) -> bool:
        """Return whether a campaign names a type: triggers on exactly it, or counts it.

        Wildcards name no type: there is no end to the types they match.
        """
        return action_type in self._counted or self._index.names(action_type)

    def zone_of(self, state: UserState) -> ZoneInfo:
        """Return the zone that a user's days are cut in: the user's, the org's, UTC."""
        name = state.preferences.get("timezone")
        own = zone(name) if type(name) is str else None
        return own or self._zone

    def tier_of(self, lifetime_points: int) -> str:
        """Return the name of the tier that lifetime points reach."""
        return self._tier_names[
            max(0, bisect_right(self._thresholds, lifetime_points) - 1)
        ]

    def resolve(self, field: str, user: User, action: Action, occurred_ms: int) -> Any:
        """Return what a formula's field holds, as conditions see it; None: absent."""
        if field not in self._accessors:
            if len(self._accessors) >= FIELDS_CACHED_MAX:
                self._accessors.clear()
            parsed = parse_field(field, "field", [])
            self._accessors[field] = (
                None if parsed is None else compile_accessor(parsed)
            )
        accessor = self._accessors[field]
        return None if accessor is None else accessor(user, action, occurred_ms)

    def is_member(self, segment_id: str, user: User) -> bool:
        """Return whether a user is in a segment; a deleted one has no members."""
        mask = self._members.mask((segment_id,))
        if mask:
            return self._members.any_of(user, mask)
        segment = self._segments.get(segment_id)
        return segment is not None and segment.holds(user)

    def window_of(self, candidate: Candidate, occurred_ms: int) -> int | None:
        """Return the recurring window, from 0, that an instant falls in.

        Returns:
          None if the candidate does not recur, or the instant is in no window.
        """
        if candidate.recurrence is None or candidate.start_ms is None:
            return None
        return recurrence_window(
            candidate.start_ms, candidate.recurrence, occurred_ms, self._zone
        )

    def _counted_types(self) -> frozenset[str]:
        """Return the types whose counters some campaign or segment reads."""
        fields = {field for unit in self._units for field in unit.fields()}
        for segment in self._segments.values():
            fields.update(leaf.field for leaf in segment.leaves())
        found = (parse_field(field, "field", []) for field in fields)
        return frozenset(f.count_of for f in found if f is not None and f.count_of)

    def _function(self, action_type: str) -> Evaluator:
        """Return the compiled function of an action type.

        Types that match the same triggers share one; a full cache starts afresh.
        """
        match = self._index.match(action_type)
        function = self._by_match.get(match)
        if function is None:
            if len(self._by_match) >= TYPES_CACHED_MAX:
                self._by_match.clear()
            function = self._compile(match)
            self._by_match[match] = function
        if len(self._by_type) >= TYPES_CACHED_MAX:
            self._by_type.clear()
        self._by_type[action_type] = function
        return function

    def _compile(self, match: Match) -> Evaluator:
        code = Code()
        candidates: list[tuple[str, Candidate]] = []
        for place, triggers in match:
            unit = self._units[place]
            if not unit.active:
                continue
            # One by one, so that nothing is fetched for a test that never gets there.
            tests = [self._window_source(unit, code), self._segment_source(unit, code)]
            if NEVER not in tests:
                tests.append(code.condition(unit.condition_for(triggers)))
                candidates.append((all_of(tests), unit.candidate))
        return compile_evaluator(candidates, code)

    def _window_source(self, unit: Unit, code: Code) -> str:
        candidate = unit.candidate
        source = within(candidate.start_ms, candidate.end_ms)
        recurrence = candidate.recurrence
        if recurrence is None or recurrence.get("windowDays") is None:
            return source
        window_of = code.bind(self.window_of)
        inside = f"{window_of}({code.bind(candidate)}, occurred_ms) is not None"
        return all_of([source, f"({inside})"])

    def _segment_source(self, unit: Unit, code: Code) -> str:
        if unit.segment_ids is None:
            return ALWAYS
        mask = self._members.mask(unit.segment_ids)
        if mask == 0:
            return NEVER
        return f"{code.bind(self._members.any_of)}(user, {mask})"


def _org_zone(config: OrgConfig) -> ZoneInfo:
    name = config.settings.timezone or "UTC"
    found = zone(name)
    if found is None:
        raise InvariantError(f"org {config.org} has an unknown time zone")
    return found


def _parse_segments(
    config: OrgConfig, known: dict[str, CompiledSegment]
) -> dict[str, CompiledSegment]:
    parsed: dict[str, CompiledSegment] = {}
    for segment_id, row in config.segments.items():
        before = known.get(segment_id)
        same = before is not None and before.row is row
        parsed[segment_id] = before if before and same else CompiledSegment(row)
    return parsed
