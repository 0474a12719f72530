"""A broker's log for tests of what only brokers can do."""

import pytest
from confluent_kafka.admin import AdminClient

from streams.kafka_config import KafkaConfig
from streams.kafka_log import KafkaLog


@pytest.fixture
def config(kafka):
    return KafkaConfig(brokers=kafka.address, replication=1)


@pytest.fixture
def admin(kafka):
    return AdminClient({"bootstrap.servers": kafka.address})


@pytest.fixture
def opened():
    """Return a function that opens logs; they are closed in the end."""
    logs = []

    def open_log(config, **options):
        logs.append(KafkaLog(config, **options))
        return logs[-1]

    yield open_log
    for log in logs:
        log.close()
