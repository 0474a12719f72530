"""Consumers of a reader that do not find their way back to the brokers."""

import os
import signal
import threading
import time

import pytest
from confluent_kafka import (
    KafkaError,
    KafkaException,
)

from streams import kafka_reader
from streams.kafka_config import KafkaConfig
from streams.log import LogUnavailable
from streams.topics import USERS
from tests.contract.kafka_logs import create
from tests.contract.log_contract import some


class StuckConsumer:
    """A consumer that never finds a broker again."""

    def __init__(self):
        self.closed = threading.Event()

    def get_watermark_offsets(self, *_):
        raise KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN))

    def list_topics(self, **_):
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    def close(self):
        self.closed.set()


def test_a_consumer_that_is_stuck_is_replaced(config, opened, monkeypatch):
    create(config)
    log = opened(config)
    log.append_many(some(USERS, 0, 3))
    assert [r.offset for r in log.read(USERS, 0, 1)] == [1, 2, 3]
    reader = log._reader
    old, stuck = reader._client.consumer, StuckConsumer()
    monkeypatch.setattr(reader, "_timeout_s", 0.1)
    monkeypatch.setattr(reader._client, "consumer", stuck)
    for _ in range(3):
        with pytest.raises(LogUnavailable, match="cannot ask where users/0 ends"):
            log.end_offset(USERS, 0)
    assert stuck.closed.wait(10)
    monkeypatch.setattr(reader, "_timeout_s", 15.0)
    assert log.end_offset(USERS, 0) == 4
    assert [r.offset for r in log.read(USERS, 0, 1)] == [1, 2, 3]
    old.close()


def test_a_consumer_in_use_is_closed_by_the_last_who_uses_it(
    config, opened, monkeypatch
):
    create(config)
    reader = opened(config)._reader
    stuck = StuckConsumer()
    old = reader._client.consumer
    monkeypatch.setattr(reader, "_timeout_s", 0.1)
    monkeypatch.setattr(reader._client, "consumer", stuck)
    with reader._using() as client:
        for _ in range(3):
            with pytest.raises(LogUnavailable):
                reader.bounds(USERS, 0)
        assert reader._client is not client
        assert not stuck.closed.wait(0.2)
    assert stuck.closed.wait(10)
    reader.close()
    with pytest.raises(LogUnavailable, match="closed"):
        reader.bounds(USERS, 0)
    old.close()


def test_consumers_are_replaced_and_closed_while_a_broker_hangs(
    start_kafka, opened, monkeypatch
):
    broker = start_kafka()
    config = KafkaConfig(brokers=broker.address, replication=1)
    create(config)
    log = opened(config)
    log.append_many(some(USERS, 0, 3))
    assert log.end_offset(USERS, 0) == 4
    reader = log._reader
    first = reader._client
    monkeypatch.setattr(kafka_reader, "BOUNDS_S", 0.5)
    monkeypatch.setattr(kafka_reader, "LEADERS_S", 0.2)
    monkeypatch.setattr(reader, "_timeout_s", 1.0)
    os.kill(broker.pid, signal.SIGSTOP)
    try:
        for _ in range(3):
            with pytest.raises(LogUnavailable):
                log.end_offset(USERS, 0)
        assert reader._client is not first
        until(lambda: not any(t.name == "kafka-close" for t in threading.enumerate()))
    finally:
        os.kill(broker.pid, signal.SIGCONT)
    monkeypatch.setattr(reader, "_timeout_s", 15.0)
    assert log.end_offset(USERS, 0) == 4
    assert [r.offset for r in log.read(USERS, 0, 1)] == [1, 2, 3]


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
