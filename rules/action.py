"""Actions as producers write them, and the bounds they must keep.

    {"userId": "alice", "action": "purchase", "eventId": "ord-1",
     "timestamp": "2025-10-06T16:45:00Z", "data": {"amount": 99.99}, "metadata": {}}

`check_action` is the one place that says what an action may be; the API asks it before
it appends and the fold asks it again, because not every producer is the API.
Source: semantics.md sections 12 and 14.
"""

import re
from functools import lru_cache
from typing import Final

import msgspec

from rules.calendar import FIRST_MS, LAST_MS, parse_timestamp_ms
from rules.errors import Rejection
from rules.message import Action, JsonObject
from rules.value import json_problem

USER_BYTES_MAX: Final = 128
TYPE_BYTES_MAX: Final = 128
EVENT_ID_BYTES_MAX: Final = 255
DATA_BYTES_MAX: Final = 32 * 1024

DERIVED_TYPES: Final = frozenset(
    {
        "badge.awarded",
        "tier.changed",
        "challenge.completed",
        "streak.milestone",
        "competition.won",
        "product.redeemed",
        "audience.entered",
        "audience.left",
    }
)
"""Types that only the engine emits; refused from producers."""

ORGS_CACHED_MAX: Final = 1_024

ID_PATTERN: Final = "[A-Za-z0-9_-]{1,64}"
"""Of an org's id, and of a batch's."""
is_id = re.compile(ID_PATTERN).fullmatch
# Control characters are Unicode's Cc; surrogates cannot be stored as UTF-8.
_has_control = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]").search
_encode = msgspec.json.Encoder(decimal_format="number").encode


class ActionBody(
    msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True
):
    """An action as it is sent; see `rules.message.Action` for the fields."""

    user_id: str
    action: str
    event_id: str | None = None
    timestamp: str | None = None
    data: JsonObject | None = None
    metadata: JsonObject | None = None


def to_action(
    body: ActionBody, org: str, *, keep_id: bool = False, batch: str | None = None
) -> Action | Rejection:
    """Return the message of a sent action, or why it is refused.

    Args:
      body: As decoded; numbers are `int` or `Decimal`.
      org: The sender's org.
      keep_id: The id never expires.
      batch: Batch whose tally counts the action.
    """
    occurred_at_ms = None
    if body.timestamp is not None:
        occurred_at_ms = parse_timestamp_ms(body.timestamp)
        if occurred_at_ms is None:
            return _refusal(
                "timestamp must be an RFC 3339 instant or a date", "timestamp"
            )
    action = Action(
        org,
        body.user_id,
        body.event_id,
        body.action,
        occurred_at_ms,
        body.data or {},
        body.metadata or {},
        keep_id,
        batch,
    )
    return check_action(action) or action


def check_action(action: Action, *, plain: bool = False) -> Rejection | None:
    """Return why an action is not allowed, or None; the first reason found.

    Args:
      action: The action.
      plain: All its texts are known to be printable ASCII and its payloads to keep
        their bounds, so that only its names are looked at.
    """
    user, kind, event_id = action.user, action.type, action.event_id
    if (
        plain
        and 0 < len(user) <= USER_BYTES_MAX
        and 0 < len(kind) <= TYPE_BYTES_MAX
        and (event_id is None or 0 < len(event_id) <= EVENT_ID_BYTES_MAX)
        and "," not in user
        and "," not in kind
        and kind not in DERIVED_TYPES
        and is_org_id(action.org)
        and (action.batch is None or is_id(action.batch))
        and (
            action.occurred_at_ms is None
            or FIRST_MS <= action.occurred_at_ms <= LAST_MS
        )
    ):
        return None
    names = user + kind if event_id is None else user + kind + event_id
    # Nearly every action is plainly right; the exact tests are for the others.
    if not (
        0 < len(user) <= USER_BYTES_MAX
        and 0 < len(kind) <= TYPE_BYTES_MAX
        and (event_id is None or 0 < len(event_id) <= EVENT_ID_BYTES_MAX)
        and names.isascii()
        and names.isprintable()
        and "," not in user
        and "," not in kind
    ):
        problem = (
            name_problem(user, "userId", USER_BYTES_MAX)
            or name_problem(kind, "action", TYPE_BYTES_MAX)
            or (
                None
                if event_id is None
                else _text_problem(event_id, "eventId", EVENT_ID_BYTES_MAX)
            )
        )
        if problem is not None:
            return problem
    if kind in DERIVED_TYPES:
        return _refusal(f"{kind} is an action that only Plaudit emits", "action")
    if not is_org_id(action.org):
        return _refusal(f"org must match {ID_PATTERN}", None)
    if action.batch is not None and not is_id(action.batch):
        return _refusal(f"batchId must match {ID_PATTERN}", "batchId")
    occurred_at_ms = action.occurred_at_ms
    if occurred_at_ms is not None and not FIRST_MS <= occurred_at_ms <= LAST_MS:
        return _refusal("timestamp must lie in the years 0001..9999", "timestamp")
    return (payload_problem(action.data, "data") if action.data else None) or (
        payload_problem(action.metadata, "metadata") if action.metadata else None
    )


@lru_cache(maxsize=ORGS_CACHED_MAX)
def is_org_id(org: str) -> bool:
    """Return whether a string can be an org's id."""
    return is_id(org) is not None


def name_problem(name: str, field: str, bytes_max: int) -> Rejection | None:
    """Return why a user id or an action type is not one, or None.

    Args:
      name: Any string.
      field: Its field, for the reason.
      bytes_max: Bound of its UTF-8.
    """
    if "," in name:
        return _refusal(f"{field} must not contain a comma", field)
    return _text_problem(name, field, bytes_max)


def _text_problem(text: str, field: str, bytes_max: int) -> Rejection | None:
    if not text:
        return _refusal(f"{field} must not be empty", field)
    if _has_control(text):
        return _refusal(f"{field} must not contain control characters", field)
    if len(text.encode()) > bytes_max:
        return _refusal(f"{field} must be at most {bytes_max} bytes of UTF-8", field)
    return None


def payload_problem(value: JsonObject, path: str) -> Rejection | None:
    """Return why a free-form object is not allowed, or None.

    At most `DATA_BYTES_MAX` as compact JSON, depth 16, numbers within bounds.
    """
    problem = json_problem(value, path)
    # Encoding a payload of this size is cheaper than estimating how long it gets.
    if problem is None and len(_encode(value)) > DATA_BYTES_MAX:
        return _refusal(f"{path} must be at most {DATA_BYTES_MAX} bytes of JSON", path)
    return problem


def field_rejection(error: Exception, code: str = "VALIDATION_ERROR") -> Rejection:
    """Return what msgspec found wrong with a body, as a value with the field's path.

    Args:
      error: What the decoder raised.
      code: Code of the rejection.
    """
    text, _, path = str(error).partition(" - at `$")
    field = path.rstrip("`").lstrip(".")
    named = _named_field(text)
    if named is not None:
        field = f"{field}.{named}" if field else named
    return Rejection(code, text[:500], field[:500] or None)


_named_in = re.compile(
    r"Object (?:contains unknown|missing required) field `(.*)`", re.DOTALL
).fullmatch


def _named_field(text: str) -> str | None:
    """Return the field that a message about an object's fields names."""
    match = _named_in(text)
    return match.group(1) if match else None


def _refusal(message: str, field: str | None) -> Rejection:
    return Rejection("VALIDATION_ERROR", message, field)
