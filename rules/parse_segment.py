"""From an operator's JSON to the fields of a segment row.

A dynamic segment holds a user if all `criteria` hold and none of `excludeCriteria`
does, a static one by name. Criteria may be sent as an object (``{"tier": "gold"}``);
the row keeps lists, one item per criterion, because one is enough to exclude.
"""

from typing import Any, Final

import msgspec

from rules import body as read
from rules.accessor import CODE as INVALID_CONDITION
from rules.action import USER_BYTES_MAX, name_problem
from rules.body import Field
from rules.condition import LEAVES_MAX, count_leaves, parse_conditions
from rules.config import SEGMENT_USERS_MAX, Segment
from rules.errors import Rejection
from rules.fields import (
    DESCRIPTION_CHARS_MAX,
    NAME_CHARS_MAX,
    check_list,
    refuse,
)
from rules.message import JsonObject

SEGMENT_BYTES_MAX = 500 * 1_000
URL_CHARS_MAX = 2_048

_GROUPS: Final = ("all", "any", "not")


def _criteria(
    raw: Any, path: str, problems: list[Rejection]
) -> list[JsonObject] | None:
    before = len(problems)
    parse_conditions(raw, path, problems, scope="segment")
    if len(problems) > before:
        return None
    if isinstance(raw, list):
        return raw
    is_leaf = "field" in raw and "operator" in raw
    if is_leaf or not raw.keys().isdisjoint(_GROUPS):
        return [raw]
    return [_as_leaf(field, wanted) for field, wanted in raw.items()]


def _as_leaf(field: str, wanted: Any) -> JsonObject:
    """Return the leaf that says what one key of the object form says."""
    operator = "equals"
    if isinstance(wanted, list):
        operator = "in"
    elif isinstance(wanted, dict) and not wanted.keys().isdisjoint(("min", "max")):
        operator = "between"
    return {"field": field, "operator": operator, "value": wanted}


def _user_ids(raw: Any, path: str, problems: list[Rejection]) -> list[str] | None:
    items = check_list(raw, SEGMENT_USERS_MAX, path, problems)
    if items is None:
        return None
    for i, item in enumerate(items):
        at = f"{path}[{i}]"
        if not isinstance(item, str):
            refuse(problems, at, "must be a string")
        elif (problem := name_problem(item, at, USER_BYTES_MAX)) is not None:
            refuse(problems, at, problem.message)
    return list(dict.fromkeys(item for item in items if isinstance(item, str)))


_TABLE: Final = {
    "name": Field("name", read.text(NAME_CHARS_MAX)),
    "description": Field("description", read.prose(DESCRIPTION_CHARS_MAX), None),
    "type": Field("type", read.choice("dynamic", "static")),
    "url": Field("url", read.text(URL_CHARS_MAX), None),
    "criteria": Field("criteria", _criteria, []),
    "excludeCriteria": Field("exclude_criteria", _criteria, []),
    "userIds": Field("user_ids", _user_ids, None),
}


def parse_segment(body: JsonObject, problems: list[Rejection]) -> JsonObject | None:
    """Parse the body that creates a segment.

    Args:
      body: As sent, camelCase.
      problems: Where each problem goes, field by field: VALIDATION_ERROR,
        INVALID_CONDITION, NOT_SUPPORTED.

    Returns:
      The fields of the row, without id and times; None with a problem.
    """
    values = read.read_body(body, _TABLE, problems)
    read.require(body, ("name", "type"), problems)
    return _checked(values, {}, problems)


def parse_segment_update(
    body: JsonObject, current: Segment, problems: list[Rejection]
) -> JsonObject | None:
    """Parse the body that changes a segment.

    Args:
      body: The fields to change, at least one; null empties one.
      current: The row that stands; its type stays.
      problems: As `parse_segment`.

    Returns:
      The fields of the row that change; None with a problem.
    """
    if not body:
        refuse(problems, None, "there is nothing to change")
        return None
    values = read.read_body(body, _TABLE, problems)
    if values.get("type", current.type) != current.type:
        refuse(problems, "type", "a segment's type cannot be changed")
    return _checked(values, msgspec.structs.asdict(current), problems)


def _checked(
    values: JsonObject, current: JsonObject, problems: list[Rejection]
) -> JsonObject | None:
    """Check the whole segment that new values make of a row."""
    whole = current | values
    if whole.get("type") == "dynamic":
        _check_dynamic(whole, problems)
    elif whole.get("type") == "static":
        for key, name in (
            ("criteria", "criteria"),
            ("excludeCriteria", "exclude_criteria"),
        ):
            if whole.get(name):
                refuse(problems, key, "is for dynamic segments only")
        if not problems and whole.get("user_ids") is None:
            refuse(problems, "userIds", "is required for a static segment")
    if not problems:
        read.check_row_size(whole, SEGMENT_BYTES_MAX, problems)
    return None if problems else values


def _check_dynamic(whole: JsonObject, problems: list[Rejection]) -> None:
    if whole.get("user_ids") is not None:
        refuse(problems, "userIds", "is for static segments only")
    if problems:
        return
    leaves = 0
    for name in ("criteria", "exclude_criteria"):
        for item in whole.get(name) or []:
            condition = parse_conditions([item], name, problems, scope="segment")
            leaves += 0 if condition is None else count_leaves(condition)
    if leaves == 0:
        refuse(problems, "criteria", "needs a criterion, here or in excludeCriteria")
    elif leaves > LEAVES_MAX:
        message = f"must have at most {LEAVES_MAX} leaves in all"
        refuse(problems, "criteria", message, INVALID_CONDITION)
