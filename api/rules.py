"""Rules of advanced campaigns, in both route families.

``/rules/{ruleId}`` with the campaign in the body, and ``/campaigns/{id}/rules/...``.
"""

from flask import Blueprint, Response

from api import commands, render
from api.auth import Caller, operator
from api.body import read_object
from api.campaigns import find_campaign
from api.envelope import success
from api.operation import operation
from api.problems import bad_request, not_found, refuse_all
from api.services import services
from rules.config import row_from_json
from rules.errors import Rejection
from rules.message import JsonObject
from rules.parse_rule import parse_rule, parse_rule_update

blueprint = Blueprint("rules", __name__)

_READ = operator("loyalty:read")
_WRITE = operator("loyalty:write")


def _find_rule(org: str, rule_id: str, campaign_id: str | None) -> JsonObject:
    """Return a rule's row; with a campaign, it must be that campaign's.

    Raises:
      Problem: 404 for an unknown rule or campaign, 400 for another campaign's rule.
    """
    if campaign_id is not None:
        find_campaign(org, campaign_id)
    row = services().view.config_row(org, "rule", rule_id)
    if row is None:
        raise not_found("RULE_NOT_FOUND", "Rule does not exist")
    if campaign_id not in (None, row["campaign_id"]):
        raise bad_request("The rule belongs to another campaign", "campaignId")
    return row


def _create(caller: Caller, campaign_id: str | None) -> Response:
    body = read_object()
    problems: list[Rejection] = []
    parse_rule(body, problems)
    if campaign_id is None and body.get("campaignId") is None:
        problems.append(Rejection("VALIDATION_ERROR", "is required", "campaignId"))
    refuse_all(problems)
    return commands.run(caller, "rule.create", body, target=campaign_id)


def _update(caller: Caller, rule_id: str, campaign_id: str | None) -> Response:
    body = read_object()
    current = row_from_json("rule", _find_rule(caller.org, rule_id, campaign_id))
    problems: list[Rejection] = []
    parse_rule_update(body, current, problems)
    refuse_all(problems)
    return commands.run(caller, "rule.update", body, target=rule_id)


def _delete(caller: Caller, rule_id: str, campaign_id: str | None) -> Response:
    _find_rule(caller.org, rule_id, campaign_id)
    return commands.run(caller, "rule.delete", {}, target=rule_id)


@blueprint.get("/campaigns/<campaign_id>/rules")
@operation(_READ, answers={200: "Rules"}, refuses=(404,))
def list_campaign_rules(caller: Caller, campaign_id: str) -> Response:
    """List a campaign's rules in the order in which they run."""
    find_campaign(caller.org, campaign_id)
    rows = [
        row
        for row in services().view.config_rows(caller.org, "rule")
        if row["campaign_id"] == campaign_id
    ]
    rows.sort(key=lambda row: (-row["priority"], row["created_at_ms"], row["rule_id"]))
    return success({"rules": [render.rule(row) for row in rows]})


@blueprint.post("/campaigns/<campaign_id>/rules")
@operation(
    _WRITE,
    body="RuleCreate",
    answers={201: "Rule", 202: "Command"},
    refuses=(404, 409),
)
def create_campaign_rule(caller: Caller, campaign_id: str) -> Response:
    """Add a rule to an advanced campaign."""
    find_campaign(caller.org, campaign_id)
    return _create(caller, campaign_id)


@blueprint.get("/campaigns/<campaign_id>/rules/<rule_id>")
@operation(_READ, answers={200: "Rule"}, refuses=(404,))
def get_campaign_rule(caller: Caller, campaign_id: str, rule_id: str) -> Response:
    """Read a rule of a campaign."""
    return success(render.rule(_find_rule(caller.org, rule_id, campaign_id)))


@blueprint.put("/campaigns/<campaign_id>/rules/<rule_id>")
@operation(
    _WRITE,
    body="RuleUpdate",
    answers={200: "Rule", 202: "Command"},
    refuses=(404, 409),
)
def update_campaign_rule(caller: Caller, campaign_id: str, rule_id: str) -> Response:
    """Change the fields of a campaign's rule that are given."""
    return _update(caller, rule_id, campaign_id)


@blueprint.delete("/campaigns/<campaign_id>/rules/<rule_id>")
@operation(_WRITE, answers={204: None, 202: "Command"}, refuses=(404, 409))
def delete_campaign_rule(caller: Caller, campaign_id: str, rule_id: str) -> Response:
    """Delete a rule of a campaign, for good."""
    return _delete(caller, rule_id, campaign_id)


@blueprint.post("/rules")
@operation(
    _WRITE,
    body="RuleCreate",
    answers={201: "Rule", 202: "Command"},
    refuses=(404, 409),
)
def create_rule(caller: Caller) -> Response:
    """Add a rule to the advanced campaign that `campaignId` names."""
    return _create(caller, None)


@blueprint.get("/rules/<rule_id>")
@operation(_READ, answers={200: "Rule"}, refuses=(404,))
def get_rule(caller: Caller, rule_id: str) -> Response:
    """Read a rule."""
    return success(render.rule(_find_rule(caller.org, rule_id, None)))


@blueprint.put("/rules/<rule_id>")
@operation(
    _WRITE,
    body="RuleUpdate",
    answers={200: "Rule", 202: "Command"},
    refuses=(404, 409),
)
def update_rule(caller: Caller, rule_id: str) -> Response:
    """Change the fields of a rule that are given."""
    return _update(caller, rule_id, None)


@blueprint.delete("/rules/<rule_id>")
@operation(_WRITE, answers={204: None, 202: "Command"}, refuses=(404, 409))
def delete_rule(caller: Caller, rule_id: str) -> Response:
    """Delete a rule, for good."""
    return _delete(caller, rule_id, None)
