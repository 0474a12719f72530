"""Messages as bytes: the value of a record of `users` and `orgs`.

A JSON array is an envelope, ``[1,[message,...]]``: version, then messages as
rules/message.py lays them out. A JSON object is a single action that any producer may
write, ``{"userId":"alice","action":"purchase","data":{"amount":9.99}}`` under the key
``acme/alice``. Numbers keep the digits they are spelled with.

How a record decodes is a function of its bytes alone, because message numbers, and with
them the ids of ledger entries, count what it decodes to: nesting is bounded here, and
not by how deep the interpreter happens to be able to recurse.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Final

import msgspec

from rules.action import ActionBody, field_rejection, to_action
from rules.errors import Rejection
from rules.message import Message
from streams.log import LogError
from streams.topics import MESSAGES_MAX, RECORD_BYTES_MAX

VERSION: Final = 1
DEPTH_MAX: Final = 64
"""Arrays and objects inside one another in a record, the envelope's own included."""

_HEAD: Final = b"[1,["
_TAIL: Final = b"]]"
_NOT_MARKS: Final = bytes(set(range(256)) - set(b'[]{}"'))
_SQUARED: Final = bytes.maketrans(b"{}", b"[]")
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)

_encode = msgspec.json.Encoder(decimal_format="number").encode
_decode_envelope = msgspec.json.Decoder(
    tuple[int, list[Message]], float_hook=Decimal
).decode
_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_version = msgspec.json.Decoder(int).decode
_decode_message = msgspec.json.Decoder(Message, float_hook=Decimal).decode
_decode_body = msgspec.json.Decoder(ActionBody, float_hook=Decimal).decode

UNREADABLE: Final = (msgspec.MsgspecError, ValueError, ArithmeticError)
"""What msgspec raises on bytes that are not what they should be.

`ValueError` for invalid UTF-8, `ArithmeticError` for exponents beyond `Decimal`.
"""


class UndecodableRecord(LogError):
    """A record cannot be read. It goes to the dead letters and counts as one message.

    Mend it and send it again.
    """


class UnknownVersion(LogError):
    """A record's version is newer than this program. Run a newer Plaudit."""


class MessageTooLarge(LogError):
    """A message does not fit in a record. Send a smaller one."""


def encode_message(message: Message) -> bytes:
    """Return a message as it stands in an envelope."""
    return _encode(message)


def encode_envelope(messages: Sequence[Message]) -> bytes:
    """Return messages as one record's value; they must fit (see `envelopes`)."""
    return join_envelope([_encode(message) for message in messages])


def join_envelope(encoded: Iterable[bytes]) -> bytes:
    """Return the envelope of messages that `encode_message` made."""
    return _HEAD + b",".join(encoded) + _TAIL


def envelope_bytes(encoded: Sequence[bytes]) -> int:
    """Return how long the envelope of some encoded messages is."""
    return len(_HEAD) + len(_TAIL) + sum(map(len, encoded)) + max(0, len(encoded) - 1)


def envelopes(messages: Iterable[Message]) -> Iterator[bytes]:
    """Yield record values that hold messages in order, each within the bounds.

    Raises:
      MessageTooLarge: One message alone passes `RECORD_BYTES_MAX`.
    """
    for part in split_encoded(map(_encode, messages)):
        yield join_envelope(part)


def split_encoded(encoded: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield runs of encoded messages that each fit in one envelope.

    Raises:
      MessageTooLarge: One message alone passes `RECORD_BYTES_MAX`.
    """
    run: list[bytes] = []
    frame = len(_HEAD) + len(_TAIL)
    size = frame
    for item in encoded:
        if frame + len(item) > RECORD_BYTES_MAX:
            raise MessageTooLarge(
                f"a message of {len(item)} bytes does not fit in {RECORD_BYTES_MAX}"
            )
        # One byte for the comma.
        if run and (
            size + len(item) + 1 > RECORD_BYTES_MAX or len(run) == MESSAGES_MAX
        ):
            yield run
            run = []
            size = frame
        run.append(item)
        size += len(item) + 1
    if run:
        yield run


def decode_record(key: bytes | None, value: bytes) -> list[Message | Rejection]:
    """Return the messages of a record, a `Rejection` in place of each bad one.

    Args:
      key: The record's key; ``org/user`` where the value is a single action.
      value: Any bytes.

    Returns:
      At least one item; each counts as one message.

    Raises:
      UndecodableRecord: The value as a whole cannot be read.
      UnknownVersion: An envelope of another version; the partition parks.
    """
    try:
        # Nearly every record is a good envelope: one typed decode, and it is done.
        version, messages = _decode_envelope(value)
        readable = version == VERSION and 0 < len(messages) <= MESSAGES_MAX
    except (*UNREADABLE, RecursionError):
        readable = False
    if not within_depth(value):
        raise UndecodableRecord(f"nested deeper than {DEPTH_MAX}")
    if readable:
        return messages  # type: ignore[return-value]  # a list, never shared
    if value.lstrip(b" \t\r\n")[:1] == b"{":
        return [_decode_single(key, value)]
    return [_decode_item(item) for item in _items(value)]


def _items(value: bytes) -> list[msgspec.Raw]:
    """Return an envelope's items, unread."""
    try:
        parts = _decode_items(value)
        version = _decode_version(parts[0]) if parts else None
    except UNREADABLE as error:
        raise UndecodableRecord(f"not a record: {error}") from error
    if version is None:
        raise UndecodableRecord("an empty array")
    if version < VERSION:
        raise UndecodableRecord(f"there is no record version {version}")
    if version != VERSION:
        raise UnknownVersion(f"record version {version} is not known here")
    if len(parts) != 2:
        raise UndecodableRecord("an envelope is [version, [message, ...]]")
    try:
        items = _decode_items(parts[1])
    except UNREADABLE as error:
        raise UndecodableRecord(f"not an envelope: {error}") from error
    if not items:
        raise UndecodableRecord("an empty envelope")
    if len(items) > MESSAGES_MAX:
        raise UndecodableRecord(f"an envelope of more than {MESSAGES_MAX} messages")
    return items


def _decode_item(item: msgspec.Raw) -> Message | Rejection:
    """Return one message of an envelope, or why it cannot be read."""
    try:
        message: Message = _decode_message(item)
    except UNREADABLE as error:
        return field_rejection(error, "UNREADABLE_MESSAGE")
    return message


def _decode_single(key: bytes | None, value: bytes) -> Message | Rejection:
    """Return the action of a record that holds a single one, or why it is refused."""
    try:
        body = _decode_body(value)
    except msgspec.ValidationError as error:
        return field_rejection(error)
    except UNREADABLE as error:
        raise UndecodableRecord(f"not JSON: {error}") from error
    try:
        org, slash, user = (key or b"").decode().partition("/")
    except UnicodeDecodeError:
        slash = ""
    if not slash:
        return Rejection("WRONG_KEY", "the record's key must be org/user")
    if user != body.user_id:
        return Rejection(
            "WRONG_KEY", "userId is not the user of the record's key", "userId"
        )
    return to_action(body, org)


def within_depth(value: bytes) -> bool:
    """Tell whether some JSON text nests at most `DEPTH_MAX` deep.

    The answer for text that is not JSON means nothing but is always the same.
    """
    if value.count(b"[") + value.count(b"{") <= DEPTH_MAX:
        return True
    if b"\\" not in value:
        # The fast way, for strings without brackets or escapes: of such a text's
        # quotes all vanish in pairs.
        marks = value.translate(_SQUARED, _NOT_MARKS).replace(b'""', b"")
        if b'"' not in marks:
            return _levels_within(marks)
    return _levels_within(_STRING.sub(b"", value).translate(_SQUARED, _NOT_MARKS))


def _levels_within(brackets: bytes) -> bool:
    """Tell whether square brackets pair up within `DEPTH_MAX` levels."""
    for _ in range(DEPTH_MAX):
        inner = brackets.replace(b"[]", b"")
        if not inner:
            return True
        if len(inner) == len(brackets):
            break
        brackets = inner
    return False
