"""Wake readers in other processes after a commit: Unix datagrams, one socket a reader.

A reader binds ``<folder>/<random>.sock``; who commits sends one byte to every socket it
finds there. It is a hint and nothing more: datagrams may be lost, so readers poll as
well, and where Unix sockets do not work they only poll.
"""

import contextlib
import os
import secrets
import select
import socket
import threading
import time
from pathlib import Path
from typing import Final

READERS_MAX: Final = 64
"""Readers woken by one commit; the others poll."""
POLL_SECONDS: Final = 0.02
"""How long a reader may sleep without looking: the bound on a lost wake-up."""
_RELIST_SECONDS: Final = 0.05
_SUFFIX: Final = ".sock"
_DESCRIPTORS: Final = Path("/proc/self/fd")


class _Folder:
    """A folder of sockets under a path short enough for `sockaddr_un` (108 bytes)."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder
        self._fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)

    def address(self, name: str) -> str:
        """Return an address that names a socket in the folder."""
        if _DESCRIPTORS.is_dir():
            return str(_DESCRIPTORS / str(self._fd) / name)
        return str(self.path / name)

    def names(self) -> list[str]:
        """Return the sockets there are now."""
        return [path.name for path in self.path.iterdir() if path.suffix == _SUFFIX]

    def remove(self, name: str) -> None:
        """Remove a socket; gone already is fine."""
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=self._fd)

    def close(self) -> None:
        """Release the folder; idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class WakeupReceiver:
    """What a reader sleeps on. Not for several threads at once."""

    def __init__(self, folder: Path) -> None:
        """Bind a socket in a folder, which is made where it is missing.

        Args:
          folder: Where writers look; on the machine's own file system.
        """
        self._folder = _Folder(folder)
        self._name = secrets.token_hex(8) + _SUFFIX
        self._socket: socket.socket | None = None
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        receiver.setblocking(False)
        try:
            receiver.bind(self._folder.address(self._name))
        except OSError:
            # Some file systems have no sockets: polling alone does it.
            receiver.close()
        else:
            self._socket = receiver

    def fileno(self) -> int | None:
        """Return a descriptor that turns readable on a wake-up; None: poll only."""
        return None if self._socket is None else self._socket.fileno()

    def drain(self) -> bool:
        """Take all wake-ups that are waiting; tell whether there were any."""
        woken = False
        if self._socket is not None:
            with contextlib.suppress(BlockingIOError):
                while self._socket.recv(16):
                    woken = True
        return woken

    def wait(self, timeout_s: float = POLL_SECONDS) -> bool:
        """Sleep until woken, at most `timeout_s` seconds; tell whether woken."""
        if self._socket is None:
            time.sleep(timeout_s)
            return False
        select.select([self._socket], [], [], timeout_s)
        return self.drain()

    def close(self) -> None:
        """Take the socket away; idempotent."""
        if self._socket is not None:
            self._folder.remove(self._name)
            self._socket.close()
            self._socket = None
        self._folder.close()


class WakeupSender:
    """Wakes every reader of a folder; safe for threads, never waits, never fails."""

    def __init__(self, folder: Path) -> None:
        """Prepare to wake the readers of a folder, made where it is missing."""
        self._folder = _Folder(folder)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._lock = threading.Lock()
        self._names: list[str] = []
        self._listed_at = -_RELIST_SECONDS
        self._open = True

    def wake(self) -> None:
        """Send every reader one byte."""
        with self._lock:
            if not self._open:
                return
            now = time.monotonic()
            if now - self._listed_at >= _RELIST_SECONDS:
                with contextlib.suppress(OSError):
                    self._names = self._folder.names()[:READERS_MAX]
                self._listed_at = now
            self._names = [name for name in self._names if self._send(name)]

    def _send(self, name: str) -> bool:
        """Wake one reader; tell whether it is worth trying again."""
        try:
            self._socket.sendto(b"\x01", self._folder.address(name))
        except BlockingIOError:
            return True  # Its buffer is full of wake-ups it has yet to take.
        except ConnectionRefusedError:
            # Its process died. Names are random, so nobody has bound it anew.
            self._folder.remove(name)
            return False
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Release descriptors; idempotent."""
        with self._lock:
            self._open = False
            self._socket.close()
            self._folder.close()
