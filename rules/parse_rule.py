"""From an operator's JSON to the fields of a rule row, part of an advanced campaign."""

from typing import Final

import msgspec

from rules import body as read
from rules.body import Field
from rules.condition import count_leaves, parse_conditions
from rules.config import Rule
from rules.errors import Rejection
from rules.fields import NAME_CHARS_MAX, check_boolean, refuse
from rules.message import JsonObject
from rules.parse_effect import parse_effects, parse_limits
from rules.parse_trigger import TRIGGER_KEYS, parse_trigger_type

RULE_BYTES_MAX = 256 * 1024
RULE_PRIORITY_MAX = 1_000_000

_TABLE: Final = {
    "name": Field("name", read.text(NAME_CHARS_MAX)),
    "conditions": Field("conditions", read.as_sent, None),
    "effects": Field("effects", read.as_sent),
    "limits": Field("limits", read.as_sent, None),
    "priority": Field(
        "priority", read.integer(-RULE_PRIORITY_MAX, RULE_PRIORITY_MAX), 5
    ),
    "enabled": Field("enabled", check_boolean, True),
}
_READ_ELSEWHERE: Final = (*TRIGGER_KEYS, "campaignId")


def parse_rule(body: JsonObject, problems: list[Rejection]) -> JsonObject | None:
    """Parse the body that creates a rule.

    Args:
      body: As sent, camelCase; `campaignId` is the caller's to read.
      problems: Where each problem goes, field by field: VALIDATION_ERROR,
        INVALID_CONDITION, NOT_SUPPORTED, MISSING_TRIGGERS, MISSING_EFFECTS.

    Returns:
      The fields of the row, without ids, version and times; None with a problem. A
      rule without a name is named after its trigger.
    """
    values = _read(body, problems)
    if not any(body.get(key) is not None for key in TRIGGER_KEYS):
        message = "a rule needs a trigger"
        refuse(problems, "triggerType", message, "MISSING_TRIGGERS")
    if "trigger" in values:
        values.setdefault("name", values["trigger"])
    return _checked(values, {}, problems)


def parse_rule_update(
    body: JsonObject, current: Rule, problems: list[Rejection]
) -> JsonObject | None:
    """Parse the body that changes a rule.

    Args:
      body: The fields to change, at least one; null empties one.
      current: The row that stands.
      problems: As `parse_rule`.

    Returns:
      The fields of the row that change; None with a problem.
    """
    if not set(body) - {"campaignId"}:
        refuse(problems, None, "there is nothing to change")
        return None
    values = _read(body, problems)
    return _checked(values, msgspec.structs.asdict(current), problems)


def rule_leaves(row: JsonObject, problems: list[Rejection]) -> int:
    """Return how many leaves a rule's conditions have.

    Args:
      row: The fields of the rule's row.
      problems: Where each problem of a condition goes.
    """
    condition = parse_conditions(row.get("conditions"), "conditions", problems)
    return 0 if condition is None else count_leaves(condition)


def _read(body: JsonObject, problems: list[Rejection]) -> JsonObject:
    values = read.read_body(body, _TABLE, problems, also=_READ_ELSEWHERE)
    trigger = parse_trigger_type(body, "", problems)
    if trigger is not None:
        values["trigger"] = trigger
    return values


def _checked(
    values: JsonObject, current: JsonObject, problems: list[Rejection]
) -> JsonObject | None:
    """Check the whole rule that new values make of a row."""
    whole = current | values
    if whole.get("effects") in (None, []):
        message = "a rule needs at least one effect"
        refuse(problems, "effects", message, "MISSING_EFFECTS")
    else:
        parse_effects(whole["effects"], "effects", problems)
    parse_limits(whole.get("limits"), "limits", problems)
    rule_leaves(whole, problems)
    if not problems:
        read.check_row_size(whole, RULE_BYTES_MAX, problems)
    return None if problems else values
