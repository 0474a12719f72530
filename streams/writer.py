"""The message writer: packs what callers send into envelopes, few commits for many.

Calls that arrive while a commit is under way are packed together: one envelope per
partition (more where they do not fit), one commit for all. A lone call waits for none.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

from rules.errors import InvariantError
from rules.message import Action, Command, Message
from streams.group_commit import GroupCommit
from streams.log import Append, Log, Position
from streams.messages import (
    MessageTooLarge,
    encode_message,
    envelope_bytes,
    join_envelope,
    split_encoded,
)
from streams.topics import (
    MESSAGES_MAX,
    ORGS,
    RECORD_BYTES_MAX,
    USERS,
    partition_of,
)

QUEUE_BYTES_MAX: Final = 64_000_000
"""Messages that may wait for a commit."""
COMMIT_BYTES_MAX: Final = 8_000_000
TIMEOUT_S: Final = 10.0

Target: TypeAlias = tuple[str, int]
"""Topic and partition."""


class _Call:
    """The messages of one call, encoded, with where each belongs."""

    __slots__ = ("encoded", "targets")

    def __init__(self, encoded: list[bytes], targets: list[Target]) -> None:
        self.encoded = encoded
        self.targets = targets


class _Envelope:
    """Messages that will share one record, and who sent each: (call, place in it)."""

    __slots__ = ("encoded", "senders", "size", "target")

    def __init__(self, target: Target) -> None:
        self.target = target
        self.encoded: list[bytes] = []
        self.senders: list[tuple[int, int]] = []
        self.size = 0

    def fits(self, run: list[bytes]) -> bool:
        """Tell whether more messages fit in."""
        return len(self.encoded) + len(run) <= MESSAGES_MAX and (
            self.size + envelope_bytes(run) <= RECORD_BYTES_MAX
        )

    def add(self, run: list[bytes], senders: list[tuple[int, int]]) -> None:
        """Take messages in."""
        self.encoded += run
        self.senders += senders
        # A frame per run where one per envelope would do: an upper bound.
        self.size += envelope_bytes(run)


class EnvelopeWriter:
    """The `MessageWriter` over any `Log`; safe for threads."""

    def __init__(self, log: Log, *, timeout_s: float = TIMEOUT_S) -> None:
        """Write to a log.

        Args:
          log: Where records go.
          timeout_s: Longest wait of a call for its commit, seconds.
        """
        self._log = log
        self._partitions = log.partitions(USERS)
        self._commits: GroupCommit[_Call, list[Position]] = GroupCommit(
            self._commit,
            batch_max=COMMIT_BYTES_MAX,
            queue_max=QUEUE_BYTES_MAX,
            timeout_s=timeout_s,
        )

    def write(self, messages: Sequence[Message]) -> list[Position]:
        """Store messages and return their positions once they are durable.

        Raises:
          LogUnavailable: The queue is full, or not durable within the timeout; then it
            may still become so.
          MessageTooLarge: A message does not fit in a record; nothing is written.
        """
        if not messages:
            return []
        encoded = [encode_message(message) for message in messages]
        for item in encoded:
            if envelope_bytes([item]) > RECORD_BYTES_MAX:
                raise MessageTooLarge(f"a message of {len(item)} bytes is too large")
        call = _Call(encoded, [self._target(message) for message in messages])
        return self._commits.submit(call, sum(map(len, encoded)))

    def locate(self, org: str, user: str | None) -> Target:
        """Return the (topic, partition) that decides about a user, or about an org."""
        if user is None:
            return ORGS, 0
        return USERS, partition_of(org, user, self._partitions)

    def _target(self, message: Message) -> Target:
        if isinstance(message, Action | Command):
            return self.locate(message.org, message.user)
        raise InvariantError(f"{type(message).__name__} has no key of its own")

    def _commit(self, calls: Sequence[_Call]) -> list[list[Position]]:
        """Store the messages of some calls and return each call's positions."""
        envelopes = _pack(calls)
        offsets = self._log.append_many(
            [
                Append(*envelope.target, None, join_envelope(envelope.encoded))
                for envelope in envelopes
            ]
        )
        answers: list[list[Position]] = [
            [Position("", 0, 0, 0)] * len(call.encoded) for call in calls
        ]
        for envelope, offset in zip(envelopes, offsets, strict=True):
            for place, (call, index) in enumerate(envelope.senders):
                answers[call][index] = Position(*envelope.target, offset, place)
        return answers


def _pack(calls: Sequence[_Call]) -> list[_Envelope]:
    """Return envelopes that hold every call's messages, in order.

    What one call sends to one partition stays in one envelope where it fits in one.
    """
    envelopes: list[_Envelope] = []
    filling: dict[Target, _Envelope] = {}
    for number, call in enumerate(calls):
        parts: dict[Target, list[int]] = {}
        for index, target in enumerate(call.targets):
            parts.setdefault(target, []).append(index)
        for target, indexes in parts.items():
            start = 0
            for run in split_encoded([call.encoded[index] for index in indexes]):
                envelope = filling.get(target)
                if envelope is None or not envelope.fits(run):
                    envelope = filling[target] = _Envelope(target)
                    envelopes.append(envelope)
                senders = indexes[start : start + len(run)]
                envelope.add(run, [(number, index) for index in senders])
                start += len(run)
    return envelopes
