"""A process that lives no longer than the one that started it.

A supervisor that is killed cannot stop its children, so each child looks whether its
parent is still there. This works on every system and whatever ends the parent.
"""

import os
import signal
import threading
import time
from typing import Final

LOOK_EVERY_S: Final = 0.25


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
