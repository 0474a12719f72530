"""A Redis server on this machine's loopback, for development and tests.

It keeps nothing on the disk: who starts it begins with an empty one.

    <folder>/redis.log  redis.sock
"""

import contextlib
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any, Final

import redis as redis_py
from redis.backoff import NoBackoff
from redis.retry import Retry

from docker.ports import free_port

REDIS: Final = "redis-server"
START_TIMEOUT_S: Final = 20.0
LOOK_EVERY_S: Final = 0.01
ANSWER_TIMEOUT_S: Final = 30.0


class RedisFailed(Exception):
    """The server does not do what it was told. The message says where to look."""


def is_available() -> bool:
    """Tell whether this machine can run a server."""
    return shutil.which(REDIS) is not None


class RedisServer:
    """A server over one folder; `start` again after `stop`."""

    def __init__(self, folder: Path) -> None:
        """Name the folder and draw a port; nothing runs yet.

        Args:
          folder: Its log and socket; made where it is missing.
        """
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        # For who has no loopback in common with it.
        self.socket_url = f"unix://{folder}/redis.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *options: str) -> None:
        """Start it, empty, and wait until it answers.

        Args:
          options: Further ones of its command line.

        Raises:
          RedisFailed: It does not.
        """
        base = [
            *("--port", str(self.port), "--bind", "127.0.0.1"),
            *("--save", "", "--unixsocket", "redis.sock"),
        ]
        log = self._folder / "redis.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [REDIS, *base, *options],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(redis_py.ConnectionError):
                self.ask("PING")
                return
            time.sleep(LOOK_EVERY_S)
        self.stop()
        tail = log.read_text(errors="replace")[-2_000:]
        raise RedisFailed(f"{REDIS} does not answer; {log} ends with\n{tail}")

    def ask(self, *command: str | bytes | int) -> Any:
        """Run one command on a connection of its own; return the answer."""
        with redis_py.Redis(
            port=self.port,
            protocol=2,
            socket_timeout=ANSWER_TIMEOUT_S,
            # The client's own would wait for seconds for one that has ended.
            retry=Retry(NoBackoff(), 0),
        ) as client:
            return client.execute_command(*command)

    def stop(self) -> None:
        """Kill it; what it held is gone. Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(START_TIMEOUT_S)
            self._process = None
