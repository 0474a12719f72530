"""Is the process of this container well? Exit code 0: yes; 1: no, and why on stdout.

    healthcheck.py api       the API answers /health
    healthcheck.py worker    the worker holds its folder, and its processes show life

Each process of a worker touches a file of its own every 5 s, from the loop that does
all its work, so a file that is old is that of a process that hangs. Whether partitions
stand parked is not asked here: that is the same for all workers, and what /ready,
/metrics and the alerts are for.
"""

import fcntl
import os
import sys
import time
import urllib.request
from pathlib import Path

ANSWER_TIMEOUT_S = 3.0
SILENT_MAX_S = 60.0
"""Far longer than a step of the loop takes."""


def check_api(port: str) -> str | None:
    """Return why the API is not well, or None."""
    url = f"http://127.0.0.1:{port}/health"
    try:
        with urllib.request.urlopen(
            url, timeout=ANSWER_TIMEOUT_S
        ) as answer:  # http, and ours
            return None if answer.status == 200 else f"{url} says {answer.status}"
    except OSError as error:
        return f"{url} does not answer: {error}"


def check_worker(folder: Path, now_s: float) -> str | None:
    """Return why the worker of a data folder is not well, or None.

    Args:
      folder: The data folder.
      now_s: Seconds since the epoch.
    """
    lock = folder / "worker.lock"
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return f"no worker holds {lock}"
    except BlockingIOError:
        pass
    except OSError as error:
        return f"{lock}: {error.strerror}"
    for file in folder.glob("worker-*.alive"):
        silent_s = now_s - file.stat().st_mtime
        if silent_s > SILENT_MAX_S:
            return f"{file.stem} has not been heard of for {silent_s:.0f} s"
    return None


def main(what: str) -> int:
    """Check, print, and return the exit code."""
    if what == "api":
        problem = check_api(os.environ.get("PLAUDIT_PORT", "8400"))
    else:
        folder = Path(os.environ.get("PLAUDIT_DATA_DIR", "data"))
        problem = check_worker(folder, time.time())
    sys.stdout.write(f"{problem or 'well'}\n")
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
