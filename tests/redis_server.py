"""Real Redis servers for tests: one that all share, or one of a test's own."""

import shutil
import socket
import subprocess
import time

import pytest
import redis as redis_py

from tables.redis_client import RedisClient
from tests.servers import need

REDIS = "redis-server"
START_TIMEOUT_S = 20.0


class RedisServer:
    """A server on loopback that keeps nothing on the disk; `start` after `stop`."""

    def __init__(self, folder):
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"
        # For who has no loopback in common with it.
        self.socket_url = f"unix://{folder}/redis.sock"
        self._process = None

    def start(self, *options):
        """Start it, empty; returns when it answers."""
        base = ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "")
        base += ("--unixsocket", "redis.sock")
        with (self._folder / "redis.log").open("ab") as output:
            self._process = subprocess.Popen(
                [REDIS, *base, *options],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                return self.ask("PING")
            except redis_py.ConnectionError:
                assert self._process.poll() is None, "redis-server does not start"
                assert time.monotonic() < deadline, "redis-server does not answer"
                time.sleep(0.01)
            except redis_py.AuthenticationError:
                return None

    def ask(self, *command):
        """Run one command on a connection of its own."""
        with redis_py.Redis(port=self.port, protocol=2) as client:
            return client.execute_command(*command)

    def stop(self):
        """Kill it; what it held is gone. Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(START_TIMEOUT_S)
            self._process = None


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory):
    """A server that is started once."""
    need(REDIS, available=shutil.which(REDIS) is not None)
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis(shared_redis):
    """The shared server, empty."""
    shared_redis.ask("FLUSHALL")
    return shared_redis


@pytest.fixture
def own_redis(tmp_path):
    """A server that the test may stop and start."""
    need(REDIS, available=shutil.which(REDIS) is not None)
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_client(redis):
    """A client of the shared server."""
    client = RedisClient(redis.url)
    yield client
    client.close()
