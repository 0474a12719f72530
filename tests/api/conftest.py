"""Fixtures of the API tests: a stack for all, an org of its own for each test.

Every test runs on both sizes: a log and tables of this machine; a log on a broker, and
the tables' mirror in Redis.
"""

import pytest

from api.app import THREADS, create_app
from api.config import ApiConfig
from streams.kafka_config import KafkaConfig
from tests.api.described import DescribedClient
from tests.api.stack import PARTITIONS, Stack, wall_ms
from tests.kafka_server import empty

CONFIG = ApiConfig(
    partitions=PARTITIONS, command_timeout_ms=1_000, position_timeout_ms=50
)


@pytest.fixture(scope="session", params=["embedded", "scaled"])
def stack(request, tmp_path_factory):
    parts = {}
    if request.param == "scaled":
        address = request.getfixturevalue("shared_kafka").address
        empty(address)
        parts["kafka"] = KafkaConfig(brokers=address, replication=1)
        parts["redis_url"] = request.getfixturevalue("shared_redis").url
    stack = Stack(tmp_path_factory.mktemp("data"), **parts)
    yield stack
    stack.close()


@pytest.fixture(scope="session")
def make_client(stack):
    """Return a function that makes a client with settings or a clock of its own."""

    def make(config=CONFIG, clock_ms=wall_ms, **parts):
        app = create_app(
            config,
            writer=parts.get("writer", stack),
            view=parts.get("view", stack.view),
            secrets=stack.secrets,
            end_offset=parts.get("end_offset", stack.log.end_offset),
            clock_ms=clock_ms,
            threads=parts.get("threads", THREADS),
        )
        return DescribedClient(app)

    return make


@pytest.fixture(scope="session")
def client(make_client):
    return make_client()


@pytest.fixture
def org(stack):
    return stack.new_org()


@pytest.fixture
def nothing_written(stack):
    """The test must leave the log as it was once its fixtures stood."""
    before = stack.ends()
    yield
    assert stack.ends() == before, "a refused request wrote to the log"
