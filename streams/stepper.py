"""The synchronous half of a machine: fold a run of records, then store what it made.

A stepper owns one partition's store for one assignment. It knows how far it is; it
refuses anything but the very next record.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import msgspec

from rules.errors import InvariantError, PlauditError, Rejection
from rules.ledger import IdSpace
from rules.message import Genesis
from rules.outcome import Place
from streams.fold import Fold, FoldFault, Home, bury
from streams.log import Record
from streams.messages import (
    Decoded,
    UndecodableRecord,
    UnknownVersion,
    decode_record,
)
from streams.orgs_fold import OrgsFold
from streams.sheet import Sheet
from streams.topics import ORGS, USERS
from streams.users_fold import UsersFold
from tables import codec, keys
from tables.codec import PartitionRow
from tables.errors import TableError
from tables.store import Store

SEMANTICS_VERSION: Final = 1
STEP_MESSAGES_MAX: Final = 4_000
"""Messages of a step, about: what a user did within it is stored and mirrored once, and
it waits once for acknowledgements; readers of the mirror wait some 30 ms for it."""
CLOCK_AHEAD_MAX_MS: Final = 300_000
"""How far a stamp may be ahead of the wall clock before the partition parks."""

_FOLDS: Final[dict[str, Callable[[Store, Home], Fold]]] = {
    USERS: UsersFold,
    ORGS: OrgsFold,
}


Run: TypeAlias = list[tuple[Record, Decoded]]
"""Records of one step, in order, with what they hold."""


class Parked(PlauditError):
    """A record cannot be folded. Mend the cause, or `plaudit skip TOPIC/P@OFFSET`.

    Attributes:
      offset: The record.
      retry_at_ms: Wall clock from which on it can be folded; None: only a person helps.
      skippable: Whether going on without the record would help.
    """

    def __init__(
        self,
        offset: int,
        reason: str,
        *,
        retry_at_ms: int | None = None,
        skippable: bool = True,
    ) -> None:
        super().__init__(reason)
        self.offset = offset
        self.retry_at_ms = retry_at_ms
        self.skippable = skippable


class WrongLog(PlauditError):
    """The tables were folded from another log, or the log lost its end.

    Restore the log that belongs to them, or run `plaudit rebuild`.
    """


class Step(msgspec.Struct):
    """A folded run of records, not yet published or stored.

    Attributes:
      sheet: What to publish and write.
      row: The partition row once it is stored.
      home: The partition it belongs to.
    """

    sheet: Sheet
    row: PartitionRow
    home: Home


def _refused(code: str, why: str) -> Decoded:
    """Return what a record counts as that cannot be read: one refused message."""
    return Decoded([Rejection(code, why)], plain=False)


def record_hash(value: bytes) -> str:
    """Return what a partition row remembers of a record, 32 hex digits."""
    return hashlib.blake2b(value, digest_size=16).hexdigest()


class Stepper:
    """Folds and stores the steps of one partition, one at a time.

    Attributes:
      row: How far the partition is stored; None: nothing yet.
      skipped: Offsets that the operator skipped: each is one refused message.
    """

    def __init__(
        self,
        store: Store,
        topic: str,
        partition: int,
        tzdata_version: str,
        wall_ms: Callable[[], int],
    ) -> None:
        """Take over a partition where its rows left it.

        Args:
          store: The partition's rows; the stepper becomes their only writer.
          topic: ``users`` or ``orgs``.
          partition: Its number.
          tzdata_version: Time-zone data that this program carries.
          wall_ms: The wall clock, only ever compared with stamps.
        """
        self._store = store
        self._topic = topic
        self._partition = partition
        self._tzdata_version = tzdata_version
        self._wall_ms = wall_ms
        self._fold: Fold | None = None
        self._home: Home | None = None
        self.skipped: set[int] = set()
        self._expired = keys.expiries(-1)
        stored = store.get(keys.PARTITION)
        self.row: PartitionRow | None = (
            None if stored is None else codec.partition_rows.decode(stored)
        )

    @property
    def next_offset(self) -> int:
        """The only offset that the next step may begin with."""
        return 0 if self.row is None else self.row.offset + 1

    def step(
        self, records: Sequence[Record], messages_max: int = STEP_MESSAGES_MAX
    ) -> Step:
        """Fold a run of records; nothing is published or stored yet.

        Stops early, with fewer records than given, at about `messages_max` messages.

        Args:
          records: What stands in the log from `next_offset` on, at least one.
          messages_max: Messages a step holds at most, unless one record holds more.

        Raises:
          Parked: The first record cannot be folded. (A later one ends the run.)
        """
        run = self._decode(records, messages_max)
        while True:
            try:
                return self._fold_run(run)
            except _Unfoldable as fault:
                # What the fold has in memory is spoilt; the rows are not.
                self._fold = None
                if fault.position == 0:
                    raise Parked(run[0][0].offset, str(fault)) from fault
                run = run[: fault.position]

    def store(self, step: Step) -> None:
        """Write a published step, in one batch, onto the position before it."""
        self._expired = step.sheet.close(step.row, self._expired)
        self._store.write(step.sheet.batch)
        self.row = step.row
        if self._fold is not None:
            self._fold.end()

    def _decode(self, records: Sequence[Record], messages_max: int) -> Run:
        run: Run = []
        messages = 0
        offset = self.next_offset
        for record in records:
            if record.offset != offset:
                if run:
                    break
                raise Parked(
                    offset, f"offset {offset} is missing: next is {record.offset}"
                )
            try:
                decoded = self._decode_record(record)
            except Parked:
                if run:
                    break
                raise
            if run and messages + len(decoded.messages) > messages_max:
                break
            run.append((record, decoded))
            messages += len(decoded.messages)
            offset += 1
        return run

    def _decode_record(self, record: Record) -> Decoded:
        ahead_ms = record.stamp_ms - self._wall_ms()
        if ahead_ms > CLOCK_AHEAD_MAX_MS:
            raise Parked(
                record.offset,
                f"the log's stamp is {math.ceil(ahead_ms / 60_000)} minutes ahead of "
                "this machine's clock: set the clocks right, and the partition goes on "
                "by itself",
                retry_at_ms=record.stamp_ms - CLOCK_AHEAD_MAX_MS,
            )
        if record.offset in self.skipped:
            return _refused("SKIPPED", "skipped by the operator")
        try:
            return decode_record(record.key, record.value)
        except UndecodableRecord as error:
            return _refused("UNDECODABLE_RECORD", str(error))
        except UnknownVersion as error:
            raise Parked(record.offset, f"{error}: run a newer Plaudit") from error
        except _STOPS:
            raise
        except Exception as error:
            # A bug of ours: it must park here, where it can be skipped.
            raise Parked(record.offset, _why(error)) from error

    def _fold_run(self, run: Run) -> Step:
        row = self.row or _first_row(run[0])
        self._check_versions(row)
        fold, home = self._open(row)
        ids = home.ids
        sheet = Sheet(self._store)
        number = row.number
        clock_ms = row.clock_ms
        digest = row.digest
        first = 1 if self.row is None else 0
        messages = [item for _, decoded in run for item in decoded.messages]
        # Of what fails for the whole run nobody knows whose fault it is: half of it is
        # tried, down to one record.
        half = len(run) // 2
        blamed = half
        try:
            fold.begin(sheet, messages, clock_ms)
            for position, (record, (items, plain)) in enumerate(run):
                blamed = position
                clock_ms = max(clock_ms, record.stamp_ms)
                offset = record.offset
                for index, item in enumerate(items):
                    place = Place(ids, number, clock_ms, offset, index, plain)
                    number += 1
                    if isinstance(item, Rejection):
                        bury(sheet, home, place, item, None)
                    elif first:
                        first = 0  # The genesis record itself.
                    else:
                        fold.fold(item, place)
                digest = sheet.take_digest(digest)
            blamed = half
            fold.flush()
        except _STOPS:
            raise
        except Exception as error:
            raise _Unfoldable(blamed, error) from error
        last = run[-1][0]
        return Step(
            sheet,
            msgspec.structs.replace(
                row,
                offset=last.offset,
                record_hash=record_hash(last.value),
                number=number,
                clock_ms=clock_ms,
                digest=digest,
            ),
            home,
        )

    def _open(self, row: PartitionRow) -> tuple[Fold, Home]:
        if self._fold is None or self._home is None:
            ids = IdSpace(row.log_id, self._topic, self._partition)
            self._home = Home(
                row.log_id, self._topic, self._partition, row.partitions, ids
            )
            self._fold = _FOLDS[self._topic](self._store, self._home)
        return self._fold, self._home

    def _check_versions(self, row: PartitionRow) -> None:
        """Park where the log asks for a version that this program does not carry."""
        if row.semantics_version != SEMANTICS_VERSION:
            raise Parked(
                self.next_offset,
                f"the log asks for semantics {row.semantics_version}: run the Plaudit "
                "that has them",
                skippable=False,
            )
        if row.tzdata_version != self._tzdata_version:
            raise Parked(
                self.next_offset,
                f"the log asks for tzdata {row.tzdata_version}, this is "
                f"{self._tzdata_version}: install the one it asks for",
                skippable=False,
            )


def _first_row(first: tuple[Record, Decoded]) -> PartitionRow:
    """Return the row before anything is folded, from the genesis record."""
    record, decoded = first
    genesis = decoded.messages[0]
    if not isinstance(genesis, Genesis) or record.offset != 0:
        raise Parked(
            record.offset,
            "the partition does not begin with a genesis record: restore its log",
            skippable=False,
        )
    return PartitionRow(
        log_id=genesis.log_id,
        offset=-1,
        record_hash="",
        number=0,
        clock_ms=0,
        digest="",
        semantics_version=genesis.semantics_version,
        partitions=genesis.partitions,
        tzdata_version=genesis.tzdata_version,
    )


_STOPS: Final = (TableError, OSError, MemoryError)
"""What is no fault of the message: the worker stops before it writes."""


class _Unfoldable(FoldFault):
    """A run cannot be folded beyond a position; where that is 0, its first record."""

    def __init__(self, position: int, error: Exception) -> None:
        super().__init__(_why(error))
        self.position = position


def _why(error: Exception) -> str:
    """Return why a record cannot be folded, and what may help."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, PlauditError) and not isinstance(error, InvariantError):
        return text
    return (
        f"{text} (a fault of this program, or of who wrote the record): run a newer "
        "Plaudit, if there is one"
    )
