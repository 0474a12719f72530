"""What users may change of their own profile (PATCH /profile).

    {"displayName": "Ally", "preferences": {"timezone": "Europe/Paris"},
     "customFields": {"favouriteTeam": "red", "old": null}}

Objects merge key by key, null deletes (RFC 7396, one level deep).
"""

from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from rules import body as read
from rules.body import Field
from rules.errors import Rejection
from rules.fields import (
    check_json,
    check_object,
    check_pattern,
    check_text,
    child,
    json_bytes,
    refuse,
)
from rules.message import JsonObject
from rules.parse_effect import CUSTOM_FIELD_PATTERN, VALUE_BYTES_MAX, VALUE_DEPTH_MAX
from rules.state import CUSTOM_FIELDS_MAX, UserState

DISPLAY_NAME_CHARS_MAX = 100
PREFERENCE_NAME_CHARS_MAX = 64
PREFERENCES_BYTES_MAX = 4 * 1024
PREFERENCES_DEPTH_MAX = 4


class ProfileUpdate(msgspec.Struct, frozen=True):
    """A checked update.

    Attributes:
      display_name: The new name, None to delete it, UNSET to leave it.
      preferences, custom_fields: What to write; None deletes a key.
    """

    display_name: str | UnsetType | None = UNSET
    preferences: JsonObject = {}
    custom_fields: JsonObject = {}


def _preferences(raw: Any, path: str, problems: list[Rejection]) -> JsonObject | None:
    preferences = check_object(raw, path, problems)
    if preferences is None:
        return None
    for key in preferences:
        check_text(key, PREFERENCE_NAME_CHARS_MAX, child(path, key), problems)
    bounds = (PREFERENCES_BYTES_MAX, PREFERENCES_DEPTH_MAX)
    check_json(preferences, *bounds, path, problems)
    timezone = preferences.get("timezone")
    if timezone is not None:
        read.timezone(timezone, child(path, "timezone"), problems)
    return preferences


def _custom_fields(raw: Any, path: str, problems: list[Rejection]) -> JsonObject | None:
    custom_fields = check_object(raw, path, problems)
    if custom_fields is None:
        return None
    for key, value in custom_fields.items():
        at = child(path, key)
        check_pattern(key, CUSTOM_FIELD_PATTERN, at, problems)
        check_json(value, VALUE_BYTES_MAX, VALUE_DEPTH_MAX, at, problems)
    return custom_fields


_TABLE: Final = {
    "displayName": Field("display_name", read.text(DISPLAY_NAME_CHARS_MAX), None),
    "preferences": Field("preferences", _preferences),
    "customFields": Field("custom_fields", _custom_fields),
}


def parse_profile_update(
    body: JsonObject, problems: list[Rejection]
) -> ProfileUpdate | None:
    """Parse the body of a profile update.

    Args:
      body: As sent: `displayName`, `preferences` and `customFields`, at least one.
      problems: Where each VALIDATION_ERROR goes; any other key is one.

    Returns:
      The update, or None with a problem.
    """
    if not body:
        refuse(problems, None, "there is nothing to change")
        return None
    values = read.read_body(body, _TABLE, problems)
    return None if problems else ProfileUpdate(**values)


def apply_profile_update(
    state: UserState, update: ProfileUpdate, clock_ms: int
) -> list[Rejection]:
    """Change a user as an update says.

    Args:
      state: The user, mutated; left as it is if there is a problem.
      update: What to change.
      clock_ms: The clock, for `updated_at_ms`.

    Returns:
      Each VALIDATION_ERROR: more than CUSTOM_FIELDS_MAX custom fields, or more than
      PREFERENCES_BYTES_MAX of preferences, once merged.
    """
    problems: list[Rejection] = []
    preferences = _merged(state.preferences, update.preferences)
    custom_fields = _merged(state.custom_fields, update.custom_fields)
    if json_bytes(preferences) > PREFERENCES_BYTES_MAX:
        message = f"must be at most {PREFERENCES_BYTES_MAX:,} bytes of JSON in all"
        refuse(problems, "preferences", message)
    if len(custom_fields) > CUSTOM_FIELDS_MAX:
        message = f"must be at most {CUSTOM_FIELDS_MAX} in all"
        refuse(problems, "customFields", message)
    if problems:
        return problems
    if update.display_name is not UNSET:
        state.display_name = update.display_name
    state.preferences = preferences
    state.custom_fields = custom_fields
    state.updated_at_ms = clock_ms
    return []


def _merged(current: JsonObject, patch: JsonObject) -> JsonObject:
    return {k: v for k, v in (current | patch).items() if v is not None}
