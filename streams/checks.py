"""Checks before a fold: do the log, its committed offset and the rows belong together?

Each check reads a record or two. What fails stops the worker with a message that says
what to do: folding on would publish again what was published, or give new records the
numbers of lost ones.
"""

from typing import Final, NamedTuple

import msgspec

from streams.log import GroupLog, Log, Record
from streams.messages import decode_record
from streams.stepper import WrongLog, record_hash
from streams.topics import LEDGER, USERS
from tables.codec import PartitionRow


class LedgerHeader(msgspec.Struct, rename="camel"):
    """What a ledger record says of the step that it came from."""

    offset: int


_read_ledger = msgspec.json.Decoder(tuple[int, LedgerHeader, msgspec.Raw]).decode

LEDGER_TAIL_RECORDS: Final = 64
"""How far back the newest step is looked for in a ledger: a late record of an owner
that was replaced may stand behind it."""


class Processed(NamedTuple):
    """How far a partition was processed, by what the log says.

    Attributes:
      committed: The group's offset; below it a fold is silent.
      entered: The last offset whose entries are in the ledger; -1: there are none.
        None where nobody can tell: only `users` has entries, and what its ledger held
        may not be kept any more.
    """

    committed: int
    entered: int | None = None

    def silent_until(self, first: int) -> int:
        """Return where a silent step from `first` on ends, at the latest."""
        if self.entered is not None and first <= self.entered:
            return min(self.committed, self.entered + 1)
        return self.committed


def check_log(log: GroupLog, group: str, topic: str, partition: int) -> Processed:
    """Return how far a partition was processed, once the log is known to reach it.

    Raises:
      WrongLog: The log lost its tail, or was never initialised.
    """
    name = f"{topic}/{partition}"
    committed = log.committed(group, topic, partition)
    if committed is None:
        raise WrongLog(f"{name} has no committed offset: run `plaudit init`")
    end = log.end_offset(topic, partition)
    entered = _entered(log, topic, partition)
    processed = max(committed, 0 if entered is None else entered + 1)
    if processed > end:
        raise WrongLog(
            f"{name} was processed up to offset {processed - 1}, its log ends at "
            f"{end}: the log lost its tail. Restore all topics of the log together, "
            "from one copy (embedded: the log folder); then run `plaudit rebuild`"
        )
    return Processed(committed, entered)


def check_entered(
    log: Log, topic: str, partition: int, processed: Processed, first: int
) -> None:
    """Check that what a silent step made is in the ledger: it will not be published.

    Args:
      log: The log.
      topic: Topic.
      partition: Its number.
      processed: What `check_log` returned.
      first: First offset of a step that made entries.

    Raises:
      WrongLog: The ledger ends before it: its records were never processed.
    """
    if processed.entered is None or first <= processed.entered:
        return
    last = _entered(log, topic, partition, LEDGER_TAIL_RECORDS)
    if last is not None and last < first:
        raise WrongLog(
            f"{topic}/{partition}: the group's offset is past {first}, but the entries "
            "made there are not in the ledger. If the offset was moved by hand, set it "
            f"back to {last + 1} (kafka-consumer-groups.sh --reset-offsets); if the "
            "ledger lost its tail, restore all topics together, from one copy"
        )


def check_row(log: Log, topic: str, partition: int, row: PartitionRow) -> None:
    """Check that a partition's rows were folded from this log, as it is now.

    Rows that end before what is kept of the log pass if the log is theirs.

    Raises:
      WrongLog: They were not.
    """
    name = f"{topic}/{partition}"
    first = log.first_offset(topic, partition)
    log_id = _log_id(log, topic, partition)
    # Where the genesis record is not kept, the record's hash alone tells.
    if log_id != row.log_id and first == 0:
        raise WrongLog(
            f"{name}: the tables belong to log {row.log_id}, this is log {log_id}. "
            "Restore the tables of this log, or run `plaudit rebuild`"
        )
    end = log.end_offset(topic, partition)
    if row.offset >= end:
        raise WrongLog(
            f"{name} is folded up to offset {row.offset}, its log ends at {end}: "
            "the log lost its tail. Restore the log; or, if it is an older copy on "
            "purpose, run `plaudit rebuild`"
        )
    if row.offset < first:
        return
    (found,) = log.read(topic, partition, row.offset, records_max=1)
    # A hole that was skipped is folded as an empty record.
    value = found.value if found.offset == row.offset else b""
    if record_hash(value) != row.record_hash:
        raise WrongLog(
            f"{name}@{row.offset} is not the record that was folded: the log was "
            "changed, or the tables are of another copy. Restore the log; or, if it "
            "is right as it is, run `plaudit rebuild`"
        )


def deleted(log: Log, topic: str, partition: int, offset: int) -> WrongLog:
    """Return what to say of a record that went before it was folded."""
    first = log.first_offset(topic, partition)
    end = log.end_offset(topic, partition)
    return WrongLog(
        f"{topic}/{partition}: offset {offset} comes next, the log holds {first} to "
        f"{end}: records were deleted before they were folded, or the log lost its "
        "tail. Restore all topics together, from one copy"
    )


def check_kept(log: Log, topic: str, partition: int, applied: int) -> None:
    """Check that the log still holds what rows need to be folded on.

    Args:
      log: The log.
      topic: Topic.
      partition: Its number.
      applied: Last offset that the rows hold; -1: there are none.

    Raises:
      WrongLog: It does not.
    """
    first = log.first_offset(topic, partition)
    if max(applied, 0) < first:
        name = f"{topic}/{partition}"
        raise WrongLog(
            f"{name}: the log is kept from offset {first} on, the tables end at "
            f"{applied}, and there is no good snapshot at {first} or later. See "
            "`plaudit snapshots list`; set PLAUDIT_SNAPSHOTS_URL to where they are, or "
            "restore the tables or the whole log from a backup"
        )


def _log_id(log: Log, topic: str, partition: int) -> str | None:
    """Return the log id of a partition's genesis record, None where there is none."""
    first = log.read(topic, partition, 0, records_max=1)
    if not first or first[0].offset != 0:
        return None
    genesis = decode_record(first[0].key, first[0].value).messages[0]
    return getattr(genesis, "log_id", None)


def _entered(log: Log, topic: str, partition: int, records_max: int = 1) -> int | None:
    """Return `Processed.entered`, by the last records of the ledger."""
    if topic != USERS:
        return None
    end = log.end_offset(LEDGER, partition)
    offset = max(end - records_max, 0)
    found = None
    while records := log.read(LEDGER, partition, offset, records_max=records_max):
        for record in records:
            found = max(_stepped_to(record), -1 if found is None else found)
        offset = records[-1].offset + 1
        if offset >= end:
            break
    return found


def _stepped_to(record: Record) -> int:
    """Return the last offset of a ledger record's step; -1: a genesis record."""
    try:
        _version, header, _entries = _read_ledger(record.value)
    except msgspec.MsgspecError:
        return -1
    return header.offset
