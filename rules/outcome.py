"""What folding one message produced."""

from typing import Any, Literal, TypeAlias

import msgspec

from rules.errors import Rejection
from rules.ledger import Entry, IdSpace
from rules.message import JsonObject, Message

Fate: TypeAlias = Literal["applied", "duplicate", "too_late", "refused"]


class Place(msgspec.Struct):
    """Where a message stands: all that the fold knows of time and position.

    Attributes:
      ids: Ids of this partition of this log.
      number: How many messages stand before this one in the partition.
      clock_ms: Largest `receivedAt` of the partition so far, this record included.
      offset: Offset of its record.
      index: Its index in the record.
      plain: Its record is known to hold only printable ASCII, and only payloads that
        keep their bounds (`rules.action.check_action`).
    """

    ids: IdSpace
    number: int
    clock_ms: int
    offset: int = 0
    index: int = 0
    plain: bool = False


class Notification(msgspec.Struct, array_like=True):
    """An unread message for a user; `sequence` counts a user's messages from 1."""

    notification_id: str
    sequence: int
    type: str
    title: str
    message: str
    data: Any
    created_at_ms: int


class Result(msgspec.Struct, array_like=True):
    """The answer to a command, stored as its result row.

    Attributes:
      command_id: Which command.
      status: HTTP status the API answers with, e.g. 201, 404, 409.
      body: The `data` of a success, or None.
      error: Why it was refused, where `status` >= 400.
      details: More of the same, one per field.
    """

    command_id: str
    status: int
    body: JsonObject | None = None
    error: Rejection | None = None
    details: list[Rejection] = []


class Outcome(msgspec.Struct):
    """What one message did.

    Attributes:
      fate: What became of it; ``refused`` carries `rejection`.
      changed: Whether the aggregate's value must be stored.
      entries: Ledger entries, in order.
      notifications: New notifications of the user.
      result: Answer to a command.
      rejection: Reason for the dead letters (actions) that changed nothing.
      counts: Things worth counting: ``amount_unresolved``, ``cap_unknown`` ...
      outputs: (receiving topic, message) to other aggregates; a ConfigChange goes to
        every partition of `users`.
      trace: With `trace=True`, one dict per candidate campaign.
    """

    fate: Fate = "applied"
    changed: bool = True
    entries: list[Entry] = []
    notifications: list[Notification] = []
    result: Result | None = None
    rejection: Rejection | None = None
    counts: dict[str, int] = {}
    outputs: list[tuple[str, Message]] = []
    trace: list[JsonObject] | None = None
