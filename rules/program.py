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
from rules.candidate import Candidate, ParsedCampaign, parse_all
from rules.compiler import Accessor, compile_accessor
from rules.config import OrgConfig
from rules.errors import InvariantError
from rules.evaluators import Evaluators, Sources
from rules.message import Action, JsonObject
from rules.segments import CompiledSegment, Members
from rules.state import User, UserState
from rules.tiers import next_thresholds
from rules.trace import Tracer
from rules.triggers import TriggerIndex

__all__ = ["Candidate", "Program"]

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
      next_thresholds: Tier -> lifetime points from which on it gives way to another.
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
        sources = Sources(self._members, self.window_of)
        self._evaluator_of = Evaluators(self._units, self._index, sources).of_type
        self._accessors: dict[str, Accessor | None] = {}
        self._tracer = Tracer(self._units, sources)
        self._tier_names = [tier.name for tier in config.settings.tiers]
        self._thresholds = [tier.threshold for tier in config.settings.tiers]
        self.next_thresholds = next_thresholds(config.settings.tiers)
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
        self._evaluator_of(action.type)(user, action, occurred_ms, fire)

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
        fields: set[str] = set()
        fields.update(*(unit.fields for unit in self._units))
        fields.update(*(segment.fields for segment in self._segments.values()))
        found = (parse_field(field, "field", []) for field in fields)
        return frozenset(f.count_of for f in found if f is not None and f.count_of)


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
