"""Checks before a fold: do the log, its committed offset and the rows belong together?

Each check reads a record or two. What fails stops the worker with a message that says
what to do: folding on would publish again what was published, or give new records the
numbers of lost ones.
"""

from typing import Protocol

from rules.errors import PlauditError
from streams.log import GroupLog, Log, LogUnavailable
from streams.messages import decode_record
from streams.silent import entered
from streams.stepper import WrongLog, record_hash


def check_log(log: GroupLog, group: str, topic: str, partition: int) -> int:
    """Return a partition's committed offset, once the log is known to reach it.

    Raises:
      WrongLog: The log lost its tail, or was never initialised.
    """
    name = f"{topic}/{partition}"
    committed = log.committed(group, topic, partition)
    if committed is None:
        raise WrongLog(f"{name} has no committed offset: run `plaudit init`")
    last = entered(log, topic, partition)
    processed = max(committed, 0 if last is None else last + 1)
    # Asked for last: another worker may be folding what has come meanwhile.
    end = log.end_offset(topic, partition)
    if processed > end:
        raise WrongLog(
            f"{name} was processed up to offset {processed - 1}, its log ends at "
            f"{end}: the log lost its tail. Restore all topics of the log together, "
            "from one copy (embedded: the log folder); then run `plaudit rebuild`"
        )
    return committed


class Folded(Protocol):
    """Says up to which record of which log rows are folded."""

    @property
    def log_id(self) -> str:
        """Log that they were folded from."""

    @property
    def offset(self) -> int:
        """Last offset that they hold."""

    @property
    def record_hash(self) -> str:
        """Hash of the record there."""


def misfit(log: Log, topic: str, partition: int, row: Folded) -> str | None:
    """Return why a snapshot's rows are not of this log, as it is now; None: they are.

    Raises:
      LogError: The log cannot be asked.
    """
    try:
        check_row(log, topic, partition, row)
    except WrongLog as error:
        return str(error)
    return None


def check_row(log: Log, topic: str, partition: int, row: Folded) -> None:
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


def out_of_range(log: Log, topic: str, partition: int, offset: int) -> PlauditError:
    """Return what it means that the brokers have no such offset, which comes next."""
    name = f"{topic}/{partition}"
    first = log.first_offset(topic, partition)
    end = log.end_offset(topic, partition)
    if first <= offset <= end:
        return LogUnavailable(
            f"{name}: a broker that is behind did not know offset {offset}; start again"
        )
    return WrongLog(
        f"{name}: offset {offset} comes next, the log holds {first} to {end}: records "
        "were deleted before they were folded, or the log lost its tail. Restore all "
        "topics together, from one copy"
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
