"""Rebuild: a partition's rows from the log alone, into a new epoch.

    draft epoch -> silent fold up to the committed offset -> compare -> swap

The fold publishes nothing and stops at the group's committed offset; the next worker
goes on from there. The rows in force stay untouched until the swap. A rebuild that was
interrupted goes on with its draft. The caller holds the folder's lock.
"""

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import msgspec

from rules.errors import PlauditError
from streams.checks import check_log, check_row
from streams.log import GroupLog, Record
from streams.silent import SilentFold
from streams.skips import skipped_offsets, with_skips
from streams.stepper import Parked, Stepper, WrongLog
from streams.topics import GROUP
from tables import codec, epoch, keys
from tables.compare import first_difference, live_rows
from tables.errors import TableError
from tables.rocksdb import RocksStore
from tables.store import Reader, Store

Show: TypeAlias = Callable[[int, float], None]
"""Told (messages folded so far, part of the whole, 0..1) now and then."""


class Rebuilt(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What a rebuild made of one partition.

    Attributes:
      offset: Last offset that the new rows hold; -1: none.
      messages: Messages they were folded from.
      identical: Whether they equal the rows that were there; None: not compared.
      difference: Kind of the first row that differs, or why nothing was compared.
      difference_key: Its key in hex.
    """

    topic: str
    partition: int
    offset: int
    messages: int
    identical: bool | None = None
    difference: str | None = None
    difference_key: str | None = None


class RebuildFailed(PlauditError):
    """The log cannot be folded to its end. The rows that were there stay in force."""


class _Old:
    """The rows in force, where there are any that can be read and belong to the log.

    Attributes:
      store: The rows, or None.
      problem: Why there are none to compare with.
      next_offset: Where they end.
    """

    def __init__(self, log: GroupLog, folder: Path, place: tuple[str, int]) -> None:
        self.store: RocksStore | None = None
        self.problem = "there were no tables"
        self.next_offset = -1
        try:
            path = epoch.open_current(folder)
            if path is None:
                return
            self.store = RocksStore(path, create=False)
            stored = self.store.get(keys.PARTITION)
            if stored is None:
                self._give_up("the tables were empty")
                return
            row = codec.partition_rows.decode(stored)
            check_row(log, *place, row)
            self.next_offset = row.offset + 1
        except (TableError, WrongLog) as error:
            self._give_up(_reason(error))

    def _give_up(self, problem: str) -> None:
        self.problem = problem
        self.close()

    def close(self) -> None:
        """Close the rows, if there are any; idempotent."""
        if self.store is not None:
            self.store.close()
            self.store = None


def _reason(error: Exception) -> str:
    """Return what was wrong, without the advice to do what is being done."""
    return str(error).removesuffix(f". {epoch.REMEDY}")


def _compared(
    old: Reader, new: Reader, clock_ms: int
) -> tuple[bool | None, str | None, bytes | None]:
    """Return what a `Rebuilt` says of a comparison: identical, difference and key.

    Raises:
      TableError: The new rows cannot be read.
    """
    try:
        key = first_difference(old, new, clock_ms)
    except TableError as error:
        # Which of the two? Old rows may be damaged, that is why new ones are made.
        deque(live_rows(new, clock_ms), maxlen=0)
        return None, _reason(error), None
    return key is None, keys.kind_of(key) if key else None, key


class Rebuild:
    """The rebuild of one partition."""

    def __init__(
        self,
        log: GroupLog,
        data_dir: Path,
        place: tuple[str, int],
        tzdata_version: str,
        wall_ms: Callable[[], int],
    ) -> None:
        """Name a partition; nothing is read or written yet.

        Args:
          log: The log.
          data_dir: The data folder; the caller holds its lock.
          place: Topic and partition.
          tzdata_version: Time-zone data that this program carries.
          wall_ms: The wall clock, only ever compared with stamps.
        """
        self._log = log
        self._folder = epoch.state_folder(data_dir, *place)
        self._place = place
        self._tzdata_version = tzdata_version
        self._wall_ms = wall_ms
        self._unread: deque[Record] = deque()

    def run(self, show: Show) -> Rebuilt:
        """Fold, compare, swap.

        Raises:
          WrongLog: The log does not reach what was processed.
          RebuildFailed: A record cannot be folded, or the log's beginning is not kept.
          TableError: The new rows cannot be written.
        """
        self._check_beginning()
        committed = check_log(self._log, GROUP, *self._place)
        old = _Old(self._log, self._folder, self._place)
        try:
            if old.next_offset > committed:
                # Stored, and so published, but not committed before a crash.
                committed = old.next_offset
                self._log.commit(GROUP, {self._place: committed})
            path, store = self._open_draft()
            try:
                rebuilt = self._fill(store, old, committed, show)
                store.flush()
            finally:
                store.close()
        finally:
            old.close()
        epoch.swap(self._folder, path)
        epoch.drop_old(self._folder)
        return rebuilt

    def _check_beginning(self) -> None:
        first = self._log.first_offset(*self._place)
        if first > 0:
            raise RebuildFailed(
                f"{self._place[0]}/{self._place[1]} cannot be rebuilt: the log is kept "
                f"from offset {first} on. Move {self._folder} away: the next worker "
                "restores the newest snapshot"
            )

    def _open_draft(self) -> tuple[Path, RocksStore]:
        """Return the draft to go on with, or a new one."""
        path = epoch.open_draft(self._folder)
        # One that a snapshot made is not from the log alone.
        if path is not None and not epoch.is_restored(self._folder, path):
            store: RocksStore | None = None
            try:
                store = RocksStore(path, create=False)
                row = self._stepper(store).row
                if row is not None:
                    check_row(self._log, *self._place, row)
            except (TableError, WrongLog):
                # Of no use, whatever the reason: the log has it all.
                if store is not None:
                    store.close()
            else:
                return path, store
        path = epoch.new_draft(self._folder)
        return path, RocksStore(path)

    def _stepper(self, store: Store) -> Stepper:
        return Stepper(store, *self._place, self._tzdata_version, self._wall_ms)

    def _fill(self, store: Store, old: _Old, committed: int, show: Show) -> Rebuilt:
        """Fold up to the committed offset; compare where the old rows end."""
        stepper = self._stepper(store)
        stepper.skipped = skipped_offsets(self._log, *self._place)
        silent = SilentFold(self._log, *self._place, committed)
        identical: bool | None = None
        difference: str | None = old.problem
        differing_key: bytes | None = None
        if old.store is not None:
            difference = "an earlier rebuild had gone past what was there"
            if stepper.next_offset <= old.next_offset:
                self._fold(stepper, old.next_offset, silent, show)
                row = stepper.row
                clock_ms = 0 if row is None else row.clock_ms
                identical, difference, differing_key = _compared(
                    old.store, store, clock_ms
                )
        self._fold(stepper, committed, silent, show)
        row = stepper.row
        show(0 if row is None else row.number, 1.0)
        return Rebuilt(
            topic=self._place[0],
            partition=self._place[1],
            offset=stepper.next_offset - 1,
            messages=0 if row is None else row.number,
            identical=identical,
            difference=difference,
            difference_key=differing_key.hex() if differing_key else None,
        )

    def _fold(self, stepper: Stepper, end: int, silent: SilentFold, show: Show) -> None:
        """Fold and store all records below `end`."""
        while (first := stepper.next_offset) < end:
            row = stepper.row
            show(0 if row is None else row.number, first / silent.committed)
            records = silent.take(first, self._records(stepper, end))
            try:
                step = stepper.step(records)
                silent.check(first, step)
                stepper.store(step)
            except Parked as fault:
                topic, partition = self._place
                raise RebuildFailed(
                    f"{topic}/{partition} cannot be rebuilt past offset "
                    f"{fault.offset}: {fault}. The tables that were there are still "
                    "in force. Mend what stands at that offset, or run the Plaudit "
                    "that folded it; then run `plaudit rebuild` again"
                ) from fault

    def _records(self, stepper: Stepper, end: int) -> list[Record]:
        """Return what stands from the stepper's place on, below `end`, as folded."""
        unread = self._unread
        offset = stepper.next_offset
        while unread and unread[0].offset < offset:
            unread.popleft()
        if not unread:
            unread.extend(self._log.read(*self._place, offset))
        records = with_skips(list(unread), offset, stepper.skipped)
        below = [record for record in records if record.offset < end]
        # None below it: a hole, which the stepper tells from what comes next.
        return below or records[:1]
