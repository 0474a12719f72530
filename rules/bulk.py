"""Many actions at once: what is plainly right is seen at a glance, as columns.

The actions of a bulk request are decoded with their payloads unread, and all their
names are looked at together, then all their payloads by one regular expression. The
answer is yes to all of them, or nothing: whatever is not plainly right goes to
rules/action.py, which decides about each action and says why. So nothing here may
say yes to what is refused there.

A payload stays as it was sent and is copied into the message: numbers keep their
digits and texts their escapes, and what it decodes to is the same. Numbers with an
exponent are left to the decoder: encoded anew ``1e0`` is 1, an integer. Without them
no payload gets longer by being decoded and encoded anew.
"""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from itertools import repeat
from operator import is_
from typing import Final, cast

import msgspec
import re2

from rules.action import (
    DATA_BYTES_MAX,
    DERIVED_TYPES,
    EVENT_ID_BYTES_MAX,
    TYPE_BYTES_MAX,
    USER_BYTES_MAX,
    is_id,
)
from rules.calendar import FIRST_MS, LAST_MS
from rules.message import Action
from rules.value import DEPTH_MAX

NUMBER_CHARS_MAX: Final = 30
"""A number without exponent of so few digits is within every bound."""

_NOTHING: Final = msgspec.Raw(b"{}")
_CONTROLS: Final = bytes([*range(0x20), 0x7F])
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)


class SentBody(
    msgspec.Struct, rename="camel", forbid_unknown_fields=True, kw_only=True, gc=False
):
    """A `rules.action.ActionBody` whose payloads are known to be JSON, and no more."""

    user_id: str
    action: str
    event_id: str | None = None
    timestamp: str | None = None
    data: msgspec.Raw = _NOTHING
    metadata: msgspec.Raw = _NOTHING


class SentAction(Action, array_like=True, tag="action", tag_field="kind", gc=False):
    """An `Action` that is encoded with the payloads that were sent."""

    data: msgspec.Raw  # type: ignore[assignment]  # encoded, they are the same
    metadata: msgspec.Raw  # type: ignore[assignment]


def _nested(levels: int, opening: bytes = rb"[{\[]") -> bytes:
    """Return the pattern of an object or array that nests so many levels, at most.

    It is asked about JSON: a bracket that opens has its own that closes, and a number
    ends at a comma, a blank or a bracket.
    """
    number = rb"[0-9.]{1,%d}" % NUMBER_CHARS_MAX
    items = [rb'"(?:[^"\\]|\\.)*"', rb"[a-z,:\s-]", number + rb"[,\s]"]
    if levels > 1:
        items.append(_nested(levels - 1))
    return opening + b"(?:" + b"|".join(items) + b")*(?:" + number + rb")?[}\]]"


_match_objects = re2.compile(
    rb"(?s:(?:\x00" + _nested(DEPTH_MAX, rb"\{") + b")*)"
).fullmatch
_match_instants = re2.compile(
    r"(?:\x00[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(?:\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9]))*"
).fullmatch


def plain_actions(
    bodies: Sequence[SentBody],
    org: str,
    latest_ms: int,
    *,
    keep_id: bool = False,
    batch: str | None = None,
) -> list[SentAction] | None:
    """Return the messages of sent actions that are all plainly right, or None.

    Args:
      bodies: As decoded from valid UTF-8, at least one.
      org: The sender's org.
      latest_ms: The latest instant at which an action may have happened.
      keep_id: The ids never expire.
      batch: Batch whose tally counts the actions.

    Returns:
      The messages that `rules.action.to_action` makes, in order; None where it has to
      be asked, because it may refuse one.
    """
    users = [body.user_id for body in bodies]
    types = [body.action for body in bodies]
    event_ids = [body.event_id for body in bodies]
    instants = _plain_instants([body.timestamp for body in bodies], latest_ms)
    data = _plain_payloads([body.data for body in bodies])
    metadata = _plain_payloads([body.metadata for body in bodies])
    kinds = set(types)
    names = cast(list[str], event_ids)
    if None in event_ids:
        names = [name for name in names if name is not None]
    if (
        instants is None
        or data is None
        or metadata is None
        or not is_id(org)
        or not (batch is None or is_id(batch))
        or not _are_plain(users, USER_BYTES_MAX, commas=False)
        or not _are_plain(kinds, TYPE_BYTES_MAX, commas=False)
        or not _are_plain(names, EVENT_ID_BYTES_MAX, commas=True)
        or not kinds.isdisjoint(DERIVED_TYPES)
    ):
        return None
    columns = (users, event_ids, types, instants, data, metadata)
    return list(map(SentAction, repeat(org), *columns, repeat(keep_id), repeat(batch)))


def _are_plain(texts: Collection[str], bytes_max: int, *, commas: bool) -> bool:
    """Tell whether texts are printable ASCII, none empty and none too long."""
    text = "".join(texts)
    lengths = set(map(len, texts))
    return (
        text.isascii()
        and len(text.encode().translate(None, _CONTROLS)) == len(text)
        and (commas or "," not in text)
        and 0 not in lengths
        and max(lengths, default=0) <= bytes_max
    )


def _plain_instants(
    timestamps: Sequence[str | None], latest_ms: int
) -> list[int | None] | None:
    """Return timestamps as ms since the epoch, or None where one is not plain."""
    if timestamps.count(None) == len(timestamps):
        return [None] * len(timestamps)
    texts = [text for text in timestamps if text is not None]
    if not _match_instants("\x00" + "\x00".join(texts)):
        return None
    try:
        found = [(datetime.fromisoformat(text) - _EPOCH) // _MS for text in texts]
    except ValueError:
        return None
    if min(found) < FIRST_MS or max(found) > min(latest_ms, LAST_MS):
        return None
    instants = iter(found)
    return [None if text is None else next(instants) for text in timestamps]


def _plain_payloads(payloads: list[msgspec.Raw]) -> list[msgspec.Raw] | None:
    """Return payloads for the log, or None where one is not plainly within bounds."""
    if all(map(is_, payloads, repeat(_NOTHING))):
        return payloads
    # No JSON holds a zero byte.
    text = b"\0" + b"\0".join(payloads)
    if not _has_longer(text, DATA_BYTES_MAX) and _match_objects(text):
        return payloads
    if b"\0null" not in text:
        return None
    given = [_NOTHING if bytes(one) == b"null" else one for one in payloads]
    return _plain_payloads(given)


def _has_longer(text: bytes, bytes_max: int) -> bool:
    """Tell whether a part of a text is too long; each follows a zero byte."""
    at = 0
    while len(text) - at > bytes_max + 1:
        # As far as one step can go: all parts on the way are short enough.
        step = text.rfind(b"\0", at + 1, at + bytes_max + 2)
        if step < 0:
            return True
        at = step
    return False
