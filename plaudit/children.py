"""The processes that the supervisor looks after, and when they start again."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Final

from plaudit.errors import AGAIN, UNUSABLE, Failure, Unusable

PAUSE_FIRST_S: Final = 0.5
PAUSE_LONGEST_S: Final = 30.0
HEALTHY_AFTER_S: Final = 60.0
"""A child that ran that long begins with the first pause again."""
STARTS_MAX: Final = 10
"""Starts in a row of a child that never gets that far; then everything stops."""
FAULT: Final = "PLAUDIT_FAULT"


class Child:
    """One process, started again when it ends by itself."""

    def __init__(self, name: str, environ: Mapping[str, str]) -> None:
        """Start nothing yet.

        Args:
          name: The command, e.g. ``worker``.
          environ: Its environment; a fault point in it is for the first start alone.
        """
        self.name = name
        self._environ = dict(environ)
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0.0
        self._starts = 0
        self._start_at = 0.0

    def start(self) -> None:
        """Start the process in a session of its own: Ctrl-C reaches the parent."""
        self._began = time.monotonic()
        self._starts += 1
        # -P: a folder `api` or `tables` in the working directory is not ours.
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-P", "-m", "plaudit", self.name),
                *("--parent-pid", str(os.getpid())),
            ],
            env=self._environ,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._environ.pop(FAULT, None)

    @property
    def code(self) -> int | None:
        """The exit code of the process that was started last; None while it runs."""
        return None if self._process is None else self._process.poll()

    def look(self) -> str | None:
        """Start the process again if it is time to; return what a person should read.

        Raises:
          Unusable: It says that it cannot work like this; its message is on stderr.
          Failure: It ended `STARTS_MAX` times in a row.
        """
        if self._process is None:
            if time.monotonic() >= self._start_at:
                self.start()
            return None
        code = self._process.poll()
        if code is None:
            return None
        self._clear()
        if code == AGAIN:
            self._starts = 0
            return None
        if code == UNUSABLE:
            raise Unusable(f"the {self.name} cannot work like this; see above")
        if time.monotonic() - self._began >= HEALTHY_AFTER_S:
            self._starts = 1
        if self._starts >= STARTS_MAX:
            raise Failure(f"the {self.name} ended {self._starts} times in a row")
        pause_s = min(PAUSE_FIRST_S * 2 ** (self._starts - 1), PAUSE_LONGEST_S)
        self._start_at = time.monotonic() + pause_s
        return f"the {self.name} {_how(code)}; starting it again in {pause_s:g} s"

    def stop(self, timeout_s: float) -> None:
        """Let the process finish its work, at most so long; idempotent."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
        self._clear()

    def _clear(self) -> None:
        """End what is left of the process and of processes that it started."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _how(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with code {code}"
