"""What a condition's field refers to, and the Python source that reads it.

    score                  the action's data     dots descend: vote.option
    metadata.channel       its metadata
    action.occurredAt      its envelope
    user.points            the profile           user.counts.TYPE takes TYPE verbatim

The source stands inside a function that has `user`, `state` (the user's), `action` and
`occurred_ms` as names. It reads live: campaigns that ran before may have changed them.
"""

from typing import Final, Literal, TypeAlias

import msgspec

from rules.errors import Rejection
from rules.fields import check_text, refuse

Scope: TypeAlias = Literal["action", "segment"]
Root: TypeAlias = Literal["data", "metadata", "action", "user"]

FIELD_CHARS_MAX: Final = 256
FIELD_KEYS_MAX: Final = 17
CODE: Final = "INVALID_CONDITION"


class Property(msgspec.Struct, frozen=True):
    """A fixed field of the profile or of the envelope.

    Attributes:
      source: Python expression; of an instant, its ms.
      kind: ``int`` is always one, ``instant`` shows as ISO text, ``badges`` as the list
        of badge ids, ``any`` needs its type looked at.
      attribute: The UserState attribute it reads, or None.
      scopes: Where it can be used.
    """

    source: str
    kind: Literal["any", "int", "instant", "badges"]
    attribute: str | None = None
    scopes: tuple[Scope, ...] = ("action", "segment")


class Field(msgspec.Struct, frozen=True):
    """A parsed field.

    Attributes:
      text: In full, with its prefix.
      root: Where it is looked up.
      path: Keys to follow; of `user` and `action` after the property's name.
      property: Of `user` and `action`: what `path` starts from.
      count_of: The action type of `user.counts.TYPE`.
    """

    text: str
    root: Root
    path: tuple[str, ...] = ()
    property: Property | None = None
    count_of: str | None = None


def _state(name: str) -> Property:
    return Property(f"state.{name}", "any", name)


def _number(name: str) -> Property:
    return Property(f"state.{name}", "int", name)


def _instant(name: str) -> Property:
    return Property(f"state.{name}", "instant", name)


_PROFILE: Final = {
    "userId": Property("user.user_id", "any"),
    "orgId": Property("user.org", "any"),
    "tier": _state("tier"),
    "points": _number("points"),
    "xp": _number("xp"),
    "coins": _number("coins"),
    "lifetime.points": _number("lifetime_points"),
    "lifetime.xp": _number("lifetime_xp"),
    "lifetime.coins": _number("lifetime_coins"),
    "email": _state("email"),
    "displayName": _state("display_name"),
    "avatarUrl": _state("avatar_url"),
    "createdAt": _instant("created_at_ms"),
    "updatedAt": _instant("updated_at_ms"),
    "lastActionAt": _instant("last_action_at_ms"),
    "badges": Property("state.badges", "badges", "badges"),
    # Held when the action happened; a segment knows no instant to ask about.
    "benefits": Property(
        "held_benefits(state.benefits, occurred_ms)", "any", "benefits", ("action",)
    ),
}
_PROFILE_TREES: Final = {
    "customFields": _state("custom_fields"),
    "preferences": _state("preferences"),
}
_PROFILE_LATER: Final = (
    "activeChallenges",
    "expiring",
    "pending",
    "streaks",
    "tierProgress",
)
_ENVELOPE: Final = {
    "type": Property("action.type", "any"),
    "userId": Property("action.user", "any"),
    "eventId": Property("action.event_id", "any"),
    "occurredAt": Property("occurred_ms", "instant"),
}
_COUNTS = "counts."


def parse_field(
    raw: object, path: str, problems: list[Rejection], *, scope: Scope = "action"
) -> Field | None:
    """Parse the field of a condition or formula.

    Args:
      raw: What was sent.
      path: Its dotted path.
      problems: Where a problem goes: INVALID_CONDITION, or NOT_SUPPORTED for a part of
        the profile whose mechanic is not built.
      scope: In a ``segment`` every field is the profile's, with ``user.`` or without.
    """
    bad: list[Rejection] = []
    text = check_text(raw, FIELD_CHARS_MAX, path, bad)
    if text is None:
        refuse(problems, path, bad[0].message, CODE)
        return None
    head, _, rest = text.partition(".")
    if scope == "segment":
        rest = rest if head == "user" and rest else text
        return _profile_field(rest, path, problems, scope)
    if head == "user" and rest:
        return _profile_field(rest, path, problems, scope)
    if head == "action" and rest:
        found = _ENVELOPE.get(rest)
        if found is None:
            known = ", ".join(f"action.{name}" for name in _ENVELOPE)
            refuse(problems, path, f"must be one of {known}", CODE)
            return None
        return Field(text, "action", property=found)
    if head == "metadata" and rest:
        return _payload_field("metadata", text, rest, path, problems)
    return _payload_field("data", text, text, path, problems)


def _payload_field(
    root: Root, text: str, keys: str, path: str, problems: list[Rejection]
) -> Field | None:
    parts = _keys(keys, path, problems)
    return None if parts is None else Field(text, root, parts)


def _keys(text: str, path: str, problems: list[Rejection]) -> tuple[str, ...] | None:
    keys = tuple(text.split("."))
    if len(keys) <= FIELD_KEYS_MAX and all(keys):
        return keys
    refuse(problems, path, f"must be 1..{FIELD_KEYS_MAX} names between dots", CODE)
    return None


def _profile_field(
    name: str, path: str, problems: list[Rejection], scope: Scope
) -> Field | None:
    text = f"user.{name}"
    if name.startswith(_COUNTS) and len(name) > len(_COUNTS):
        count_of = name.removeprefix(_COUNTS)
        # `ascii` writes any text as a literal of printable ASCII.
        source = f"state.counts.get({count_of!a}, 0)"
        counter = Property(source, "int", "counts")
        return Field(text, "user", property=counter, count_of=count_of)
    found = _PROFILE.get(name)
    if found is not None and scope in found.scopes:
        return Field(text, "user", property=found)
    head, _, rest = name.partition(".")
    tree = _PROFILE_TREES.get(head)
    if tree is not None:
        keys = _keys(rest, path, problems) if name != head else ()
        return None if keys is None else Field(text, "user", keys, tree)
    if found is not None:
        refuse(problems, path, f"{name} cannot be used in a segment", "NOT_SUPPORTED")
    elif head in _PROFILE_LATER:
        refuse(problems, path, f"{name} is not supported yet", "NOT_SUPPORTED")
    else:
        refuse(problems, path, "is not a field of the profile", CODE)
    return None
