"""The message writer: packs what callers send into envelopes, few commits for many.

Calls that arrive while a commit is under way are packed together: one envelope per
partition (more where they do not fit), one commit for all. A lone call waits for none.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias, cast

from rules.errors import InvariantError
from rules.message import Action, Command, Message
from streams.group_commit import GroupCommit
from streams.log import Append, Log, Positions, Span
from streams.messages import (
    encode_message,
    encode_messages,
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
    partitions_of,
)

QUEUE_BYTES_MAX: Final = 64_000_000
"""Messages that may wait for a commit."""
COMMIT_BYTES_MAX: Final = 8_000_000
TIMEOUT_S: Final = 10.0

Target: TypeAlias = tuple[str, int]
"""Topic and partition."""


class _Run(NamedTuple):
    """Messages of one call for one target that fit in one envelope.

    Attributes:
      target: Where they belong.
      indexes: Which of the call's messages they are.
      encoded: The messages, commas in between.
    """

    target: Target
    indexes: Sequence[int]
    encoded: bytes


class _Envelope:
    """Runs that will share one record, and the calls that sent them."""

    __slots__ = ("calls", "messages", "runs", "size", "target")

    def __init__(self, target: Target) -> None:
        self.target = target
        self.runs: list[_Run] = []
        self.calls: list[int] = []
        self.messages = 0
        self.size = 0

    def fits(self, run: _Run) -> bool:
        """Tell whether another run fits in."""
        return self.messages + len(run.indexes) <= MESSAGES_MAX and (
            self.size + envelope_bytes([run.encoded]) <= RECORD_BYTES_MAX
        )

    def add(self, call: int, run: _Run) -> None:
        """Take in a run of a call."""
        self.runs.append(run)
        self.calls.append(call)
        self.messages += len(run.indexes)
        # A frame per run where one per envelope would do: an upper bound.
        self.size += envelope_bytes([run.encoded])


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
        self._commits: GroupCommit[list[_Run], Positions] = GroupCommit(
            self._commit,
            batch_max=COMMIT_BYTES_MAX,
            queue_max=QUEUE_BYTES_MAX,
            timeout_s=timeout_s,
        )

    def write(self, messages: Sequence[Message]) -> Positions:
        """Store messages and return their positions once they are durable.

        Raises:
          LogUnavailable: The queue is full, or not durable within the timeout; then it
            may still become so.
          MessageTooLarge: A message does not fit in a record; nothing is written.
        """
        runs: list[_Run] = []
        for target, indexes in self._split(messages).items():
            runs += _encode_runs(target, indexes, messages)
        if not runs:
            return Positions(())
        return self._commits.submit(runs, sum(len(run.encoded) for run in runs))

    def locate(self, org: str, user: str | None) -> Target:
        """Return the (topic, partition) that decides about a user, or about an org."""
        if user is None:
            return ORGS, 0
        return USERS, partition_of(org, user, self._partitions)

    def _split(self, messages: Sequence[Message]) -> dict[Target, list[int]]:
        """Return which messages go to which target, in order."""
        keyed = cast(Sequence[Action | Command], messages)
        try:
            users = [message.user for message in keyed]
        except AttributeError as error:
            raise InvariantError("a message has no key of its own") from error
        orgs = {message.org for message in keyed}
        if len(orgs) > 1 or None in users:
            mixed: dict[Target, list[int]] = {}
            for index, message in enumerate(keyed):
                target = self.locate(message.org, message.user)
                mixed.setdefault(target, []).append(index)
            return mixed
        parts: defaultdict[int, list[int]] = defaultdict(list)
        for org in orgs:
            known = cast(list[str], users)
            for index, number in enumerate(partitions_of(org, known, self._partitions)):
                parts[number].append(index)
        return {(USERS, number): indexes for number, indexes in parts.items()}

    def _commit(self, calls: Sequence[list[_Run]]) -> list[Positions]:
        """Store the messages of some calls and return each call's positions."""
        envelopes = _pack(calls)
        offsets = self._log.append_many(
            [
                Append(
                    *envelope.target,
                    None,
                    join_envelope(run.encoded for run in envelope.runs),
                )
                for envelope in envelopes
            ]
        )
        spans: list[list[Span]] = [[] for _ in calls]
        for envelope, offset in zip(envelopes, offsets, strict=True):
            place = 0
            for call, run in zip(envelope.calls, envelope.runs, strict=True):
                spans[call].append(Span(*envelope.target, offset, place, run.indexes))
                place += len(run.indexes)
        return [Positions(mine) for mine in spans]


def _encode_runs(
    target: Target, indexes: Sequence[int], messages: Sequence[Message]
) -> list[_Run]:
    """Return a call's messages for one target, encoded: one run where they fit in one.

    Raises:
      MessageTooLarge: One message alone does not fit in a record.
    """
    mine = [messages[index] for index in indexes]
    encoded = encode_messages(mine)
    if len(mine) <= MESSAGES_MAX and envelope_bytes([encoded]) <= RECORD_BYTES_MAX:
        return [_Run(target, indexes, encoded)]
    runs: list[_Run] = []
    start = 0
    for part in split_encoded(map(encode_message, mine)):
        end = start + len(part)
        runs.append(_Run(target, indexes[start:end], b",".join(part)))
        start = end
    return runs


def _pack(calls: Sequence[list[_Run]]) -> list[_Envelope]:
    """Return envelopes that hold every call's messages, in order.

    What one call sends to one partition stays in one envelope where it fits in one.
    """
    envelopes: list[_Envelope] = []
    filling: dict[Target, _Envelope] = {}
    for call, runs in enumerate(calls):
        for run in runs:
            envelope = filling.get(run.target)
            if envelope is None or not envelope.fits(run):
                envelope = filling[run.target] = _Envelope(run.target)
                envelopes.append(envelope)
            envelope.add(call, run)
    return envelopes
