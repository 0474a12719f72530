"""What a consumer group has committed, asked and told from outside the group."""

import os
import signal
import time

import pytest
from confluent_kafka import (
    Consumer,
)

from streams import kafka_group
from streams.kafka_group import KafkaGroup
from streams.log import LogUnavailable
from streams.topics import GROUP, USERS
from tests.contract.kafka_logs import create
from tests.contract.log_contract import some


def test_a_group_with_members_is_left_alone(config, kafka, opened):
    create(config)
    log = opened(config)
    log.append_many(some(USERS, 0, 3))
    member = Consumer({"bootstrap.servers": kafka.address, "group.id": GROUP})
    member.subscribe([USERS])
    deadline = time.monotonic() + 15
    while not member.assignment():
        member.poll(0.1)
        assert time.monotonic() < deadline
    with pytest.raises(LogUnavailable, match="op all workers"):
        log.commit(GROUP, {(USERS, 0): 2})
    assert log.committed(GROUP, USERS, 0) == 0
    member.close()
    log.commit(GROUP, {(USERS, 0): 2})
    assert log.committed(GROUP, USERS, 0) == 2


def test_a_commit_that_nobody_answers_ends_in_time(config, kafka, opened, monkeypatch):
    create(config)
    log = opened(config)
    log.append_many(some(USERS, 0, 3))
    log.commit(GROUP, {(USERS, 0): 1})
    group = KafkaGroup(config, GROUP)
    os.kill(kafka.pid, signal.SIGSTOP)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(kafka_group, "ANSWER_TIMEOUT_S", 1.0)
            # Or the question before it would be what ends.
            patch.setattr(group, "committed", lambda places: dict.fromkeys(places, 1))
            with pytest.raises(LogUnavailable, match="no answer"):
                group.commit({(USERS, 0): 2})
    finally:
        os.kill(kafka.pid, signal.SIGCONT)
    # The late answer is not taken for that to what is committed next.
    group.commit({(USERS, 0): 3})
    assert log.committed(GROUP, USERS, 0) == 3
    group.close()
