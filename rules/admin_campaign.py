"""Commands about campaigns."""

import msgspec

from rules.accessor import CODE as INVALID_CONDITION
from rules.condition import LEAVES_MAX
from rules.config import CAMPAIGNS_MAX, Campaign, OrgConfig, row_to_json
from rules.decision import Decision, OrgView, answered, invalid, refused
from rules.errors import Rejection
from rules.fields import refuse
from rules.message import Command, JsonObject
from rules.outcome import Place
from rules.parse_campaign import (
    campaign_leaves,
    parse_campaign,
    parse_campaign_update,
)
from rules.parse_rule import rule_leaves
from rules.public_id import public_id


def create_campaign(
    _org: OrgView, config: OrgConfig, command: Command, place: Place
) -> Decision:
    """Create a campaign; 409 DUPLICATE_NAME, CAMPAIGN_LIMIT_REACHED."""
    problems: list[Rejection] = []
    values = parse_campaign(command.body, problems)
    if values is None:
        return invalid(command, problems)
    refusal = _check_references(config, command, values, None)
    if refusal is not None:
        return refusal
    if len(config.campaigns) >= CAMPAIGNS_MAX:
        message = f"an org has at most {CAMPAIGNS_MAX} campaigns; archive one first"
        return refused(command, 409, "CAMPAIGN_LIMIT_REACHED", message)
    campaign = Campaign(
        campaign_id=public_id("camp", place.ids.new_id(place.number, 0)),
        **values,
        created_at_ms=place.clock_ms,
        updated_at_ms=place.clock_ms,
    )
    row = row_to_json(campaign)
    changes = [("campaign", campaign.campaign_id, row)]
    return answered(command, 201, row, changes=changes)


def update_campaign(
    org: OrgView, config: OrgConfig, command: Command, place: Place
) -> Decision:
    """Change a campaign; 404 CAMPAIGN_NOT_FOUND, 409 CONFLICT, DUPLICATE_NAME."""
    campaign = org.row("campaign", command.target or "")
    if campaign is None:
        return campaign_not_found(command)
    if campaign.status == "archived":
        return campaign_archived(command)
    problems: list[Rejection] = []
    values = parse_campaign_update(command.body, campaign, problems)
    if values is None:
        return invalid(command, problems)
    refusal = _check_references(config, command, values, campaign.campaign_id)
    if refusal is not None:
        return refusal
    changed = next_version(campaign, place, values)
    if "conditions" in values:
        check_leaves(changed, rules_of(config, changed.campaign_id), problems)
        if problems:
            return invalid(command, problems)
    row = row_to_json(changed)
    changes = [("campaign", changed.campaign_id, row)]
    return answered(command, 200, row, changes=changes)


def archive_campaign(
    org: OrgView, _config: OrgConfig, command: Command, place: Place
) -> Decision:
    """Archive a campaign for good; 404 CAMPAIGN_NOT_FOUND. A second time is a no-op."""
    campaign = org.row("campaign", command.target or "")
    if campaign is None:
        return campaign_not_found(command)
    if campaign.status == "archived":
        return answered(command, 204)
    row = row_to_json(next_version(campaign, place, {"status": "archived"}))
    changes = [("campaign", campaign.campaign_id, row)]
    return answered(command, 204, changes=changes)


def next_version(campaign: Campaign, place: Place, values: JsonObject) -> Campaign:
    """Return a campaign after an edit of it, or of one of its rules."""
    return msgspec.structs.replace(
        campaign,
        **values,
        version=campaign.version + 1,
        updated_at_ms=place.clock_ms,
    )


def rules_of(config: OrgConfig, campaign_id: str) -> list[JsonObject]:
    """Return the fields of a campaign's rules."""
    return [
        msgspec.structs.asdict(rule)
        for rule in config.rules.values()
        if rule.campaign_id == campaign_id
    ]


def check_leaves(
    campaign: Campaign, rules: list[JsonObject], problems: list[Rejection]
) -> None:
    """Refuse more leaves than LEAVES_MAX in a campaign and its rules together."""
    leaves = campaign_leaves(msgspec.structs.asdict(campaign), problems)
    leaves += sum(rule_leaves(rule, problems) for rule in rules)
    if leaves > LEAVES_MAX:
        message = f"a campaign and its rules have at most {LEAVES_MAX} leaves in all"
        refuse(problems, "conditions", message, INVALID_CONDITION)


def campaign_not_found(command: Command) -> Decision:
    """Return the refusal of a command about an unknown campaign."""
    message = "the campaign does not exist"
    return refused(command, 404, "CAMPAIGN_NOT_FOUND", message, "campaignId")


def campaign_archived(command: Command) -> Decision:
    """Return the refusal of a command that would change an archived campaign."""
    message = "the campaign is archived, for good"
    return refused(command, 409, "CONFLICT", message, "campaignId")


def _check_references(
    config: OrgConfig, command: Command, values: JsonObject, campaign_id: str | None
) -> Decision | None:
    """Check what new values say of the org's other rows; None if all is well."""
    for i, segment_id in enumerate(values.get("segment_ids", [])):
        if segment_id not in config.segments:
            field = f"segmentIds[{i}]" if "segmentIds" in command.body else "segmentId"
            message = "the segment does not exist"
            return refused(command, 400, "SEGMENT_NOT_FOUND", message, field)
    name = values.get("name")
    for other in config.campaigns.values():
        if other.name == name and other.campaign_id != campaign_id:
            message = "another campaign has this name"
            return refused(command, 409, "DUPLICATE_NAME", message, "name")
    return None
