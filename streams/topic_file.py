"""One topic of the embedded log: a SQLite file in WAL mode, one table a partition.

    p0, p1, ...  (offset INTEGER PRIMARY KEY, stamp_ms, key, value)
    meta         (name PRIMARY KEY, value): format, log_id, partitions

A commit is durable when it returns (``synchronous=FULL``: the WAL is synced). Several
processes may append; SQLite's write lock puts them one after the other, and each reads
the next offset under that lock, so offsets are contiguous whoever writes.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from streams.log import LogError, LogUnavailable, Record, UnknownTopic

FORMAT: Final = "1"
BUSY_TIMEOUT_MS: Final = 5_000
"""Longest wait for another process's commit."""
READ_BYTES_MAX: Final = 4_000_000
"""A read stops after the record that passes this."""
AUTOCHECKPOINT_PAGES: Final = 65_536
"""256 MB: far off the commit path; `checkpoint` comes long before it."""
CHECKPOINT_BYTES: Final = 8_000_000
"""WAL size from which `checkpoint` copies it into the file."""
RESTART_BYTES: Final = 64_000_000
"""WAL size from which `checkpoint` also holds writers up, to begin the WAL anew."""


class Row(NamedTuple):
    """One record to be stored in a partition of the topic."""

    partition: int
    key: bytes | None
    value: bytes


class TopicFile:
    """One topic's file; safe for threads."""

    def __init__(self, path: Path, clock_ms: Callable[[], int]) -> None:
        """Open a file that `create_topic` made.

        Args:
          path: The file.
          clock_ms: Wall clock, ms since the epoch.

        Raises:
          UnknownTopic: There is no such file.
          LogError: It cannot be read, or another format wrote it.
        """
        if not path.exists():
            raise UnknownTopic(f"{path} is missing. Run `plaudit init`")
        self.path = path
        self._clock_ms = clock_ms
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._writer = connect(path)
        self._reader = connect(path)
        try:
            meta = self._read_format()
        except LogError:
            self.close()
            raise
        self.log_id = meta["log_id"]
        self.partitions = int(meta["partitions"])

    def _read_format(self) -> dict[str, str]:
        """Return what the file says of itself."""
        with translated(self.path):
            self._reader.execute("PRAGMA query_only=1")
            meta = read_meta(self._reader)
        if not meta:
            raise UnknownTopic(f"{self.path} is not finished. Run `plaudit init`")
        if meta["format"] != FORMAT:
            raise LogError(
                f"{self.path} has format {meta['format']!r}, not {FORMAT!r}. "
                "Run the version of Plaudit that wrote it"
            )
        return meta

    def append(self, runs: Sequence[Sequence[Row]]) -> list[list[int]]:
        """Store runs of rows in one commit and return their offsets, in order.

        Raises:
          LogUnavailable: Nothing was stored, or (a failed disk) perhaps all of it.
        """
        with self._write_lock, translated(self.path):
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                offsets = self._insert(runs)
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    with contextlib.suppress(sqlite3.Error):
                        self._writer.execute("ROLLBACK")
                raise
        return offsets

    def _insert(self, runs: Sequence[Sequence[Row]]) -> list[list[int]]:
        """Insert rows under the write lock and return their offsets."""
        now_ms = self._clock_ms()
        heads: dict[int, tuple[int, int]] = {}
        inserts: dict[int, list[tuple[int, int, bytes | None, bytes]]] = {}
        offsets: list[list[int]] = []
        for run in runs:
            places: list[int] = []
            for partition, key, value in run:
                head = heads.get(partition) or self._head(partition, now_ms)
                offset, stamp_ms = head
                inserts.setdefault(partition, []).append((offset, stamp_ms, key, value))
                heads[partition] = (offset + 1, stamp_ms)
                places.append(offset)
            offsets.append(places)
        for partition, rows in inserts.items():
            self._writer.executemany(
                f"INSERT INTO p{partition} VALUES (?, ?, ?, ?)",  # noqa: S608 - an int
                rows,
            )
        return offsets

    def _head(self, partition: int, now_ms: int) -> tuple[int, int]:
        """Return the next offset of a partition and the stamp it gets."""
        row = self._writer.execute(
            f"SELECT offset, stamp_ms FROM p{self._checked(partition)}"  # noqa: S608
            " ORDER BY offset DESC LIMIT 1"
        ).fetchone()
        return (0, now_ms) if row is None else (row[0] + 1, max(now_ms, row[1]))

    def read(self, partition: int, offset: int, records_max: int) -> list[Record]:
        """Return records from an offset on; see `Log.read`."""
        records: list[Record] = []
        room = READ_BYTES_MAX
        with self._read_lock, translated(self.path):
            cursor = self._reader.execute(
                "SELECT offset, stamp_ms, key, value"  # noqa: S608 - an int
                f" FROM p{self._checked(partition)}"
                " WHERE offset >= ? ORDER BY offset LIMIT ?",
                (offset, records_max),
            )
            for row in cursor:
                records.append(Record._make(row))
                room -= len(row[3])
                if room < 0:
                    break
            # An open cursor would keep the WAL from being begun anew.
            cursor.close()
        return records

    def bounds(self, partition: int) -> tuple[int, int]:
        """Return the first offset kept and the next one, of a partition."""
        table = f"p{self._checked(partition)}"
        with self._read_lock, translated(self.path):
            first, last = self._reader.execute(
                f"SELECT (SELECT min(offset) FROM {table}),"  # noqa: S608 - an int
                f" (SELECT max(offset) FROM {table})"
            ).fetchone()
        return (0, 0) if last is None else (first, last + 1)

    def checkpoint(self) -> None:
        """Copy the WAL into the file where it has grown; writers go on meanwhile."""
        wal_bytes = self._wal_bytes()
        if wal_bytes < CHECKPOINT_BYTES:
            return
        with translated(self.path), contextlib.closing(connect(self.path)) as own:
            own.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            if wal_bytes >= RESTART_BYTES:
                # What is left is what was written during the copy above: little.
                own.execute("PRAGMA wal_checkpoint(RESTART)").fetchall()

    def _wal_bytes(self) -> int:
        try:
            return self.path.with_name(self.path.name + "-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def _checked(self, partition: int) -> int:
        if not 0 <= partition < self.partitions:
            raise UnknownTopic(f"{self.path.stem}-{partition} is not in this log")
        return partition

    def close(self) -> None:
        """Close the connections; idempotent."""
        with self._write_lock, self._read_lock:
            self._reader.close()
            self._writer.close()


def create_topic(
    path: Path, *, log_id: str, partitions: int, first: bytes, stamp_ms: int
) -> None:
    """Make a topic's file with one record in each partition; an existing one stays.

    Args:
      path: The file; its folder exists.
      log_id: The log's id.
      partitions: How many tables.
      first: Value of each partition's first record.
      stamp_ms: Its stamp.
    """
    with contextlib.closing(connect(path)) as file, translated(path):
        file.execute("PRAGMA journal_mode=WAL")
        file.execute("BEGIN IMMEDIATE")
        if not read_meta(file):
            file.execute("CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT)")
            file.executemany(
                "INSERT INTO meta VALUES (?, ?)",
                [
                    ("format", FORMAT),
                    ("log_id", log_id),
                    ("partitions", str(partitions)),
                ],
            )
            for partition in range(partitions):
                file.execute(
                    f"CREATE TABLE p{partition} (offset INTEGER PRIMARY KEY,"
                    " stamp_ms INTEGER NOT NULL, key BLOB, value BLOB NOT NULL)"
                )
                file.execute(
                    f"INSERT INTO p{partition} VALUES (0, ?, NULL, ?)",  # noqa: S608
                    (stamp_ms, first),
                )
        file.execute("COMMIT")


def read_meta(file: sqlite3.Connection) -> dict[str, str]:
    """Return what a file says of itself; empty where it was not finished."""
    if not file.execute(
        "SELECT 1 FROM sqlite_master WHERE type='table' AND name='meta'"
    ).fetchone():
        return {}
    return dict(file.execute("SELECT name, value FROM meta").fetchall())


def connect(path: Path) -> sqlite3.Connection:
    """Return a connection in autocommit mode with the log's settings.

    Raises:
      LogError: The file cannot be opened.
    """
    with translated(path):
        connection = sqlite3.connect(
            path,
            timeout=BUSY_TIMEOUT_MS / 1_000,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(f"PRAGMA wal_autocheckpoint={AUTOCHECKPOINT_PAGES}")
            connection.execute(f"PRAGMA journal_size_limit={RESTART_BYTES}")
        except sqlite3.Error:
            connection.close()
            raise
    return connection


_ADVICE: Final = {
    "SQLITE_BUSY": "another process holds it for too long. Try again",
    "SQLITE_FULL": "the disk is full. Free some space",
    "SQLITE_READONLY": "it cannot be written. Check the folder's permissions",
    "SQLITE_CANTOPEN": "it cannot be opened. Check the folder and its permissions",
    "SQLITE_PERM": "access is denied. Check the folder's permissions",
    "SQLITE_IOERR": "the disk failed. Check it",
}
_BROKEN: Final = frozenset({"SQLITE_CORRUPT", "SQLITE_NOTADB"})


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into the log's, with what to do."""
    try:
        yield
    except sqlite3.ProgrammingError as error:
        raise LogError(f"{path}: {error}. The log was closed") from error
    except sqlite3.Error as error:
        # Extended names, such as SQLITE_IOERR_WRITE, begin with the plain one.
        name = "_".join(getattr(error, "sqlite_errorname", "").split("_")[:2])
        if name in _ADVICE:
            raise LogUnavailable(f"{path}: {_ADVICE[name]}") from error
        if name in _BROKEN:
            raise LogError(
                f"{path} is damaged ({error}). Restore it from a copy"
            ) from error
        raise LogError(f"{path}: {error}") from error
