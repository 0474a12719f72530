"""A reader of rows that another process writes: RocksDB's secondary instance.

A secondary follows its owner's files and sees every write, synced or not, once
`refresh` has been called after it. It knows epochs (tables/epoch.py): when another one
is in force, or the owner deleted a file too soon, it opens the database anew.

RocksDB #14444: what was written between a catch-up and a flush of the owner stays
invisible until the owner writes once more. The owner's heartbeat row is that write.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from tables import epoch
from tables.errors import StoreClosed, StoreCorrupt, StoreFailed, ViewUnavailable
from tables.rocks_options import SharedResources
from tables.rocksdb import RocksSecondary

LOCK_WAIT_S = 5.0
"""How long a call waits for another thread's before the view counts as unavailable."""
SETTLE_ATTEMPTS_MAX = 10
"""Catch-ups of a database that was just opened, until none is met by a flush."""
OPEN_ATTEMPTS_MAX = 3
"""The owner may swap epochs or compact files away while a database is being opened."""

Signature: TypeAlias = tuple[tuple[str, int], ...]
Identity: TypeAlias = tuple[int, int]


def signature_of(path: Path) -> Signature:
    """Return (name, bytes) of a database's write-ahead logs and manifests.

    As long as it stays the same there is nothing new; empty: unknown. It costs 16 us,
    catching up to nothing new 550 us.
    """
    try:
        with os.scandir(path) as files:
            found = [
                (file.name, file.stat().st_size)
                for file in files
                if file.name.endswith(".log") or file.name.startswith("MANIFEST-")
            ]
    except FileNotFoundError:
        # The owner deleted one between the listing and the look.
        return ()
    return tuple(sorted(found))


def identity_of(path: Path) -> Identity | None:
    """Return what tells a database from another one made later in the same place.

    Tables that were lost and made anew have the names of those before. A reader that
    went on with them would mix the two.
    """
    try:
        file = os.stat(f"{path}/IDENTITY")  # noqa: PTH116 - on a hot path
    except OSError:
        return None
    return file.st_ino, file.st_mtime_ns


def _settle(path: Path, reader: RocksSecondary) -> Signature:
    """Catch a reader up that was just opened; return the signature that it has seen.

    Opening reads which tables there are, then the write-ahead logs. What the owner
    flushes in between, and it flushes all at its own start, is in neither: the table
    is too new and the log is gone. So it is done again until nothing was flushed
    meanwhile.

    Raises:
      StoreFailed: The owner flushes again and again.
    """
    for _attempt in range(SETTLE_ATTEMPTS_MAX):
        before = signature_of(path)
        reader.catch_up()
        if _flushed(before) == _flushed(signature_of(path)):
            return before
    raise StoreFailed(f"{path.name} changes too fast to be opened. Try again")


def _flushed(signature: Signature) -> Signature:
    """Return the part of a signature that a flush changes, and a write does not."""
    return tuple(
        (name, 0 if name.endswith(".log") else size) for name, size in signature
    )


class SecondaryReader:
    """Reads of the epoch in force of one partition. Safe for threads."""

    def __init__(
        self,
        folder: Path,
        scratch: Path,
        resources: SharedResources,
        find: Callable[[Path], Path | None] = epoch.open_current,
    ) -> None:
        """Open nothing yet: `refresh` does.

        Args:
          folder: The partition's `epoch.state_folder`; may be missing.
          scratch: A folder of this reader's own, for RocksDB's info log (2 MiB).
          resources: Memory that this process's readers share.
          find: Which epoch of the folder to read.
        """
        self._folder = folder
        self._find = find
        self._scratch = scratch
        self._resources = resources
        self._lock = threading.RLock()
        self._reader: RocksSecondary | None = None
        # What is open: where it is, and which database it was there.
        self._opened: tuple[Path, Identity | None] | None = None
        self._signature: Signature = ()
        # Where the epoch in force was found last, and by which pointer to it.
        self._found: Path | None = None
        self._pointer: tuple[int, int] | None = None
        self._closed = False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other threads' calls out: what is read inside belongs together.

        Raises:
          ViewUnavailable: Another thread holds it for `LOCK_WAIT_S`, or RocksDB failed
            inside; the next `refresh` opens the database anew.
        """
        if not self._lock.acquire(timeout=LOCK_WAIT_S):
            raise ViewUnavailable(f"{self._folder.name} is busy")
        try:
            yield
        except (StoreCorrupt, StoreFailed) as error:
            self._forget()
            raise ViewUnavailable(f"{self._folder.name}: {error}") from error
        finally:
            self._lock.release()

    def get(self, key: bytes) -> bytes | None:
        """Return a value, or None."""
        with self.locked():
            return self._current().get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of many keys, in their order."""
        with self.locked():
            return self._current().get_many(keys)

    def scan(
        self, begin: bytes, end: bytes, *, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Return (key, value) of [begin, end) in key order, at most `limit`.

        The rows are read before it returns: bound the range or give a limit.
        """
        with self.locked():
            return iter(list(self._current().scan(begin, end, limit=limit)))

    def together(
        self, points: Sequence[bytes], ranges: Sequence[tuple[bytes, bytes]]
    ) -> tuple[list[bytes | None], list[list[bytes]]]:
        """Return values of rows, and of ranges, that belong to one instant."""
        with self.locked():
            reader = self._current()
            lists = [[value for _, value in reader.scan(*one)] for one in ranges]
            return reader.get_many(points), lists

    def refresh(self) -> None:
        """See all that the owner wrote before this call.

        Costs about 1 ms when there is something new, 0.03 ms when there is not.

        Raises:
          ViewUnavailable: There is no state now; a later call may succeed.
          StoreClosed: The reader is closed.
        """
        with self.locked():
            if self._closed:
                raise StoreClosed("the reader is closed")
            path = self._path_in_force()
            if self._reader is None or (path, identity_of(path)) != self._opened:
                self._open()
            else:
                self._catch_up(path, self._reader)

    def close(self) -> None:
        """Release files; later calls raise `StoreClosed`. Idempotent."""
        with self.locked():
            self._closed = True
            self._forget()

    def _current(self) -> RocksSecondary:
        if self._closed:
            raise StoreClosed("the reader is closed")
        if self._reader is None:
            raise ViewUnavailable(f"{self._folder.name} has no state")
        return self._reader

    def _path_in_force(self) -> Path:
        """Return the database folder in force, or forget the open one and raise."""
        pointer = self._look_at_pointer()
        if pointer is not None and pointer == self._pointer and self._found:
            return self._found
        problem = "has no state"
        for _attempt in range(OPEN_ATTEMPTS_MAX):
            try:
                path = self._find(self._folder)
            except StoreCorrupt as error:
                problem = str(error)
                break
            # rocksdict would make the folder of a database that is not there yet.
            if path is not None and epoch.holds_database(path):
                self._found, self._pointer = path, pointer
                return path
            # Perhaps swapped and dropped between the two looks.
        self._forget()
        raise ViewUnavailable(f"{self._folder.name}: {problem}")

    def _look_at_pointer(self) -> tuple[int, int] | None:
        """Return what tells one pointer to the epoch in force from the next.

        A swap makes a new file of another inode and time. None: look closely, because
        there is no pointer, or what was found last is gone. It costs 5 us, a close look
        100 us.
        """
        if self._find is not epoch.open_current:
            return None
        try:
            if self._found is not None:
                os.stat(f"{self._found}/CURRENT")  # noqa: PTH116 - on a hot path
            file = os.stat(f"{self._folder}/{epoch.CURRENT}")  # noqa: PTH116
        except OSError:
            return None
        return file.st_ino, file.st_mtime_ns

    def _catch_up(self, path: Path, reader: RocksSecondary) -> None:
        """Replay what the owner wrote since; where its files are gone, open anew."""
        signature = signature_of(path)
        if signature and signature == self._signature:
            return
        try:
            reader.catch_up()
            self._signature = signature
        except (StoreCorrupt, StoreFailed):
            self._open()

    def _open(self) -> None:
        """Open the epoch in force in place of what is open."""
        problem: Exception | None = None
        for _attempt in range(OPEN_ATTEMPTS_MAX):
            path = self._path_in_force()
            identity = identity_of(path)
            self._forget()
            try:
                reader = RocksSecondary(path, self._scratch, self._resources)
                signature = _settle(path, reader)
            except (StoreCorrupt, StoreFailed) as error:
                problem = error
                continue
            self._reader, self._signature = reader, signature
            self._opened = path, identity
            return
        raise ViewUnavailable(f"{self._folder.name}: {problem}") from problem

    def _forget(self) -> None:
        """Let go of what is open; dropping the last reference closes it."""
        self._reader = self._opened = None
        self._signature = ()
