"""Dead letters: what was refused by the fold, where it stands and as what it was sent.

A letter (streams/fold.py) names a position and a reason. The message itself is read
again from the log, which keeps it.
"""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import msgspec

from api.envelope import iso
from rules.errors import Rejection
from rules.message import Action, JsonObject, Message
from streams.log import Log, LogError, Record, UnknownTopic
from streams.messages import decode_record
from streams.topics import DEAD, DEAD_LETTERS
from tables.codec import encode_json

LETTERS_MAX: Final = 10_000
"""Letters that are listed at once."""
MESSAGE_BYTES_MAX: Final = 1_000_000
"""Bytes of messages that are shown in one list; the log's records are no longer."""

_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_UNREADABLE: Final = (msgspec.MsgspecError, ValueError)
_WHOLE: Final = frozenset({"UNDECODABLE_RECORD", "SKIPPED"})
"""Codes of letters that speak of a record, not of one message in it."""


class Letter(msgspec.Struct, rename="camel", kw_only=True):
    """What stands in the topic `dead`.

    Attributes:
      topic, partition, offset: The record; offsets begin at 0.
      index: Its place in the record, 0 where it stands alone.
      number: Its number in the partition; letters of one number are one letter.
      received_at: ms since the epoch.
      code, message, field: Why it was refused.
    """

    log_id: str
    topic: str
    partition: int
    offset: int
    index: int
    number: int
    received_at: int
    code: str
    message: str
    field: str | None = None
    org: str | None = None
    user_id: str | None = None
    event_id: str | None = None


class DeadLetter(msgspec.Struct, rename="camel", kw_only=True):
    """A letter with its message.

    Attributes:
      position: ``users/2@1234``, and ``#5`` for the sixth message of the record.
      received_at: ISO 8601, UTC.
      org, user_id, event_id: None where they cannot be told.
      key: The record's key; producers write ``org/user``.
      original: The message as it stands in the log; None where it is gone, or where
        the list has shown `MESSAGE_BYTES_MAX` already. Bytes that are not UTF-8 are
        escaped.
      action: Where it can be read: the body for POST /internal/actions.
    """

    position: str
    received_at: str
    code: str
    message: str
    field: str | None
    org: str | None
    user_id: str | None
    event_id: str | None
    key: str | None
    original: str | None
    action: msgspec.Raw | None


def dead_letters(log: Log, limit: int) -> list[DeadLetter]:
    """Return the newest dead letters, in the order of the topic.

    Args:
      log: The log.
      limit: How many at most, 1..`LETTERS_MAX`.
    """
    budget = MESSAGE_BYTES_MAX
    shown: list[DeadLetter] = []
    source = _Source(log)
    # The newest first, so that they are the ones with their messages.
    for letter in reversed(_letters(log, limit)):
        source.go_to(letter)
        text = source.text(letter)
        budget -= len(text or b"")
        if budget < 0:
            text = None
        action = None if text is None else source.action(letter)
        shown.append(_dead_letter(letter, source.key, text, action))
    shown.reverse()
    return shown


def _letters(log: Log, limit: int) -> list[Letter]:
    """Return the newest letters; one that was published twice comes once."""
    found: dict[tuple[str, str, int, int], Letter] = {}
    end = log.end_offset(DEAD, DEAD_LETTERS)
    for record in _records(log, max(end - limit, log.first_offset(DEAD, DEAD_LETTERS))):
        try:
            letter = msgspec.json.decode(record.value, type=Letter)
        except _UNREADABLE:
            continue  # The genesis record.
        who = (letter.log_id, letter.topic, letter.partition, letter.number)
        found.pop(who, None)
        found[who] = letter
    # More may have come since the end was looked at.
    return list(found.values())[-limit:]


def _records(log: Log, offset: int) -> Iterator[Record]:
    while records := log.read(DEAD, DEAD_LETTERS, offset):
        yield from records
        offset = records[-1].offset + 1


class _Source:
    """The record that letters speak of; many in a row speak of the same one."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._place: tuple[str, int, int] | None = None
        self._record: Record | None = None
        self._items: list[msgspec.Raw] = []
        self._messages: list[Message | Rejection] = []

    @property
    def key(self) -> bytes | None:
        """The record's key."""
        return None if self._record is None else self._record.key

    def go_to(self, letter: Letter) -> None:
        """Read a letter's record, unless it is the one that was read last."""
        place = (letter.topic, letter.partition, letter.offset)
        if place == self._place:
            return
        self._place = place
        self._items = []
        self._messages = []
        self._record = self._read(*place)
        if self._record is None:
            return
        with suppress(*_UNREADABLE, IndexError, RecursionError):
            self._items = _decode_items(_decode_items(self._record.value)[1])
        with suppress(LogError):
            record = self._record
            self._messages = decode_record(record.key, record.value).messages

    def _read(self, topic: str, partition: int, offset: int) -> Record | None:
        try:
            records = self._log.read(topic, partition, offset, records_max=1)
        except UnknownTopic:
            return None
        if not records or records[0].offset != offset:
            return None
        return records[0]

    def text(self, letter: Letter) -> bytes | None:
        """Return a letter's message as it stands in the record, or None: it is gone."""
        if self._record is None:
            return None
        if letter.code in _WHOLE or letter.index >= len(self._items):
            return self._record.value
        return bytes(self._items[letter.index])

    def action(self, letter: Letter) -> msgspec.Raw | None:
        """Return a letter's message as the API takes it, or None: it is no action."""
        if letter.code in _WHOLE or letter.index >= len(self._messages):
            return None
        message = self._messages[letter.index]
        if not isinstance(message, Action):
            return None
        body: JsonObject = {"userId": message.user, "action": message.type}
        if message.event_id is not None:
            body["eventId"] = message.event_id
        if message.occurred_at_ms is not None:
            try:
                body["timestamp"] = iso(message.occurred_at_ms)
            except OverflowError:
                return None
        body |= {"data": message.data, "metadata": message.metadata}
        return msgspec.Raw(encode_json(body))


def _dead_letter(
    letter: Letter,
    key: bytes | None,
    text: bytes | None,
    action: msgspec.Raw | None,
) -> DeadLetter:
    position = f"{letter.topic}/{letter.partition}@{letter.offset}"
    return DeadLetter(
        position=f"{position}#{letter.index}" if letter.index else position,
        received_at=iso(letter.received_at),
        code=letter.code,
        message=letter.message,
        field=letter.field,
        org=letter.org,
        user_id=letter.user_id,
        event_id=letter.event_id,
        key=None if key is None else _readable(key),
        original=None if text is None else _readable(text),
        action=action,
    )


def _readable(text: bytes) -> str:
    return text.decode("utf-8", "backslashreplace")
