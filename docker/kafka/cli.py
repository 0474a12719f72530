"""The command line of a Kafka broker for development; see docker/kafka/broker.py.

    python -m docker.kafka.cli start --folder data/kafka --port 9092
    python -m docker.kafka.cli stop --folder data/kafka
    python -m docker.kafka.cli fetch

A broker that is started here outlives the command; its folder names its process.
``fetch`` gets the jars alone.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from docker.kafka.broker import LOOK_EVERY_S, STOP_TIMEOUT_S, Broker, pid_file
from docker.kafka.errors import BrokerFailed
from docker.kafka.jars import ROOT, fetch_jars, is_available

PORT: Final = 9_092
PS_TIMEOUT_S: Final = 5.0


def running_pid(folder: Path) -> int | None:
    """Return the process of a folder's broker, or None where none runs."""
    folder = folder.absolute()
    try:
        pid = int(pid_file(folder).read_text())
        ps = ["ps", "-ww", "-p", str(pid), "-o", "command="]
        command = subprocess.run(
            ps, capture_output=True, text=True, timeout=PS_TIMEOUT_S, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    # Another process may have got the number since.
    return pid if str(folder / "server.properties") in command.stdout else None


def _stop(folder: Path) -> int:
    pid = running_pid(folder)
    if pid is None:
        sys.stdout.write("no broker runs\n")
        return 0
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while running_pid(folder) is not None:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            break
        time.sleep(LOOK_EVERY_S)
    pid_file(folder.absolute()).unlink(missing_ok=True)
    sys.stdout.write("the broker is stopped\n")
    return 0


def _start(folder: Path, port: int) -> int:
    if running_pid(folder) is not None:
        sys.stdout.write("the broker runs already\n")
        return 0
    broker = Broker(folder, port=port)
    broker.start(detached=True)
    sys.stdout.write(f"the broker listens on {broker.address} (data in {folder})\n")
    return 0


def main(args: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description="One Kafka broker for development.")
    parser.add_argument("command", choices=("start", "stop", "fetch"))
    parser.add_argument("--folder", type=Path, default=ROOT / "data" / "kafka")
    parser.add_argument("--port", type=int, default=PORT)
    chosen = parser.parse_args(args)
    if chosen.command == "stop":
        return _stop(chosen.folder)
    if not is_available():
        sys.stderr.write("a broker needs java (17 or newer) and mvn on this machine\n")
        return 1
    try:
        if chosen.command == "start":
            return _start(chosen.folder, chosen.port)
        fetch_jars()
    except (BrokerFailed, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
