"""The fold of an org's aggregate: one admin command in, one decision out.

    decide(org, command, place) -> Decision

Pure and deterministic, as rules/apply.py is. A command that is refused changes nothing.
Bodies are the wire's, as the operator sent them; what they may say is in
rules/parse_campaign.py, parse_rule.py, parse_segment.py and admin_org.py.

| command | target | answer |
|---|---|---|
| `org.create` | | 201, the settings; its body may bring the first keys |
| `key.create`, `jwt_key.create` | | 201, the key without its secret |
| `key.revoke` | key id | 200, the key |
| `campaign.create` | | 201, the campaign |
| `campaign.update`, `campaign.archive` | campaign id | 200, the campaign; 204 |
| `rule.create` | campaign id, or body `campaignId` | 201, the rule |
| `rule.update`, `rule.delete` | rule id | 200, the rule; 204 |
| `segment.create` | | 201, the segment |
| `segment.update`, `segment.delete` | segment id | 200, the segment; 204 |
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from rules import admin_campaign, admin_org, admin_rule, admin_segment
from rules.config import OrgConfig
from rules.decision import Decision, OrgView, refused
from rules.message import Command
from rules.outcome import Place

__all__ = ["Decision", "OrgView", "decide"]

Handler: TypeAlias = Callable[[OrgView, OrgConfig, Command, Place], Decision]

_HANDLERS: Final[dict[str, Handler]] = {
    "key.create": admin_org.create_key,
    "key.revoke": admin_org.revoke_key,
    "jwt_key.create": admin_org.create_jwt_key,
    "campaign.create": admin_campaign.create_campaign,
    "campaign.update": admin_campaign.update_campaign,
    "campaign.archive": admin_campaign.archive_campaign,
    "rule.create": admin_rule.create_rule,
    "rule.update": admin_rule.update_rule,
    "rule.delete": admin_rule.delete_rule,
    "segment.create": admin_segment.create_segment,
    "segment.update": admin_segment.update_segment,
    "segment.delete": admin_segment.delete_segment,
}


def decide(org: OrgView, command: Command, place: Place) -> Decision:
    """Decide about an admin command.

    Args:
      org: The org's rows, left as they are.
      command: What is asked for.
      place: Position, clock and id space; new ids and times come from it.

    Returns:
      The answer and the changes of config; bad input is a refusal (400, 404 or 409),
      never an exception.
    """
    if command.name == "org.create":
        return admin_org.create_org(org, command, place)
    handler = _HANDLERS.get(command.name)
    if handler is None:
        message = "no such command for an org"
        return refused(command, 400, "UNKNOWN_COMMAND", message, "name")
    config = org.config
    if config is None:
        return refused(command, 404, "ORG_NOT_FOUND", "the org does not exist")
    return handler(org, config, command, place)
