"""Topics that would lose or reorder records stop whoever opens the log."""

import time

import pytest
from confluent_kafka.admin import (
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from streams.kafka_config import KafkaConfig
from streams.kafka_errors import ask
from streams.kafka_log import KafkaLog
from streams.kafka_topics import FIXED, KEPT
from streams.log import LogError
from streams.topics import DEAD, LEDGER, ORGS, TOPICS, USERS
from tests.contract.kafka_logs import create
from tests.contract.log_contract import LOG_ID, some


@pytest.mark.parametrize(
    ("topic", "name", "value", "problem"),
    [
        (USERS, "cleanup.policy", "compact", "users needs cleanup.policy=delete"),
        (ORGS, "retention.ms", "604800000", "orgs needs retention.ms=-1"),
        (DEAD, "retention.bytes", "1000000", "dead needs retention.bytes=-1"),
        (USERS, "message.timestamp.type", "CreateTime", "type=LogAppendTime"),
        (LEDGER, "max.message.bytes", "500000", "max.message.bytes>=1000000"),
        (ORGS, "unclean.leader.election.enable", "true", "enable=false"),
    ],
)
def test_a_setting_that_could_lose_records_stops_the_start(
    config, admin, topic, name, value, problem
):
    create(config)
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(timeout=10)
    deadline = time.monotonic() + 10
    found = ""
    while problem not in found:
        assert time.monotonic() < deadline, found
        try:
            KafkaLog(config).close()
        except LogError as error:
            found = str(error)
    assert "kafka-configs.sh" in found


def test_the_ledger_may_be_kept_for_less(config, admin, opened):
    create(config)
    entry = ConfigEntry(
        "retention.ms", "604800000", incremental_operation=AlterConfigOpType.SET
    )
    resource = ConfigResource(ResourceType.TOPIC, LEDGER, incremental_configs=[entry])
    admin.incremental_alter_configs([resource])[resource].result(timeout=10)
    assert opened(config).log_id == LOG_ID


def test_fewer_copies_than_asked_for_stop_the_start(config, kafka):
    create(config)
    with pytest.raises(LogError, match="1 copies, PLAUDIT_KAFKA_REPLICATION asks for"):
        KafkaLog(KafkaConfig(brokers=kafka.address))


def test_an_append_that_one_broker_may_lose_stops_the_start(config, kafka):
    # A broker takes no value below 1, so the need is what must be greater.
    create(config)
    with pytest.raises(LogError) as caught:
        KafkaLog(KafkaConfig(brokers=kafka.address))
    for topic in TOPICS:
        assert f"{topic} needs min.insync.replicas>=2, not 1" in str(caught.value)


def test_more_copies_than_brokers_are_refused_with_what_to_do(kafka):
    with pytest.raises(LogError, match="PLAUDIT_KAFKA_REPLICATION=1"):
        create(KafkaConfig(brokers=kafka.address))


@pytest.mark.parametrize("topic", TOPICS)
def test_a_topic_that_was_deleted_and_made_anew(config, admin, opened, topic):
    create(config)
    log = opened(config)
    log.append_many(some(USERS, 0, 3) + some(ORGS, 0, 1))
    count = log.partitions(topic)
    admin.delete_topics([topic])[topic].result(timeout=20)

    def made():
        again = NewTopic(topic, count, 1, config=FIXED | KEPT)
        admin.create_topics([again])[topic].result(timeout=20)

    ask(made, "make the topic", 20)
    with pytest.raises(LogError, match="deleted and made anew"):
        KafkaLog(config)
    with pytest.raises(LogError, match=rf"{topic}/0.* is empty.* Restore all"):
        create(config)
