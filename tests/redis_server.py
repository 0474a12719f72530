"""Real Redis servers for tests: one that all share, or one of a test's own."""

import pytest

from docker.redis.server import REDIS, RedisServer, is_available
from tables.redis_client import RedisClient
from tests.servers import need


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory):
    """A server that is started once."""
    need(REDIS, available=is_available())
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
    need(REDIS, available=is_available())
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
