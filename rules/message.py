"""Messages: the unit that an aggregate folds.

On the wire (streams/messages.py) each is a JSON array that begins with its tag:
``["action","acme","alice",null,"purchase",null,{"amount":9.99},{},false,null]``. The
tags are names that we own; new fields go at the end with a default, so old records
decode for ever.

Numbers inside free-form JSON (`data`, `metadata`, bodies) are `int` or `Decimal`,
exactly as their text spells them.
"""

from typing import Any, TypeAlias

import msgspec

JsonObject: TypeAlias = dict[str, Any]


class Source(msgspec.Struct, frozen=True, array_like=True):
    """Where an internal message came from: its id within the log.

    Attributes:
      topic: Topic of the message that caused this one.
      partition: Its partition.
      number: How many messages stand before the cause in that partition.
      ordinal: Place of this message among the outputs of its cause to this receiver.
    """

    topic: str
    partition: int
    number: int
    ordinal: int


class Action(msgspec.Struct, array_like=True, tag="action", tag_field="kind", gc=False):
    """What a user did.

    Attributes:
      org: Org id.
      user: User id, 1..128 bytes of UTF-8, no control characters or commas.
      event_id: Producer's id of the action, at most 255 bytes; None: never a duplicate.
      type: Action type, 1..128 bytes, what triggers match.
      occurred_at_ms: ms since the Unix epoch; None: the clock when it is folded.
      data: Producer's payload, at most 32 KB of JSON, depth 16.
      metadata: Producer's metadata, same bounds.
      keep_id: The id never expires (`plaudit load`).
      batch: Batch whose tally counts this action's fate; None: no tally.
    """

    org: str
    user: str
    event_id: str | None
    type: str
    occurred_at_ms: int | None
    data: JsonObject
    metadata: JsonObject
    keep_id: bool = False
    batch: str | None = None


class Command(msgspec.Struct, array_like=True, tag="command", tag_field="kind"):
    """Something that a caller asks for and waits for; always answered by a result row.

    In `users`: ``profile.update``. In `orgs`: ``org.create``, ``campaign.create`` ...
    (rules/admin.py has the list).

    Attributes:
      org: Org id.
      user: User whose aggregate decides, or None for the org's.
      command_id: Id under which the result row is stored; unguessable, 1..64 bytes.
      name: Which command, e.g. ``campaign.update``.
      target: Id of the thing it is about, where the name needs one.
      body: The request's body.
      idempotency_key: Caller's key, at most 255 bytes, scoped to org and `actor`.
      actor: Who asks: a JWT's subject or an API key's id.
    """

    org: str
    user: str | None
    command_id: str
    name: str
    target: str | None
    body: JsonObject
    idempotency_key: str | None = None
    actor: str = ""


class ConfigChange(msgspec.Struct, array_like=True, tag="config", tag_field="kind"):
    """One config version of an org, broadcast to every partition of `users`.

    Attributes:
      org: Org id.
      version: Exactly one more than the version before it.
      changes: (kind, id, value) where kind is ``settings``, ``campaign``, ``rule`` or
        ``segment`` and value the whole new row, or None where it is gone.
      source: Id of this message; the receiver's high-water mark.
    """

    org: str
    version: int
    changes: list[tuple[str, str, JsonObject | None]]
    source: Source


class Genesis(msgspec.Struct, array_like=True, tag="genesis", tag_field="kind"):
    """The first message of every partition.

    Attributes:
      log_id: 32 hex digits, drawn once by `plaudit init`.
      partitions: Number of partitions of the `users` topic.
      semantics_version: Version of semantics.md in force, 1.
      tzdata_version: Version of the time-zone data in force.
    """

    log_id: str
    partitions: int
    semantics_version: int
    tzdata_version: str


Message: TypeAlias = Action | Command | ConfigChange | Genesis
