"""A Plaudit to measure: a fresh folder with the bench's org, and real processes."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from bench import workload
from bench.processes import family, words
from docker.ports import free_port
from plaudit.credentials import issue_token
from plaudit.initialise import initialise
from plaudit.settings import Settings
from plaudit.wiring import Parts
from rules.message import Command
from streams.log import Append
from streams.topics import ORGS, USERS
from tables.errors import ViewUnavailable

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 60.0
FOLD_TIMEOUT_S: Final = 600.0
POLL_S: Final = 0.01
APPENDS_PER_COMMIT: Final = 20
REQUEST_TIMEOUT_S: Final = 30.0
TOKEN_TTL_S: Final = 86_400
PROFILE: Final = "/v1/api/audience/profile"
ACTIONS: Final = "/v1/api/audience/internal/actions"
BULK: Final = f"{ACTIONS}/bulk"


class BenchFailed(Exception):
    """A benchmark cannot go on; the message says why."""


def end(process: "subprocess.Popen[bytes]") -> None:
    """Let a process finish its work, or kill it after `STOP_TIMEOUT_S`."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Instance:
    """One data folder and the processes that serve it, ended on exit.

    Attributes:
      settings: Where it is and which port its API listens on.
      parts: Log, writer and read view of the folder, for this process.
    """

    def __init__(
        self,
        folder: Path,
        *,
        campaigns: int = workload.CAMPAIGNS,
        partitions: int = workload.PARTITIONS,
        **chosen: Any,
    ) -> None:
        """Make the folder, the org, and commands that create its campaigns.

        Args:
          folder: Does not exist yet.
          campaigns: How many of the workload's; the last is the probe's.
          partitions: Of the topic `users`.
          chosen: Further settings.
        """
        self.settings = Settings(
            data_dir=folder, partitions=partitions, port=free_port(), **chosen
        )
        self.credentials = initialise(self.settings, workload.ORG)
        self.parts = Parts(self.settings, background=False)
        bodies = [*workload.campaigns(campaigns - 1), workload.probe_campaign()]
        self.parts.writer.write(
            [
                Command(
                    workload.ORG, None, f"cmd_{number}", "campaign.create", None, body
                )
                for number, body in enumerate(bodies)
            ]
        )
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End everything."""
        self.stop()
        self.parts.close()

    def start(self, command: str, **chosen: Any) -> int:
        """Start ``plaudit COMMAND`` (worker, api or run) and return its process id.

        Args:
          command: Which.
          chosen: Settings that differ from the instance's.
        """
        settings = replace(self.settings, **chosen)
        # -P: what is measured is what is installed.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "plaudit", command],
            env={**os.environ, **settings.environ()},
            stdin=subprocess.DEVNULL,
        )
        self._running.append(process)
        return process.pid

    def stop(self) -> None:
        """End all processes, the last started first."""
        while self._running:
            end(self._running.pop())

    def end(self, pid: int) -> None:
        """End the process that `start` said."""
        for process in [one for one in self._running if one.pid == pid]:
            self._running.remove(process)
            end(process)

    def kill(self, pid: int) -> None:
        """Kill the process that `start` said, and all it started, as kill -9 does."""
        for process in [one for one in self._running if one.pid == pid]:
            self._running.remove(process)
            for member in family(pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(member, signal.SIGKILL)
            process.wait()

    def has_ended(self) -> bool:
        """Tell whether any process has ended by itself."""
        return any(process.poll() is not None for process in self._running)

    def check(self) -> None:
        """Raise `BenchFailed` if a process has ended by itself."""
        for process in self._running:
            if process.poll() is not None:
                raise BenchFailed(f"a process ended with code {process.returncode}")

    def children(self, pid: int, command: str) -> list[int]:
        """Return a supervisor's child with that command, and all it started."""
        for child in family(pid):
            if command in words(child)[:5] and child != pid:
                return family(child)
        raise BenchFailed(f"plaudit run has no {command}")

    def wait_until_ready(self) -> None:
        """Wait until the API serves reads and the config is folded everywhere."""
        deadline = time.monotonic() + START_TIMEOUT_S
        with self.connect() as client:
            while True:
                try:
                    status, _ = client.call("GET", "/ready")
                    if status == 200:
                        break
                except OSError:
                    client.close()
                self.check()
                if time.monotonic() > deadline:
                    raise BenchFailed("the API does not become ready")
                time.sleep(POLL_S)
        self.wait_until_folded()

    def wait_until_folded(self, poll_s: float = POLL_S) -> None:
        """Wait until every partition's applied position is at its log's end.

        The org's machine first: what it has folded it has broadcast.
        """
        deadline = time.monotonic() + FOLD_TIMEOUT_S
        log, view = self.parts.log, self.parts.view
        for place in [(ORGS, 0), *((USERS, n) for n in range(self.parts.partitions))]:
            last = log.end_offset(*place) - 1
            while True:
                try:
                    row = view.position(*place)
                    if row is not None and row.offset >= last:
                        break
                except ViewUnavailable:
                    # No tables yet.
                    pass
                self.check()
                if time.monotonic() > deadline:
                    raise BenchFailed(f"{place} is not folded in time")
                time.sleep(poll_s)

    def append(self, records: Sequence[Append]) -> None:
        """Append records to the log, some in each commit."""
        for start in range(0, len(records), APPENDS_PER_COMMIT):
            self.parts.log.append_many(records[start : start + APPENDS_PER_COMMIT])

    def entries(self, users: int) -> int:
        """Return how many ledger entries the population has."""
        asked: dict[int, list[str]] = {}
        for number in range(users):
            user = workload.user_id(number)
            _, partition = self.parts.writer.locate(workload.ORG, user)
            asked.setdefault(partition, []).append(user)
        return sum(
            found.state.entry_count
            for partition, ids in asked.items()
            for found in self.parts.view.users(partition, workload.ORG, ids)
            if found is not None
        )

    def lag(self) -> int:
        """Return how many records of `users` are not folded yet."""
        lag = 0
        for partition in range(self.parts.partitions):
            row = self.parts.view.position(USERS, partition)
            applied = -1 if row is None else row.offset
            end = self.parts.log.end_offset(USERS, partition)
            lag += max(0, end - 1 - applied)
        return lag

    def token(self, user: str) -> str:
        """Return a token with which a user reads the profile."""
        scopes = ("audience:read",)
        box = self.parts.secrets()
        view = self.parts.view
        return issue_token(view, box, workload.ORG, user, scopes, TOKEN_TTL_S)

    def connect(self) -> "Client":
        """Return a connection to the API with the server's key."""
        return Client(self.settings.data_dir, self.settings.port)


class Client:
    """A keep-alive connection to the API, with the org's key; for one thread."""

    def __init__(self, data_dir: Path, port: int) -> None:
        """Connect at the first call."""
        text = (data_dir / "credentials.json").read_text()
        credentials: dict[str, str] = json.loads(text)
        self._org = {"X-Org-ID": credentials["orgId"]}
        self._key = {
            "X-API-Key": credentials["apiKey"],
            "X-API-Secret": credentials["apiSecret"],
            "Content-Type": "application/json",
        }
        self._http = http.client.HTTPConnection(
            "127.0.0.1", port, timeout=REQUEST_TIMEOUT_S
        )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection; another call opens it again."""
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        token: str | None = None,
    ) -> tuple[int, bytes]:
        """Return the status and the body of an answer.

        Args:
          method: HTTP method.
          path: From the root on.
          body: JSON.
          token: A user's; without one the org's key is shown.
        """
        shown = self._key if token is None else {"Authorization": f"Bearer {token}"}
        self._http.request(method, path, body, {**self._org, **shown})
        answer = self._http.getresponse()
        return answer.status, answer.read()

    def post(self, path: str, body: bytes) -> bytes:
        """Return the answer to a POST that is to be accepted (202).

        Raises:
          BenchFailed: It is not.
        """
        status, text = self.call("POST", path, body)
        if status != 202:
            raise BenchFailed(f"POST {path}: {status} {text[:500].decode()}")
        return text
