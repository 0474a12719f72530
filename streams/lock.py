"""The lock that lets one worker into a data folder.

The lock is the kernel's (`flock`): it ends with its process, however that ends. The
file's text only says who holds it.
"""

import contextlib
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from streams.log import LogError

FILE: Final = "worker.lock"


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

    def acquire(self) -> None:
        """Take the lock at once.

        Raises:
          FolderLocked: Another process has it; the message says which.
          LogError: The folder cannot be written.
        """
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LogError(
                f"cannot open {self._path}: {error.strerror}. Check the folder exists "
                "and may be written"
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(fd, 64, 0).decode(errors="replace").strip()
            os.close(fd)
            raise FolderLocked(
                f"{self._path.parent} is in use by {holder or 'another worker'}. "
                "Stop it first, or use another --data-dir"
            ) from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"worker with process id {os.getpid()}\n".encode(), 0)
        self._fd = fd

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
