"""Real Kafka brokers for tests: one that all share, or brokers of a test's own."""

import pytest

from docker.kafka.broker import Broker
from docker.kafka.empty import empty
from docker.kafka.jars import is_available
from tests.servers import need

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
