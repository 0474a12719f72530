"""What both aggregates' folds share: the contract, marks, commands, dead letters."""

import hashlib
from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec

from rules.errors import PlauditError, Rejection
from rules.ledger import IdSpace
from rules.message import Action, Command, Message, Source
from rules.outcome import Place, Result
from streams.sheet import RESULT_KEPT_MS, Sheet
from tables import codec, keys

SECOND_GENESIS: Final = Rejection(
    "SECOND_GENESIS", "a genesis record stands at the beginning of a partition alone"
)

LETTER_TEXT_MAX: Final = 1_000
"""Characters of a text in a dead letter. What is allowed is shorter, and the log keeps
the message whole; uncut, a letter might not fit in a record of its own."""


class FoldFault(PlauditError):
    """The fold cannot go on at a record. The partition parks; see its reason."""


class Home(msgspec.Struct, frozen=True):
    """The partition that a fold works for.

    Attributes:
      log_id: The log's id.
      topic: ``users`` or ``orgs``.
      partition: Its number.
      partitions: How many partitions `users` has.
      ids: Ids of what this partition makes.
    """

    log_id: str
    topic: str
    partition: int
    partitions: int
    ids: IdSpace


class Fold(Protocol):
    """Folds the messages of one partition. A failed step leaves it unusable."""

    def begin(
        self, sheet: Sheet, messages: Sequence[Message | Rejection], clock_ms: int
    ) -> None:
        """Open a step: load what its messages will need."""

    def fold(self, message: Message, place: Place) -> None:
        """Fold one message onto the step's sheet.

        Raises:
          FoldFault: The message cannot be folded by this program.
        """

    def flush(self) -> None:
        """Write what changed onto the sheet: the step's last call before publishing."""

    def end(self) -> None:
        """Close a step that is stored."""


def is_new(sheet: Sheet, source: Source) -> bool:
    """Return whether an internal message was not folded before, and raise the mark."""
    key = keys.mark(source.topic, source.partition)
    stored = sheet.get(key)
    if stored is not None:
        mark = codec.marks.decode(stored)
        if (source.number, source.ordinal) <= (mark.number, mark.ordinal):
            sheet.count("repeated_outputs")
            return False
    sheet.put(key, codec.marks.encode(codec.Mark(source.number, source.ordinal)))
    return True


def earlier_answer(sheet: Sheet, command: Command, place: Place) -> Result | None:
    """Return the answer already given under a command's idempotency key, or None."""
    if command.idempotency_key is None:
        return None
    key = keys.idempotency(command.org, command.actor, command.idempotency_key)
    stored = sheet.get(key)
    if stored is None:
        return None
    row = codec.idempotency_rows.decode(stored)
    if place.clock_ms >= row.expires_at_ms:
        # Its place is taken by a new row with a time of its own.
        sheet.batch.delete(keys.expiry(row.expires_at_ms, key))
        return None
    if row.request_hash != _request_hash(command):
        rejection = Rejection(
            "IDEMPOTENCY_KEY_REUSED",
            "this Idempotency-Key was used for another request",
            "Idempotency-Key",
        )
        return Result(command.command_id, 409, None, rejection, [rejection])
    return msgspec.structs.replace(row.result, command_id=command.command_id)


def answer(sheet: Sheet, command: Command, result: Result, place: Place) -> None:
    """Write a command's result, and remember it under its idempotency key."""
    sheet.answer(result, place.clock_ms)
    sheet.count("commands")
    if command.idempotency_key is None:
        return
    key = keys.idempotency(command.org, command.actor, command.idempotency_key)
    row = codec.IdempotencyRow(
        _request_hash(command), result, place.clock_ms + RESULT_KEPT_MS
    )
    sheet.put_for_a_day(key, codec.idempotency_rows.encode(row), place.clock_ms)


def bury(sheet: Sheet, home: Home, place: Place, why: Rejection, message: Any) -> None:
    """Send a refused message to the dead letters, with its position and the reason.

    Its position tells it from others; texts are cut at `LETTER_TEXT_MAX`.
    """
    letter: dict[str, object] = {
        "logId": home.log_id,
        "topic": home.topic,
        "partition": home.partition,
        "offset": place.offset,
        "index": place.index,
        "number": place.number,
        "receivedAt": place.clock_ms,
        "code": why.code,
        "message": _cut(why.message),
        "field": _cut(why.field),
    }
    if isinstance(message, Action):
        letter["org"] = _cut(message.org)
        letter["userId"] = _cut(message.user)
        letter["eventId"] = _cut(message.event_id)
    sheet.bury(letter)
    sheet.count("dead_letters")


def _cut(text: str | None) -> str | None:
    return text and text[:LETTER_TEXT_MAX]


def _request_hash(command: Command) -> str:
    text = codec.encode_json([command.name, command.user, command.target, command.body])
    return hashlib.blake2b(text, digest_size=16).hexdigest()
