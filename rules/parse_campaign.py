"""From an operator's JSON to the fields of a campaign row.

A simple campaign has triggers and effects; an advanced one has neither, its rules
(rules/parse_rule.py) have. The reference's validation rules are checked on the whole
campaign, for an update on what it makes of the row that stands.
"""

from typing import Any, Final

import msgspec

from rules import body as read
from rules.accessor import CODE as INVALID_CONDITION
from rules.body import Field
from rules.condition import LEAVES_MAX, count_leaves, parse_conditions
from rules.config import SEGMENTS_PER_CAMPAIGN_MAX, TRIGGERS_MAX, Campaign
from rules.errors import Rejection
from rules.fields import (
    DESCRIPTION_CHARS_MAX,
    ID_PATTERN,
    NAME_CHARS_MAX,
    check_boolean,
    check_choice,
    check_integer,
    check_keys,
    check_list,
    check_object,
    check_pattern,
    child,
    refuse,
)
from rules.message import JsonObject
from rules.parse_effect import parse_effects, parse_limits
from rules.parse_trigger import parse_trigger

CAMPAIGN_BYTES_MAX = 256 * 1024
METADATA_BYTES_MAX = 16 * 1024
METADATA_DEPTH_MAX = 16
PRIORITY_MAX = 10
PERIODS_MAX = 366

_TYPES_LATER: Final = ("Challenge", "Badge", "Streak", "Competition")
_METADATA_LATER: Final = (
    "streakRewards",
    "freezes",
    "leaderboardId",
    "windows",
    "prizes",
)
_FIELDS_LATER: Final = ("challengeConfig", "ties")
_DAYS_PER_UNIT: Final = {"day": 1, "week": 7, "month": 31}


def _type(raw: Any, path: str, problems: list[Rejection]) -> str | None:
    if raw == "Reward":
        return "Reward"
    if raw in _TYPES_LATER:
        message = f"{raw} campaigns are not supported yet"
        refuse(problems, path, message, "NOT_SUPPORTED")
    else:
        message = f"must be one of Reward, {', '.join(_TYPES_LATER)}"
        refuse(problems, path, message, "INVALID_CAMPAIGN_TYPE")
    return None


def _segment_ids(raw: Any, path: str, problems: list[Rejection]) -> list[str] | None:
    items = check_list(raw, SEGMENTS_PER_CAMPAIGN_MAX, path, problems) or []
    ids = [
        check_pattern(item, ID_PATTERN, f"{path}[{i}]", problems)
        for i, item in enumerate(items)
    ]
    return list(dict.fromkeys(i for i in ids if i is not None))


def _segment_id(raw: Any, path: str, problems: list[Rejection]) -> list[str] | None:
    segment_id = check_pattern(raw, ID_PATTERN, path, problems)
    return None if segment_id is None else [segment_id]


def _metadata(raw: Any, path: str, problems: list[Rejection]) -> JsonObject | None:
    read_object = read.free_object(METADATA_BYTES_MAX, METADATA_DEPTH_MAX)
    metadata: JsonObject | None = read_object(raw, path, problems)
    for key in _METADATA_LATER:
        if metadata is not None and key in metadata:
            refuse(problems, child(path, key), "is not supported yet", "NOT_SUPPORTED")
    return metadata


_TABLE: Final = {
    "name": Field("name", read.text(NAME_CHARS_MAX)),
    "description": Field("description", read.prose(DESCRIPTION_CHARS_MAX), None),
    "mode": Field("mode", read.choice("always-on", "time-bound", "recurring")),
    "simplifiedMode": Field("simplified_mode", check_boolean),
    "startDate": Field("start_ms", read.instant, None),
    "endDate": Field("end_ms", read.instant, None),
    "recurrence": Field("recurrence", check_object, None),
    "triggers": Field("triggers", read.as_sent, None),
    "effects": Field("effects", read.as_sent, None),
    "conditions": Field("conditions", read.as_sent, None),
    "limits": Field("limits", read.as_sent, None),
    "priority": Field("priority", read.integer(1, PRIORITY_MAX), 5),
    "segmentIds": Field("segment_ids", _segment_ids, []),
    "segmentId": Field("segment_ids", _segment_id, []),
    "metadata": Field("metadata", _metadata, {}),
}
_CREATE: Final = {
    "type": Field("type", _type),
    **_TABLE,
    "status": Field("status", read.choice("draft", "active"), "draft"),
}
_UPDATE: Final = {
    **_TABLE,
    "status": Field("status", read.choice("draft", "active", "paused", "archived")),
}


def parse_campaign(body: JsonObject, problems: list[Rejection]) -> JsonObject | None:
    """Parse the body that creates a campaign.

    Args:
      body: As sent, camelCase.
      problems: Where each problem goes, field by field: VALIDATION_ERROR,
        INVALID_CAMPAIGN_TYPE, INVALID_CONDITION, NOT_SUPPORTED, MISSING_START_DATE,
        MISSING_END_DATE, MISSING_TRIGGERS, MISSING_EFFECTS.

    Returns:
      The fields of the row, without id, version and times; None with a problem.
      Whether segments exist and the name is free, the caller decides.
    """
    values = _read(body, _CREATE, problems)
    read.require(body, ("name", "type", "mode"), problems)
    values.setdefault("status", "draft")
    if "simplified_mode" not in values:
        given = (body.get("triggers"), body.get("effects"))
        values["simplified_mode"] = given != (None, None)
    return _checked(values, {}, problems)


def parse_campaign_update(
    body: JsonObject, current: Campaign, problems: list[Rejection]
) -> JsonObject | None:
    """Parse the body that changes a campaign.

    Args:
      body: The fields to change, at least one; null empties one.
      current: The row that stands.
      problems: As `parse_campaign`, and CAMPAIGN_TYPE_IMMUTABLE.

    Returns:
      The fields of the row that change; None with a problem.
    """
    if not body:
        refuse(problems, None, "there is nothing to change")
        return None
    if "type" in body and body["type"] != current.type:
        message = "a campaign's type cannot be changed"
        refuse(problems, "type", message, "CAMPAIGN_TYPE_IMMUTABLE")
    values = _read(body, _UPDATE, problems, also=("type",))
    if values.get("simplified_mode", current.simplified_mode) != (
        current.simplified_mode
    ):
        message = "a campaign cannot turn from simple to advanced or back"
        refuse(problems, "simplifiedMode", message)
    return _checked(values, msgspec.structs.asdict(current), problems)


def _read(
    body: JsonObject,
    table: dict[str, Field],
    problems: list[Rejection],
    also: tuple[str, ...] = (),
) -> JsonObject:
    values = read.read_body(body, table, problems, also=(*also, *_FIELDS_LATER))
    for key in _FIELDS_LATER:
        if body.get(key) is not None:
            refuse(problems, key, f"{key} is not supported yet", "NOT_SUPPORTED")
    if body.get("segmentIds") is not None and body.get("segmentId") is not None:
        refuse(problems, "segmentId", "give segmentIds or segmentId, not both")
    return values


def _checked(
    values: JsonObject, current: JsonObject, problems: list[Rejection]
) -> JsonObject | None:
    """Check the whole campaign that new values make of a row."""
    whole = current | values
    _check_dates(whole, problems)
    _check_recurrence(whole, problems)
    if whole.get("simplified_mode") is True:
        _check_simple(whole, problems)
    elif whole.get("simplified_mode") is False:
        _check_advanced(values, problems)
    parse_limits(whole.get("limits"), "limits", problems)
    if not problems and campaign_leaves(whole, problems) > LEAVES_MAX:
        message = f"must have at most {LEAVES_MAX} leaves in all"
        refuse(problems, "conditions", message, INVALID_CONDITION)
    if not problems:
        read.check_row_size(whole, CAMPAIGN_BYTES_MAX, problems)
    return None if problems else values


def campaign_leaves(row: JsonObject, problems: list[Rejection]) -> int:
    """Return how many leaves the conditions of a campaign and its triggers have.

    Args:
      row: The fields of the campaign's row.
      problems: Where each problem of a condition goes.
    """
    leaves = _leaves(row.get("conditions"), "conditions", problems)
    for i, trigger in enumerate(row.get("triggers") or []):
        path = f"triggers[{i}].conditions"
        leaves += _leaves(trigger.get("conditions"), path, problems)
    return leaves


def _leaves(raw: Any, path: str, problems: list[Rejection]) -> int:
    condition = parse_conditions(raw, path, problems)
    return 0 if condition is None else count_leaves(condition)


def _check_dates(whole: JsonObject, problems: list[Rejection]) -> None:
    mode = whole.get("mode")
    start_ms, end_ms = whole.get("start_ms"), whole.get("end_ms")
    if mode in ("time-bound", "recurring") and start_ms is None:
        message = f"a {mode} campaign needs a startDate"
        refuse(problems, "startDate", message, "MISSING_START_DATE")
    if mode == "time-bound" and end_ms is None:
        message = "a time-bound campaign needs an endDate"
        refuse(problems, "endDate", message, "MISSING_END_DATE")
    if start_ms is not None and end_ms is not None and end_ms < start_ms:
        refuse(problems, "endDate", "must not be before startDate")


def _check_recurrence(whole: JsonObject, problems: list[Rejection]) -> None:
    recurrence = whole.get("recurrence")
    if whole.get("mode") != "recurring":
        if recurrence is not None:
            refuse(problems, "recurrence", "is for recurring campaigns only")
        return
    if recurrence is None:
        refuse(problems, "recurrence", "is required for a recurring campaign")
        return
    keys = ("unit", "every", "windowDays")
    check_keys(recurrence, keys, "recurrence", problems)
    units = tuple(_DAYS_PER_UNIT)
    unit = check_choice(recurrence.get("unit"), units, "recurrence.unit", problems)
    path = "recurrence.every"
    every = check_integer(recurrence.get("every"), 1, PERIODS_MAX, path, problems)
    days = recurrence.get("windowDays")
    if days is not None and unit is not None and every is not None:
        path = "recurrence.windowDays"
        check_integer(days, 1, every * _DAYS_PER_UNIT[unit], path, problems)


def _check_simple(whole: JsonObject, problems: list[Rejection]) -> None:
    triggers = whole.get("triggers")
    if triggers in (None, []):
        message = "a simple campaign needs at least one trigger"
        refuse(problems, "triggers", message, "MISSING_TRIGGERS")
    else:
        items = check_list(triggers, TRIGGERS_MAX, "triggers", problems) or []
        for i, item in enumerate(items):
            parse_trigger(item, f"triggers[{i}]", problems)
    effects = whole.get("effects")
    if effects in (None, []):
        message = "a simple campaign needs at least one effect"
        refuse(problems, "effects", message, "MISSING_EFFECTS")
    else:
        parse_effects(effects, "effects", problems)


def _check_advanced(values: JsonObject, problems: list[Rejection]) -> None:
    for key in ("triggers", "effects"):
        if values.get(key) not in (None, []):
            refuse(problems, key, "an advanced campaign has none; its rules have")
        elif key in values:
            values[key] = None
