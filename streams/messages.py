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
from typing import Final, NamedTuple

import msgspec

from rules.action import DATA_BYTES_MAX, ActionBody, field_rejection, to_action
from rules.errors import Rejection
from rules.message import Message
from rules.value import DEPTH_MAX as PAYLOAD_DEPTH_MAX
from rules.value import has_long_integer, plain_number
from streams.log import LogError
from streams.topics import MESSAGES_MAX, RECORD_BYTES_MAX

VERSION: Final = 1
DEPTH_MAX: Final = 64
"""Arrays and objects inside one another in a record, the envelope's own included."""
PLAIN_MESSAGE_BYTES_MAX: Final = DATA_BYTES_MAX // 2
"""A message of so many bytes has payloads within their bounds. Encoded anew JSON does
not grow to twice its size: at the most ``1e-6,`` becomes ``0.000001,``."""

_HEAD: Final = b"[1,["
_TAIL: Final = b"]]"
ITEM_BYTES_MAX: Final = RECORD_BYTES_MAX - len(_HEAD) - len(_TAIL)
"""An encoded message, or entry, that fits in an envelope of its own."""
_NOT_MARKS: Final = bytes(set(range(256)) - set(b'[]{}"'))
_SQUARED: Final = bytes.maketrans(b"{}", b"[]")
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)

_encode = msgspec.json.Encoder(decimal_format="number").encode
_decode_plain_envelope = msgspec.json.Decoder(
    tuple[int, list[Message]], float_hook=plain_number
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


def encode_messages(messages: Sequence[Message]) -> bytes:
    """Return messages as they stand in an envelope, commas in between."""
    return _encode(messages)[1:-1]


def encode_envelope(messages: Sequence[Message]) -> bytes:
    """Return messages as one record's value; they must fit (see `envelopes`)."""
    return join_envelope([encode_messages(messages)])


def join_envelope(encoded: Iterable[bytes]) -> bytes:
    """Return the envelope of what `encode_message` or `encode_messages` made."""
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
      MessageTooLarge: One message alone passes `ITEM_BYTES_MAX`.
    """
    run: list[bytes] = []
    frame = len(_HEAD) + len(_TAIL)
    size = frame
    for item in encoded:
        if len(item) > ITEM_BYTES_MAX:
            raise too_large(item)
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


def too_large(item: bytes) -> MessageTooLarge:
    """Return the error of an encoded message that passes `ITEM_BYTES_MAX`."""
    return MessageTooLarge(
        f"a message of {len(item)} bytes does not fit in {RECORD_BYTES_MAX}"
    )


class Decoded(NamedTuple):
    """What a record decodes to.

    Attributes:
      messages: At least one item, a `Rejection` in place of each bad message; each
        counts as one message.
      plain: Whether all its texts are printable ASCII and all its payloads keep the
        bounds of rules/action.py, for certain; where it is false they may as well.
    """

    messages: list[Message | Rejection]
    plain: bool


def decode_record(key: bytes | None, value: bytes) -> Decoded:
    """Return the messages of a record.

    Args:
      key: The record's key; ``org/user`` where the value is a single action.
      value: Any bytes.

    Raises:
      UndecodableRecord: The value as a whole cannot be read.
      UnknownVersion: An envelope of another version; the partition parks.
    """
    try:
        # Nearly every record is a good envelope: one typed decode, and it is done.
        version, messages = _decode_plain_envelope(value)
        readable = version == VERSION and 0 < len(messages) <= MESSAGES_MAX
    except (*UNREADABLE, RecursionError):
        readable = False
    levels = levels_of(value)
    if levels > DEPTH_MAX:
        raise UndecodableRecord(f"nested deeper than {DEPTH_MAX}")
    if readable:
        return Decoded([*messages], _is_plain(value, levels))
    if value.lstrip(b" \t\r\n")[:1] == b"{":
        return Decoded([_decode_single(key, value)], plain=False)
    return Decoded([_decode_item(item) for item in _items(value)], plain=False)


def _is_plain(value: bytes, levels: int) -> bool:
    """Tell whether a decoded envelope is plain; its decimals are known to be.

    Without a backslash its texts are as they stand; JSON allows no control character
    below a blank in them. A payload lies three levels deep: envelope, list, message.
    """
    return (
        value.isascii()
        and b"\\" not in value
        and b"\x7f" not in value
        and levels <= PAYLOAD_DEPTH_MAX + 3
        and not has_long_integer(value)
        and _message_bytes_max(value) <= PLAIN_MESSAGE_BYTES_MAX
    )


def _message_bytes_max(value: bytes) -> int:
    """Return an upper bound on the bytes of an envelope's largest message."""
    if len(value) <= PLAIN_MESSAGE_BYTES_MAX:
        return len(value)
    return max(memoryview(item).nbytes for item in _items(value))


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


def levels_of(value: bytes) -> int:
    """Return how deep some JSON text nests, at most ``DEPTH_MAX + 1``.

    The answer for text that is not JSON means nothing but is always the same.
    """
    if b"\\" not in value:
        # The fast way, for strings without brackets or escapes: of such a text's
        # quotes all vanish in pairs.
        marks = value.translate(_SQUARED, _NOT_MARKS).replace(b'""', b"")
        if b'"' not in marks:
            return _count_levels(marks, value)
    marks = _STRING.sub(b"", value).translate(_SQUARED, _NOT_MARKS)
    return _count_levels(marks, value)


def _count_levels(marks: bytes, value: bytes) -> int:
    """Return the levels of some square brackets; unpaired ones count as one each."""
    if not marks:
        return 0
    for levels in range(1, DEPTH_MAX + 1):
        inner = marks.replace(b"[]", b"")
        if not inner:
            return levels
        if len(inner) == len(marks):
            return min(value.count(b"[") + value.count(b"{"), DEPTH_MAX + 1)
        marks = inner
    return DEPTH_MAX + 1
