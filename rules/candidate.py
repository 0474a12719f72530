"""Candidates: what an org's config holds that can fire, parsed and in order.

A simple campaign is one candidate, every rule of an advanced campaign is one.
"""

from operator import is_

import msgspec

from rules.condition import (
    AllOf,
    AnyOf,
    Condition,
    leaves_of,
    parse_conditions,
)
from rules.config import Campaign, OrgConfig, Rule
from rules.effect import Cap, Effect, Formula
from rules.errors import InvariantError, Rejection
from rules.message import JsonObject
from rules.parse_effect import parse_effects, parse_limits
from rules.parse_trigger import trigger_type


class Candidate(msgspec.Struct, frozen=True):
    """What fires: a simple campaign, or one rule of an advanced one.

    Attributes:
      campaign_id: The campaign.
      rule_id: The rule, None for a simple campaign.
      campaign_version: The campaign's version.
      name: The rule's name, or else the campaign's.
      effects: What it does.
      caps: Its own limits: the rule's, or the simple campaign's.
      campaign_caps: Of a rule: the limits of its campaign, which all its rules share.
      start_ms, end_ms: The campaign's window, inclusive; None: open.
      recurrence: How the window repeats, None: it does not.
    """

    campaign_id: str
    rule_id: str | None
    campaign_version: int
    name: str
    effects: tuple[Effect, ...] = ()
    caps: tuple[Cap, ...] = ()
    campaign_caps: tuple[Cap, ...] = ()
    start_ms: int | None = None
    end_ms: int | None = None
    recurrence: JsonObject | None = None

    def cap_scope(self, window: int | None) -> str:
        """Return the scope that `caps` are counted under.

        Args:
          window: The recurring window, whose counters start afresh; None: no windows.
        """
        return _scope(self.rule_id or self.campaign_id, window)

    def campaign_cap_scope(self, window: int | None) -> str:
        """Return the scope that `campaign_caps` are counted under."""
        return _scope(self.campaign_id, window)


def _scope(row_id: str, window: int | None) -> str:
    return row_id if window is None else f"{row_id}#w{window}"


class Trigger(msgspec.Struct, frozen=True):
    """An action type, or a prefix with ``*``, and what must hold besides."""

    pattern: str
    condition: Condition


class Unit(msgspec.Struct, frozen=True):
    """A candidate with what decides whether it fires.

    Attributes:
      candidate: What fires.
      active: The campaign is active and the rule enabled.
      segment_ids: The user must be in one of these; None: everybody.
      condition: Must hold whatever the trigger.
      triggers: At least one must match, and its condition hold.
      leaves: How many leaves its conditions have in all.
      fields: Every field that its conditions and amounts read.
    """

    candidate: Candidate
    active: bool
    segment_ids: tuple[str, ...] | None
    condition: Condition
    triggers: tuple[Trigger, ...]
    leaves: int
    fields: frozenset[str]

    def condition_for(self, triggers: tuple[int, ...]) -> Condition:
        """Return what must hold where the triggers of these indices match."""
        matched = tuple(self.triggers[i].condition for i in triggers)
        either = matched[0] if len(matched) == 1 else AnyOf(matched)
        return AllOf((self.condition, either))


class ParsedCampaign(msgspec.Struct, frozen=True):
    """A campaign's units, in order, and the rows they were made from."""

    row: Campaign
    rules: tuple[Rule, ...]
    units: tuple[Unit, ...]


def parse_all(
    config: OrgConfig, known: dict[str, ParsedCampaign]
) -> dict[str, ParsedCampaign]:
    """Parse all campaigns of an org, in the order in which they run.

    Args:
      config: The org's config.
      known: What was parsed for an earlier version; rows that stayed are not parsed
        again.

    Raises:
      InvariantError: A stored row does not parse; nothing like it is ever accepted.
    """
    rules: dict[str, list[Rule]] = {}
    for rule in sorted(config.rules.values(), key=_rule_place):
        rules.setdefault(rule.campaign_id, []).append(rule)
    parsed: dict[str, ParsedCampaign] = {}
    for row in sorted(config.campaigns.values(), key=_campaign_place):
        own = tuple(rules.get(row.campaign_id, ()))
        before = known.get(row.campaign_id)
        if before is None or not _same_rows(before, row, own):
            before = _parse_campaign(row, own)
        parsed[row.campaign_id] = before
    return parsed


def _campaign_place(row: Campaign) -> tuple[int, int, str]:
    return -row.priority, row.created_at_ms, row.campaign_id


def _rule_place(row: Rule) -> tuple[int, int, str]:
    return -row.priority, row.created_at_ms, row.rule_id


def _same_rows(parsed: ParsedCampaign, row: Campaign, rules: tuple[Rule, ...]) -> bool:
    return (
        parsed.row is row
        and len(parsed.rules) == len(rules)
        and all(map(is_, parsed.rules, rules))
    )


def _parse_campaign(row: Campaign, rules: tuple[Rule, ...]) -> ParsedCampaign:
    problems: list[Rejection] = []
    condition = parse_conditions(row.conditions, "conditions", problems) or AllOf()
    caps = parse_limits(row.limits, "limits", problems)
    if row.triggers:
        units = [_simple_unit(row, condition, caps, problems)]
    else:
        units = [_rule_unit(row, rule, condition, caps, problems) for rule in rules]
    if problems:
        why = f"campaign {row.campaign_id} does not parse: {problems[0]}"
        raise InvariantError(why)
    return ParsedCampaign(row, rules, tuple(units))


def _simple_unit(
    row: Campaign,
    condition: Condition,
    caps: tuple[Cap, ...],
    problems: list[Rejection],
) -> Unit:
    triggers = tuple(
        Trigger(
            trigger_type(raw),
            parse_conditions(raw.get("conditions"), "triggers", problems) or AllOf(),
        )
        for raw in row.triggers or ()
    )
    candidate = Candidate(
        row.campaign_id,
        None,
        row.version,
        row.name,
        parse_effects(row.effects or [], "effects", problems),
        caps,
        (),
        row.start_ms,
        row.end_ms,
        row.recurrence,
    )
    return _unit(row, candidate, True, condition, triggers)


def _rule_unit(
    row: Campaign,
    rule: Rule,
    condition: Condition,
    caps: tuple[Cap, ...],
    problems: list[Rejection],
) -> Unit:
    own = parse_conditions(rule.conditions, "conditions", problems) or AllOf()
    candidate = Candidate(
        row.campaign_id,
        rule.rule_id,
        row.version,
        rule.name,
        parse_effects(rule.effects, "effects", problems),
        parse_limits(rule.limits, "limits", problems),
        caps,
        row.start_ms,
        row.end_ms,
        row.recurrence,
    )
    triggers = (Trigger(rule.trigger, own),)
    return _unit(row, candidate, rule.enabled, condition, triggers)


def _unit(
    row: Campaign,
    candidate: Candidate,
    enabled: bool,
    condition: Condition,
    triggers: tuple[Trigger, ...],
) -> Unit:
    # Counted here, once: a program of a later version shares the unit.
    tested = leaves_of(AllOf((condition, *(own.condition for own in triggers))))
    formulas = (
        effect.amount.field
        for effect in candidate.effects
        if isinstance(effect.amount, Formula)
    )
    return Unit(
        candidate,
        row.status == "active" and enabled,
        tuple(row.segment_ids) if row.segment_ids else None,
        condition,
        triggers,
        len(tested),
        frozenset((*(leaf.field for leaf in tested), *formulas)),
    )
