"""Probes: one action of a fresh user, and how soon the user's profile shows it.

`Producing` keeps the load that probes are measured under: bench/producer.py as a
process of its own.
"""

import json
import random
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from bench import workload
from bench.instance import (
    ACTIONS,
    PROFILE,
    STOP_TIMEOUT_S,
    BenchFailed,
    Client,
    Instance,
)
from bench.producer import STARTED

ROOT: Final = Path(__file__).parents[1]
VISIBLE_TIMEOUT_S: Final = 30.0
PAUSE_MS: Final = (10, 50)
"""Between two probes, drawn anew each time, so that they keep no step with anything."""


class Probe(msgspec.Struct, frozen=True):
    """How long one action took, ms.

    Attributes:
      accepted_ms: From sending the action to its 202.
      visible_ms: From the 202 to the answer that shows the points.
    """

    accepted_ms: float
    visible_ms: float


class _Wallet(msgspec.Struct):
    points: int


class _Answer(msgspec.Struct):
    data: _Wallet


_decode_profile = msgspec.json.Decoder(_Answer).decode


class Prober:
    """Sends probes one after the other, each for a user never seen before."""

    def __init__(self, instance: Instance, writer: Client, reader: Client) -> None:
        """Bind to two connections: actions go in on one, profiles come out of one."""
        self._instance = instance
        self._writer = writer
        self._reader = reader
        self._chance = random.Random(workload.SEED)
        self._count = 0

    def pause(self) -> None:
        """Wait a little."""
        time.sleep(self._chance.uniform(*PAUSE_MS) / 1e3)

    def probe(self) -> Probe:
        """Send an action and read its user's profile until it shows.

        Raises:
          BenchFailed: It is refused, or does not show in `VISIBLE_TIMEOUT_S`.
        """
        self._count += 1
        user = f"probe-{self._count:06d}"
        token = self._instance.token(user)
        action = {
            "userId": user,
            "action": workload.PROBE_TYPE,
            "eventId": f"probe-{self._count}",
        }
        body = json.dumps(action).encode()
        began = time.perf_counter()
        self._writer.post(ACTIONS, body)
        accepted = time.perf_counter()
        while True:
            status, text = self._reader.call("GET", PROFILE, token=token)
            seen = time.perf_counter()
            if status != 200:
                raise BenchFailed(f"GET {PROFILE}: {status} {text[:500].decode()}")
            if _decode_profile(text).data.points == workload.PROBE_POINTS:
                break
            if seen - accepted > VISIBLE_TIMEOUT_S:
                raise BenchFailed("an accepted action does not show")
        return Probe((accepted - began) * 1e3, (seen - accepted) * 1e3)


class Producing:
    """A producer process at work, ended on exit."""

    def __init__(
        self, instance: Instance, *, rate: int, seconds: float, users: int, first: int
    ) -> None:
        """Start it; see `bench.producer.produce`."""
        settings = instance.settings
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "bench.producer", str(settings.data_dir)),
                *("--port", str(settings.port), "--rate", str(rate)),
                *("--seconds", str(seconds), "--users", str(users)),
                *("--first", str(first)),
            ],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        # Before it says so, it could not be ended with a report.
        said = self._process.stdout.readline() if self._process.stdout else ""
        if said.strip() != STARTED:
            self._process.kill()
            self._process.communicate(timeout=STOP_TIMEOUT_S)
            raise BenchFailed("the producer does not start")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate(timeout=STOP_TIMEOUT_S)

    def check(self) -> None:
        """Raise `BenchFailed` if it is done, or gave up."""
        if self._process.poll() is not None:
            raise BenchFailed("the producer ended too early")

    def finish(self) -> dict[str, Any]:
        """End it and return what it achieved.

        Raises:
          BenchFailed: It gave up; why stands on stderr.
        """
        self._process.terminate()
        text, _ = self._process.communicate(timeout=STOP_TIMEOUT_S)
        if self._process.returncode != 0:
            raise BenchFailed("the producer gave up")
        figures: dict[str, Any] = json.loads(text)
        return figures
