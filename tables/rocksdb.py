"""The store on RocksDB: one database per partition, its memory shared by the process.

Writes go to the write-ahead log without a sync, so that they survive `kill -9`;
`flush` syncs it. After a crash RocksDB recovers to a prefix of what was written, and
the machine folds the rest of the log again. rocksdict runs in raw mode: bytes stay
bytes. Its files are in D/state/<topic>-<partition>/<epoch>/ (tables/epoch.py), its
settings and memory in tables/rocks_options.py.
"""

import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from rocksdict import (
    AccessType,
    Checkpoint,
    DbClosedError,
    Rdict,
    RdictIter,
    ReadOptions,
    WriteBatch,
)

from rules.errors import one_line
from tables import keys
from tables.epoch import REMEDY, holds_database
from tables.errors import StoreClosed, StoreCorrupt, StoreFailed, TableError
from tables.manifest import Extent, lost_its_end, manifest_extent
from tables.rocks_options import SharedResources, database_options, process_resources
from tables.store import Batch


def open_database(
    path: Path,
    resources: SharedResources,
    access: AccessType | None = None,
    *,
    create: bool = False,
) -> Rdict:
    """Open a database with our options.

    Args:
      path: Its folder.
      resources: Memory to share.
      access: How; None: for writing.
      create: Whether one is made where there is none. Of an old one that lost its
        CURRENT, RocksDB would make a new one, of the newest write-ahead log alone.

    Raises:
      StoreCorrupt: The files cannot be read.
      StoreFailed: Another process holds it, or the disk refuses.
    """
    options = database_options(resources)
    options.create_if_missing(create)
    # Unless the column family is named, rocksdict opens an existing database with the
    # options it finds there, which keep neither the cache nor the filters.
    families = {"default": options}
    try:
        return Rdict(str(path), options, families, access or AccessType.read_write())
    except Exception as error:
        problem = failure(error)
        if any(sign in str(error) for sign in _LOST):
            problem = _unreadable(str(error))
        raise type(problem)(f"{path}: {problem}") from error


_LOST: Final = ("(create_if_missing is false)", "No such file or directory")
"""What RocksDB says when it opens and a file is gone that tells of the others."""
_ADVICE: Final = {
    "No space left on device": "the disk is full: free some space, then start again",
    "Disk quota exceeded": "the disk quota is used up: free some, then start again",
    "File too large": "a file may not grow: raise the limit, then start again",
    "Read-only file system": "the tables cannot be written: mount the disk writable",
    "Permission denied": "the tables cannot be written: check their permissions",
    "While lock file": "another process has the tables open: stop it first",
}


def failure(error: Exception) -> TableError:
    """Return our error for one of rocksdict's, which tells them apart by words only."""
    text = one_line(str(error))
    if isinstance(error, DbClosedError):
        return StoreClosed("the store is closed")
    if text.startswith("Corruption"):
        return _unreadable(text)
    for sign, advice in _ADVICE.items():
        if sign in text:
            return StoreFailed(f"{advice} ({text})")
    return StoreFailed(f"RocksDB failed: {text}. Check the disk, then start again")


def _unreadable(text: str) -> StoreCorrupt:
    return StoreCorrupt(f"RocksDB cannot read its files ({one_line(text)}). {REMEDY}")


class RocksReader:
    """Reads of one open database; the base of the owner's store and of readers.

    Every `except Exception` here translates and raises: rocksdict's own errors are
    plain `Exception`.
    """

    def __init__(self, database: Rdict) -> None:
        """Wrap an open database."""
        self._database = database

    def get(self, key: bytes) -> bytes | None:
        """Return a value, or None."""
        try:
            value: bytes | None = self._database.get(key)
        except Exception as error:
            raise failure(error) from error
        return value

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of many keys, in their order."""
        try:
            values: list[bytes | None] = self._database.get(list(keys))
        except Exception as error:
            raise failure(error) from error
        return values

    def scan(
        self, begin: bytes, end: bytes, *, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Return (key, value) of [begin, end) in key order, at most `limit`.

        The rows are those of the moment of the call. An iterator that is neither
        finished nor dropped keeps the files open beyond `close`.
        """
        if begin >= end:
            return iter(())
        bounds = ReadOptions()
        bounds.set_iterate_upper_bound(end)
        try:
            cursor = self._database.iter(bounds)
            cursor.seek(begin)
        except Exception as error:
            raise failure(error) from error
        return islice(_rows(cursor, bounds), limit)


def _rows(cursor: RdictIter, bounds: ReadOptions) -> Iterator[tuple[bytes, bytes]]:
    """Yield what a cursor meets up to its bound.

    Args:
      cursor: Stands at the first row.
      bounds: What the cursor was made with. RocksDB keeps a pointer to the bound in it,
        so it must live as long as the cursor: otherwise the cursor stops wherever the
        freed memory says.

    Raises:
      StoreCorrupt: The rows end early because RocksDB cannot read on. rocksdict's own
        `items` would end quietly.
    """
    while cursor.valid():
        yield cursor.key(), cursor.value()
        cursor.next()
    del bounds
    try:
        cursor.status()
    except Exception as error:
        raise failure(error) from error


class RocksSecondary(RocksReader):
    """A database that another process writes (tables/secondary.py follows it)."""

    def __init__(self, path: Path, scratch: Path, resources: SharedResources) -> None:
        """Open what the owner has written so far.

        Args:
          path: The owner's folder. It must hold a database: rocksdict would create the
            folder of one that does not exist.
          scratch: A folder of this reader's own.
          resources: Memory to share.

        Raises:
          StoreFailed: The owner deleted files meanwhile. Try again.
          StoreCorrupt: The files cannot be read.
        """
        scratch.mkdir(parents=True, exist_ok=True)
        access = AccessType.secondary(str(scratch))
        super().__init__(open_database(path, resources, access))

    def catch_up(self) -> None:
        """See what the owner wrote before this call.

        Raises:
          StoreFailed: Files that it needs are gone. Open anew.
        """
        try:
            self._database.try_catch_up_with_primary()
        except Exception as error:
            raise failure(error) from error


class RocksBatch:
    """Writes that land together; `put` and `delete` are rocksdict's own."""

    __slots__ = ("delete", "put", "raw")

    def __init__(self) -> None:
        """Begin empty."""
        self.raw = WriteBatch(raw_mode=True)
        self.put = self.raw.put
        self.delete = self.raw.delete

    def delete_range(self, begin: bytes, end: bytes) -> None:
        """Remove all keys in [begin, end).

        Raises:
          ValueError: `begin` is greater than `end`. RocksDB would notice only in the
            middle of the write, keep one half and refuse every write after it.
        """
        if begin > end:
            raise ValueError("a range ends before it begins")
        self.raw.delete_range(begin, end)


def _check_manifest(path: Path, resources: SharedResources) -> None:
    """Check that a database's MANIFEST has its end.

    For reading, which changes nothing: to open it for writing makes another MANIFEST,
    in which the next start would find nothing wrong.

    Raises:
      StoreCorrupt: It has not, or the files cannot be read.
      StoreFailed: The disk refuses.
      UnknownFormat: A newer version wrote the heartbeat row.
    """
    found = manifest_extent(path)
    access = AccessType.read_only(error_if_log_file_exist=False)
    database = open_database(path, resources, access)
    try:
        heartbeat = RocksReader(database).get(keys.HEARTBEAT)
    finally:
        database.close()
    if lost_its_end(found, heartbeat):
        raise StoreCorrupt(
            f"{path}: RocksDB cannot read its files (its MANIFEST lost its end). "
            f"{REMEDY}"
        )


class RocksStore(RocksReader):
    """One partition's rows, owned by this process; one thread writes at a time."""

    def __init__(
        self,
        path: Path,
        resources: SharedResources | None = None,
        *,
        create: bool = True,
    ) -> None:
        """Open a database.

        Args:
          path: Its folder; the parent exists or is created.
          resources: Memory to share; None: what the process shares.
          create: Whether it is made where there is none; False for rows that were
            there before, of which none must not mean new ones.

        Raises:
          StoreCorrupt: The files cannot be read, or less of them than there was.
          StoreFailed: Another process holds it, or the disk refuses.
          UnknownFormat: A newer version wrote the heartbeat row.
        """
        self._closing = threading.Lock()
        self._closed = False
        self._path = path
        shared = resources or process_resources()
        if create:
            path.mkdir(parents=True, exist_ok=True)
        else:
            _check_manifest(path, shared)
        super().__init__(open_database(path, shared, create=create))

    def batch(self) -> Batch:
        """Return an empty batch."""
        if self._closed:
            raise StoreClosed("the store is closed")
        return RocksBatch()

    def write(self, batch: Batch) -> None:
        """Store a batch atomically, in order of its calls; survives kill -9.

        A batch can be written once.

        Raises:
          StoreFailed: The disk is full or refuses; nothing can be written until the
            store is opened again.
        """
        if not isinstance(batch, RocksBatch):
            raise TypeError("the batch comes from another store")
        try:
            self._database.write(batch.raw)
        except Exception as error:
            raise failure(error) from error

    def is_there(self) -> bool:
        """Return whether the folder still holds a database."""
        return holds_database(self._path)

    def manifest(self) -> Extent | None:
        """Return how far the MANIFEST goes; the heartbeat row is to note it."""
        return manifest_extent(self._path)

    def flush(self) -> None:
        """Make what was written survive power loss: sync the write-ahead log."""
        try:
            self._database.flush_wal(True)
        except Exception as error:
            raise failure(error) from error

    def checkpoint(self, folder: Path) -> None:
        """Make a folder that is a database of the rows as they are now.

        It holds hard links, so it costs no space; what is in memory is written to a
        file first, 25 ms for a full buffer. Readers miss what was written before until
        the next write (RocksDB #14444): write once more.

        Args:
          folder: Does not exist; on the same file system.

        Raises:
          StoreFailed: The disk is full or refuses.
        """
        try:
            Checkpoint(self._database).create_checkpoint(str(folder))
        except Exception as error:
            raise failure(error) from error

    def close(self) -> None:
        """Close; later calls raise `StoreClosed`. Idempotent."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            try:
                self._database.close()
            except Exception as error:
                raise failure(error) from error
