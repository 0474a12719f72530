"""Real Kafka brokers for tests: one that all share, or brokers of a test's own."""

import time

import pytest
from confluent_kafka.admin import AdminClient

from docker.kafka.broker import Broker, is_available
from tests.servers import need

EMPTY_TIMEOUT_S = 20.0
JAVA = "java and mvn (Kafka)"


@pytest.fixture(scope="session")
def shared_kafka(tmp_path_factory):
    """A broker that is started once."""
    need(JAVA, available=is_available())
    broker = Broker(tmp_path_factory.mktemp("kafka"))
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def kafka(shared_kafka):
    """The shared broker, with no topics and no groups."""
    empty(shared_kafka.address)
    return shared_kafka


@pytest.fixture
def start_kafka(tmp_path):
    """Return a function that starts a broker of the test's own; see `Broker`."""
    need(JAVA, available=is_available())
    brokers = []

    def start(name="kafka", **kwargs):
        broker = Broker(tmp_path / name, **kwargs)
        brokers.append(broker)
        broker.start()
        return broker

    yield start
    for broker in brokers:
        broker.kill()


def empty(address):
    """Delete every topic and every group of a broker."""
    client = AdminClient({"bootstrap.servers": address, "log_level": 0})
    deadline = time.monotonic() + EMPTY_TIMEOUT_S
    while names := [
        name
        for name in client.list_topics(timeout=EMPTY_TIMEOUT_S).topics
        if not name.startswith("__")
    ]:
        for future in client.delete_topics(names).values():
            # One that is on its way out is no longer known.
            future.exception(timeout=EMPTY_TIMEOUT_S)
        assert time.monotonic() < deadline, f"{names} do not go away"
    groups = client.list_consumer_groups().result(timeout=EMPTY_TIMEOUT_S).valid
    names = [group.group_id for group in groups]
    while names:
        done = client.delete_consumer_groups(names)
        # A member that was killed stays until its session ends.
        names = [
            name
            for name, future in done.items()
            if future.exception(timeout=EMPTY_TIMEOUT_S) is not None
        ]
        assert time.monotonic() < deadline, f"groups {names} do not go away"
