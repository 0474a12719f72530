"""The silent part of a fold: below the group's committed offset nothing is published.

What it makes is in the log already, from when it was first folded. Of `users` the
ledger can prove that: silent steps end where its newest step did, and one past it must
make no entry. So an offset that somebody moved forward is noticed (ADR-0007).
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from streams.log import Log, Record
from streams.stepper import Step, WrongLog
from streams.topics import LEDGER, USERS

LEDGER_TAIL_RECORDS: Final = 16
"""How far back the newest step is looked for in a ledger: late records of an owner that
was replaced, or marks of transactions, may stand behind it."""


class LedgerHeader(msgspec.Struct, rename="camel"):
    """What a ledger record says of the step that it came from."""

    offset: int


_read_ledger = msgspec.json.Decoder(tuple[int, LedgerHeader, msgspec.Raw]).decode


class SilentFold:
    """Which records of a partition are folded silently, and whether that is right."""

    def __init__(self, log: Log, topic: str, partition: int, committed: int) -> None:
        """Name a partition; the ledger is asked when the fold gets to its end.

        Args:
          log: The log.
          topic: Topic.
          partition: Its number.
          committed: The group's offset; below it the fold is silent.
        """
        self.committed = committed
        self._log = log
        self._place = topic, partition
        self._entered: int | None = None
        self._has_looked = topic != USERS

    def covers(self, first: int) -> bool:
        """Return whether a step from an offset on is silent."""
        return first < self.committed

    def take(self, first: int, records: Sequence[Record]) -> Sequence[Record]:
        """Return those of a run that one silent step may fold; asks the ledger once.

        Args:
          first: Where the fold goes on; `covers` it.
          records: What stands from there on, at least one.
        """
        if not self._has_looked:
            self._entered = entered(self._log, *self._place, LEDGER_TAIL_RECORDS)
            self._has_looked = True
        until = self.committed
        if self._entered is not None and first <= self._entered:
            until = min(until, self._entered + 1)
        below = [record for record in records if record.offset < until]
        # None below it: a hole, which the stepper tells from what comes next.
        return below or records[:1]

    def check(self, first: int, step: Step) -> None:
        """Check that what a silent step made was published before.

        Args:
          first: The step's first offset.
          step: Folded, of what `take` returned.

        Raises:
          WrongLog: Its entries are not in the ledger.
        """
        last = self._entered
        if last is None or first <= last or not step.sheet.entries:
            return
        topic, partition = self._place
        raise WrongLog(
            f"{topic}/{partition}: the group's offset is past {first}, but the entries "
            "made there are not in the ledger. If the offset was moved by hand, set it "
            f"back to {last + 1} (on Kafka: kafka-consumer-groups.sh --reset-offsets); "
            "if the ledger lost its tail, restore all topics together, from one copy"
        )


def entered(log: Log, topic: str, partition: int, records_max: int = 1) -> int | None:
    """Return the last offset whose entries are in the ledger; -1: there are none.

    None where nobody can tell: only `users` has entries, and what its ledger held may
    not be kept any more.

    Args:
      log: The log.
      topic: Topic.
      partition: Its number.
      records_max: How many of the ledger's last offsets are looked at.
    """
    if topic != USERS:
        return None
    end = log.end_offset(LEDGER, partition)
    offset = max(end - records_max, 0)
    found: list[int] = []
    while offset < end and (records := log.read(LEDGER, partition, offset)):
        found += map(_stepped_to, records)
        offset = records[-1].offset + 1
    return max(found, default=None)


def _stepped_to(record: Record) -> int:
    """Return the last offset of a ledger record's step; -1: a genesis record."""
    try:
        _version, header, _entries = _read_ledger(record.value)
    except msgspec.MsgspecError:
        return -1
    return header.offset
