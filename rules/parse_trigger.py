"""Triggers: which action types a campaign or rule listens to.

`user.login` is one type, `user.*` every type that begins with ``user.``, and a bare `*`
every type that producers send.
"""

from typing import Any, Final

from rules.action import DERIVED_TYPES, TYPE_BYTES_MAX, name_problem
from rules.errors import Rejection
from rules.fields import check_keys, check_object, child, refuse
from rules.message import JsonObject

TRIGGER_KEYS: Final = ("eventType", "triggerType", "trigger")
"""Names under which a trigger's action type is sent; the first is the canonical one."""


def trigger_type(trigger: JsonObject) -> str:
    """Return the action type, or prefix with ``*``, of a trigger that was accepted."""
    return next(str(trigger[key]) for key in TRIGGER_KEYS if trigger.get(key))


def parse_trigger_type(
    body: JsonObject, path: str, problems: list[Rejection]
) -> str | None:
    """Read the action type of a trigger or rule from whichever name it stands under.

    Args:
      body: The trigger or rule; what reads back names the type twice, which is fine.
      path: Its dotted path, or "".
      problems: Where each problem goes; NOT_SUPPORTED for a derived action.

    Returns:
      The type, a prefix that ends with ``.*``, or ``*``; None if it is not given (the
      caller decides) or has a problem.
    """
    given = [key for key in TRIGGER_KEYS if body.get(key) is not None]
    if not given:
        return None
    raw, at = body[given[0]], child(path, given[0])
    if not isinstance(raw, str):
        refuse(problems, at, "must be a string")
        return None
    for other in given[1:]:
        if body[other] != raw:
            refuse(problems, child(path, other), "given twice, differently")
            return None
    problem = name_problem(raw, at, TYPE_BYTES_MAX)
    if problem is not None:
        refuse(problems, at, problem.message)
        return None
    head = raw.removesuffix("*")
    if "*" in head or (raw.endswith("*") and head and not head.endswith(".")):
        refuse(
            problems, at, "an asterisk may only stand alone or at the end, after a dot"
        )
        return None
    if raw != "*" and any(_matches(raw, derived) for derived in DERIVED_TYPES):
        refuse(problems, at, f"{raw} is not supported yet", "NOT_SUPPORTED")
        return None
    return raw


def parse_trigger(raw: Any, path: str, problems: list[Rejection]) -> JsonObject | None:
    """Check one of a campaign's triggers, except for what its conditions say.

    Returns:
      The trigger as sent, or None with a problem.
    """
    trigger = check_object(raw, path, problems)
    if trigger is None:
        return None
    before = len(problems)
    check_keys(trigger, (*TRIGGER_KEYS, "conditions"), path, problems)
    if not any(trigger.get(key) is not None for key in TRIGGER_KEYS):
        refuse(problems, child(path, TRIGGER_KEYS[0]), "is required")
    parse_trigger_type(trigger, path, problems)
    return trigger if len(problems) == before else None


def _matches(pattern: str, action_type: str) -> bool:
    if pattern.endswith("*"):
        return action_type.startswith(pattern[:-1])
    return action_type == pattern
