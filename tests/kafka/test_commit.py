"""A commit of the worker's consumer, with a real broker that goes away."""

import asyncio
import logging
import time

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from faust.types import TP

from streams.log import LogUnavailable
from streams.transports import kafka
from streams.transports.kafka import BoundedConsumer, ConsumerThread

pytestmark = pytest.mark.slow
PLACE = TP("events", 0)
TIMEOUT_S = 1.0
DEADLINE_S = 30.0


class Thread(ConsumerThread):
    """Faust's way of committing, without the thread; what stops a worker is noted."""

    def __init__(self, consumer):
        self._consumer = consumer
        self.log = logging.getLogger("test")
        self.tp_last_committed_at = {}
        self.crashes = []

    def assignment(self):
        return {TP(*tp) for tp in self._consumer.assignment()}

    async def crash(self, reason):
        self.crashes.append(reason)


@pytest.fixture
def broker(start_kafka):
    broker = start_kafka()
    client = AdminClient({"bootstrap.servers": broker.address})
    for made in client.create_topics([NewTopic(PLACE.topic, 1, 1)]).values():
        made.result(DEADLINE_S)
    return broker


async def member_of(broker):
    """Return a consumer that has joined its group."""
    consumer = BoundedConsumer(
        PLACE.topic,
        bootstrap_servers=broker.address,
        group_id="group",
        enable_auto_commit=False,
        session_timeout_ms=60_000,
    )
    await consumer.start()
    assert consumer.assignment()
    return consumer


def test_a_commit_without_brokers_ends_and_stops_the_worker_as_a_failed_one(
    broker, monkeypatch
):
    async def run():
        consumer = await member_of(broker)
        thread = Thread(consumer)
        try:
            assert await thread._commit({PLACE: 0})
            broker.kill()
            monkeypatch.setattr(kafka, "COMMIT_TIMEOUT_S", TIMEOUT_S)
            began = time.monotonic()
            assert not await thread._commit({PLACE: 0})
            assert TIMEOUT_S <= time.monotonic() - began < DEADLINE_S
            (crash,) = thread.crashes
            assert isinstance(crash, LogUnavailable)
            assert "Check the brokers" in str(crash)
            # Nothing of it stays behind: the next one is heard.
            broker.start()
            monkeypatch.setattr(kafka, "COMMIT_TIMEOUT_S", DEADLINE_S)
            assert await thread._commit({PLACE: 0})
        finally:
            await consumer.stop()

    asyncio.run(run())
