"""The lock that lets one worker into a data folder.

The lock is the kernel's (`flock`): it ends with its process, however that ends. The
file's text only says who holds it.
"""

import contextlib
import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from streams.log import LogError

FILE: Final = "worker.lock"
_LOOK_EVERY_S: Final = 0.02


class FolderLocked(LogError):
    """Another worker uses this data folder. Stop it first, or use another folder."""


class WorkerLock:
    """Held from `acquire` to `release`, or as a context manager."""

    def __init__(self, data_dir: Path) -> None:
        """Name the folder; nothing is locked yet.

        Args:
          data_dir: The data folder; it must exist.
        """
        self._path = data_dir / FILE
        self._fd: int | None = None

    def acquire(self, wait_s: float = 0.0) -> None:
        """Take the lock.

        Args:
          wait_s: How long to wait for a holder that is just ending.

        Raises:
          FolderLocked: Another process has it; the message says which.
          LogError: The folder cannot be written, or the disk is full.
        """
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LogError(
                f"cannot open {self._path}: {error.strerror}. Check the folder exists "
                "and may be written"
            ) from error
        try:
            self._take(fd, wait_s)
        except OSError as error:
            os.close(fd)
            raise LogError(
                f"cannot write {self._path}: {error.strerror}. Check the disk, then "
                "start again"
            ) from error
        except FolderLocked:
            os.close(fd)
            raise
        self._fd = fd

    def _take(self, fd: int, wait_s: float) -> None:
        """Lock the open file and say in it who holds it."""
        deadline = time.monotonic() + wait_s
        while not _lock(fd) and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY_S)
        if not _lock(fd):
            holder = os.pread(fd, 64, 0).decode(errors="replace").strip()
            raise FolderLocked(
                f"{self._path.parent} is in use by {holder or 'another worker'} or, if "
                f"that has ended, by a process that it started (`fuser {self._path}` "
                "shows it). Stop it first, or use another --data-dir"
            )
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"worker with process id {os.getpid()}\n".encode(), 0)

    def fileno(self) -> int:
        """Return the held file; a process that inherits it holds the lock, too.

        Raises:
          LogError: The lock is not held.
        """
        if self._fd is None:
            raise LogError("the lock is not held")
        return self._fd

    def release(self) -> None:
        """Give the lock back; idempotent. The file stays: removing it would race."""
        if self._fd is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        """Take the lock."""
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give the lock back."""
        self.release()


def _lock(fd: int) -> bool:
    """Lock a file if nobody else has; locking it again is fine."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
