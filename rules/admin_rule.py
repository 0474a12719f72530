"""Commands about the rules of advanced campaigns.

A change of a rule is a change of its campaign: both rows go into one config version,
the campaign's with its version raised, because entries name that version.
"""

import msgspec

from rules.admin_campaign import (
    campaign_archived,
    campaign_not_found,
    check_leaves,
    next_version,
    rules_of,
)
from rules.config import (
    RULES_PER_CAMPAIGN_MAX,
    Campaign,
    OrgConfig,
    Rule,
    row_to_json,
)
from rules.decision import Change, Decision, OrgView, answered, invalid, refused
from rules.errors import Rejection
from rules.message import Command, JsonObject
from rules.outcome import Place
from rules.parse_rule import parse_rule, parse_rule_update
from rules.public_id import public_id


def create_rule(
    org: OrgView, config: OrgConfig, command: Command, place: Place
) -> Decision:
    """Add a rule; 400 SIMPLE_MODE_RULES_FORBIDDEN, 409 RULE_LIMIT_REACHED."""
    named = command.body.get("campaignId")
    campaign_id = command.target if command.target is not None else named
    if not isinstance(campaign_id, str):
        message = "is required, as a string"
        return refused(command, 400, "VALIDATION_ERROR", message, "campaignId")
    if named not in (None, campaign_id):
        return _other_campaign(command)
    campaign: Campaign | None = org.row("campaign", campaign_id)
    if campaign is None:
        return campaign_not_found(command)
    if campaign.status == "archived":
        return campaign_archived(command)
    if campaign.simplified_mode:
        message = "a simple campaign has triggers and effects, not rules"
        code = "SIMPLE_MODE_RULES_FORBIDDEN"
        return refused(command, 400, code, message, "campaignId")
    problems: list[Rejection] = []
    values = parse_rule(command.body, problems)
    rules = rules_of(config, campaign_id)
    if values is not None:
        check_leaves(campaign, [*rules, values], problems)
    if values is None or problems:
        return invalid(command, problems)
    if len(rules) >= RULES_PER_CAMPAIGN_MAX:
        message = f"a campaign has at most {RULES_PER_CAMPAIGN_MAX} rules"
        return refused(command, 409, "RULE_LIMIT_REACHED", message)
    rule = Rule(
        rule_id=public_id("rule", place.ids.new_id(place.number, 0)),
        campaign_id=campaign_id,
        **values,
        created_at_ms=place.clock_ms,
        updated_at_ms=place.clock_ms,
    )
    row = row_to_json(rule)
    changes = _changes(campaign, place, rule.rule_id, row)
    return answered(command, 201, row, changes=changes)


def update_rule(
    org: OrgView, config: OrgConfig, command: Command, place: Place
) -> Decision:
    """Change a rule; 404 RULE_NOT_FOUND, 400 for a rule of another campaign."""
    found = _find(org, command)
    if isinstance(found, Decision):
        return found
    campaign, rule = found
    problems: list[Rejection] = []
    values = parse_rule_update(command.body, rule, problems)
    if values is None:
        return invalid(command, problems)
    if "conditions" in values:
        rules = rules_of(config, campaign.campaign_id)
        others = [other for other in rules if other["rule_id"] != rule.rule_id]
        check_leaves(campaign, [*others, values], problems)
        if problems:
            return invalid(command, problems)
    rule = msgspec.structs.replace(
        rule, **values, version=rule.version + 1, updated_at_ms=place.clock_ms
    )
    row = row_to_json(rule)
    changes = _changes(campaign, place, rule.rule_id, row)
    return answered(command, 200, row, changes=changes)


def delete_rule(
    org: OrgView, _config: OrgConfig, command: Command, place: Place
) -> Decision:
    """Delete a rule for good; 404 RULE_NOT_FOUND, 400 for another campaign's."""
    found = _find(org, command)
    if isinstance(found, Decision):
        return found
    campaign, rule = found
    changes = _changes(campaign, place, rule.rule_id, None)
    return answered(command, 204, changes=changes)


def _find(org: OrgView, command: Command) -> tuple[Campaign, Rule] | Decision:
    """Return a rule and its campaign, or why the command cannot have them."""
    rule: Rule | None = org.row("rule", command.target or "")
    if rule is None:
        message = "the rule does not exist"
        return refused(command, 404, "RULE_NOT_FOUND", message, "ruleId")
    if command.body.get("campaignId") not in (None, rule.campaign_id):
        return _other_campaign(command)
    campaign: Campaign | None = org.row("campaign", rule.campaign_id)
    if campaign is None:
        return campaign_not_found(command)
    if campaign.status == "archived":
        return campaign_archived(command)
    return campaign, rule


def _changes(
    campaign: Campaign, place: Place, rule_id: str, row: JsonObject | None
) -> list[Change]:
    changed = next_version(campaign, place, {})
    return [
        ("campaign", campaign.campaign_id, row_to_json(changed)),
        ("rule", rule_id, row),
    ]


def _other_campaign(command: Command) -> Decision:
    message = "the rule belongs to another campaign"
    return refused(command, 400, "VALIDATION_ERROR", message, "campaignId")
