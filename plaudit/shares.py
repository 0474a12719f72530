"""The processes of one worker: each folds a share of the partitions.

A fold is bound to one core, so a worker starts as many processes as there are cores (at
most one per partition). They share nothing but the data folder: each is a whole Faust
app that reads its own partitions. The lock on the folder is inherited, so it is held as
long as any of them lives; when the worker ends, however it ends, they end at once.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any, Final

import click
import msgspec

from plaudit.errors import FAILED
from plaudit.settings import Settings, child_environ
from streams.lock import WorkerLock

LOOK_EVERY_S: Final = 0.05
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
DRAIN_PART: Final = 0.8
"""Of the time to drain, what the processes have: the rest is for ending those that
hang, before the supervisor ends the worker."""


class Share(msgspec.Struct, frozen=True):
    """Which partitions a process folds: those of number modulo `count` = `index`."""

    index: int
    count: int


def processes_of(settings: Settings, partitions: int) -> int:
    """Return how many processes a worker starts.

    Args:
      settings: `worker_processes`; 0 means as many as there are cores.
      partitions: Partitions of `users`; more processes would have nothing to do.
    """
    wanted = settings.worker_processes or _cores()
    return max(1, min(wanted, partitions))


def _cores() -> int:
    with contextlib.suppress(AttributeError):  # Not on every system.
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_shares(settings: Settings, lock: WorkerLock, count: int) -> int:
    """Run a worker of several processes until a signal ends it, or one of them fails.

    Called in the main thread: the kernel ends the processes with the thread that
    started them (plaudit/lifeline.py).

    Args:
      settings: The worker's settings.
      lock: The folder's lock, held.
      count: How many processes.

    Returns:
      The exit code: 0 after a signal, else that of the process that failed.
    """
    stop = threading.Event()
    handlers = {
        number: signal.signal(number, lambda *_: stop.set()) for number in SIGNALS
    }
    lifeline, held = os.pipe()
    children = [
        _start(settings, Share(index, count), lifeline, lock.fileno())
        for index in range(count)
    ]
    os.close(lifeline)
    try:
        code = _look_after(children, stop)
        _drain(children, settings.drain_timeout_ms * DRAIN_PART / 1_000)
        return code
    finally:
        os.close(held)
        for child in children:
            # Whoever is left had its time; at once is safe, and no wait is for ever.
            child.kill()
            child.wait()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _start(
    settings: Settings, share: Share, lifeline: int, lock: int
) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [
            *(sys.executable, "-P", "-m", "plaudit", "worker"),
            *("--data-dir", str(settings.data_dir)),
            *("--share", f"{share.index}/{share.count}", "--lifeline", str(lifeline)),
        ],
        env=child_environ(settings),
        pass_fds=(lifeline, lock),
        stdin=subprocess.DEVNULL,
        # Ctrl-C reaches the worker, which tells its processes.
        start_new_session=True,
    )


def _drain(children: "list[subprocess.Popen[bytes]]", timeout_s: float) -> None:
    """Let the processes finish their work, all within one time."""
    for child in children:
        child.terminate()
    deadline = time.monotonic() + timeout_s
    for child in children:
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(max(deadline - time.monotonic(), 0.0))


def _look_after(children: "list[subprocess.Popen[bytes]]", stop: Any) -> int:
    """Wait for a signal or for a process that ends; return the exit code."""
    while not stop.wait(LOOK_EVERY_S):
        for child in children:
            code = child.poll()
            if code is None:
                continue
            if code < 0:
                name = signal.Signals(-code).name
                click.echo(f"plaudit worker: a process was ended by {name}", err=True)
                return FAILED
            return code or FAILED
    return 0
