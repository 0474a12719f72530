"""A process that lives no longer than the one that started it.

A supervisor that is killed cannot stop its children, so each child looks whether its
parent is still there. This works on every system and whatever ends the parent. What
must not outlive it even while suspended (SIGSTOP) asks the kernel besides, on Linux.
"""

import contextlib
import ctypes
import os
import signal
import threading
import time
from typing import Final

LOOK_EVERY_S: Final = 0.25
PR_SET_PDEATHSIG: Final = 1
"""Which signal a process gets when the thread that started it ends: prctl(2)."""


def follow(parent_pid: int, drain_timeout_ms: int) -> None:
    """Drain and end this process soon after its parent has ended.

    Args:
      parent_pid: Process that started this one.
      drain_timeout_ms: Time between SIGTERM and SIGKILL.
    """
    threading.Thread(
        target=_watch,
        args=(parent_pid, drain_timeout_ms / 1_000),
        name="lifeline",
        daemon=True,
    ).start()


def _watch(parent_pid: int, drain_timeout_s: float) -> None:
    while os.getppid() == parent_pid:
        time.sleep(LOOK_EVERY_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(drain_timeout_s)
    os.kill(os.getpid(), signal.SIGKILL)


def follow_pipe(lifeline: int) -> None:
    """End this process at once when its parent has ended, and with it a pipe's end.

    At once is safe: a step is either stored or folded again by the next owner.

    Args:
      lifeline: The reading end of a pipe whose other end only the parent has.
    """
    _end_with_parent()

    def watch() -> None:
        # Of a parent that had ended before the kernel was asked it is closed already.
        with contextlib.suppress(OSError):
            os.read(lifeline, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()


def _end_with_parent() -> None:
    """Ask the kernel to kill this process with its parent, where it can be asked."""
    with contextlib.suppress(AttributeError):  # Linux alone has it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
