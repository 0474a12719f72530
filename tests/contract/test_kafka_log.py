"""The contract on a real Kafka broker, and what only brokers can do."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import (
    KafkaError,
    KafkaException,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import (
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from streams.kafka_config import KafkaConfig
from streams.kafka_errors import ask, log_error
from streams.kafka_log import KafkaLog
from streams.log import Append, LogError, LogUnavailable, UnknownTopic
from streams.messages import decode_record
from streams.topics import DEAD, GROUP, LEDGER, ORGS, TOPICS, USERS
from tests.contract.kafka_logs import create
from tests.contract.log_contract import LOG_ID, PARTITIONS, LogContract, some

OTHER_ID = "f" * 32


class TestKafkaLog(LogContract):
    @pytest.fixture(autouse=True)
    def _broker(self, kafka):
        self.config = KafkaConfig(brokers=kafka.address, replication=1)

    def create_log(self):
        KafkaLog.create(self.config, LOG_ID, PARTITIONS, tzdata_version="2025b")
        return KafkaLog(self.config)

    def clock_ms(self):
        return time.time_ns() // 1_000_000


def test_brokers_without_our_topics_say_init(config):
    with pytest.raises(UnknownTopic, match="plaudit init"):
        KafkaLog(config)


def test_brokers_that_do_not_answer_are_unavailable(monkeypatch):
    monkeypatch.setattr("streams.kafka_admin.ANSWER_TIMEOUT_S", 0.5)
    with pytest.raises(LogUnavailable, match="no broker answers"):
        KafkaLog(KafkaConfig(brokers="127.0.0.1:1"))


def test_an_interrupted_init_is_finished_by_the_next(config, admin, opened):
    # As it may have been left: a topic is missing, another is empty, a third begun.
    create(config)
    for future in admin.delete_topics([DEAD, LEDGER]).values():
        future.result(timeout=10)
    made = NewTopic(LEDGER, PARTITIONS, 1, config=settings_of(admin, USERS))
    deadline = time.monotonic() + 10
    while admin.create_topics([made])[LEDGER].exception(timeout=10) is not None:
        assert time.monotonic() < deadline
    assert create(config, log_id=OTHER_ID) == LOG_ID
    log = opened(config)
    for topic in TOPICS:
        for partition in range(log.partitions(topic)):
            assert log.end_offset(topic, partition) == 1, "never two genesis records"
            (record,) = log.read(topic, partition, 0)
            assert decode_record(None, record.value).messages[0].log_id == LOG_ID


def settings_of(admin, topic):
    resource = ConfigResource(ResourceType.TOPIC, topic)
    found = admin.describe_configs([resource])[resource].result(timeout=10)
    return {name: entry.value for name, entry in found.items() if not entry.is_default}


def test_an_init_interrupted_before_any_offset_was_committed_is_finished(
    config, admin, opened
):
    create(config)
    admin.delete_consumer_groups([GROUP])[GROUP].result(timeout=10)
    create(config, log_id=OTHER_ID)
    log = opened(config)
    assert [log.committed(GROUP, USERS, n) for n in range(PARTITIONS)] == [0, 0, 0]
    assert log.committed(GROUP, ORGS, 0) == 0


def test_create_refuses_another_number_of_partitions(config):
    create(config)
    with pytest.raises(LogError, match="3 partitions, not 4"):
        create(config, partitions=4)


def test_partitions_that_were_added_are_noticed(config, admin):
    create(config)
    for topic in (USERS, LEDGER):
        more = NewPartitions(topic, PARTITIONS + 1)
        admin.create_partitions([more])[topic].result(timeout=10)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with pytest.raises(LogError) as refused:
            KafkaLog(config).close()
        if "made with 3" in str(refused.value):
            break
    assert "made with 3" in str(refused.value)


def test_a_log_is_known_by_any_partition_that_is_kept_from_its_beginning(
    config, admin, opened
):
    create(config)
    (deleted,) = admin.delete_records([TopicPartition(USERS, 0, 1)]).values()
    deleted.result(30)
    log = opened(config)
    assert log.first_offset(USERS, 0) == 1
    assert log.log_id == LOG_ID


def test_a_topic_that_somebody_wrote_to_before_is_no_log(config, kafka, admin):
    made = NewTopic(USERS, PARTITIONS, 1, config=log_settings())
    admin.create_topics([made])[USERS].result(timeout=10)
    producer = Producer({"bootstrap.servers": kafka.address})
    producer.produce(USERS, b"first", partition=1)
    assert producer.flush(10) == 0
    with pytest.raises(LogError, match="users/1 does not begin with a genesis record"):
        create(config)


def log_settings():
    return {
        "message.timestamp.type": "LogAppendTime",
        "retention.ms": "-1",
        "retention.bytes": "-1",
    }


def test_reads_go_on_fetch_ahead_and_jump(config, opened):
    create(config)
    log = opened(config)
    log.append_many(some(USERS, 0, 2_500) + some(USERS, 1, 5, b"w"))
    offset, seen = 0, []
    while records := log.read(USERS, 0, offset, records_max=700):
        seen += [record.offset for record in records]
        offset = records[-1].offset + 1
    assert seen == list(range(2_501))
    assert [r.offset for r in log.read(USERS, 1, 4)] == [4, 5]
    assert [r.offset for r in log.read(USERS, 0, 1_234, records_max=2)] == [1234, 1235]
    log.append_many(some(USERS, 0, 1))
    assert [r.offset for r in log.read(USERS, 0, 2_500)] == [2_500, 2_501]


def test_threads_may_read_at_the_same_time(config, opened):
    create(config)
    log = opened(config)
    log.append_many([one for n in range(3) for one in some(USERS, n, 200)])

    def read_all(n):
        return [record.offset for record in log.read(USERS, n % 3, 0)]

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(read_all, range(12))) == [list(range(201))] * 12


def test_marks_of_a_transaction_leave_a_hole_that_reads_step_over(
    config, kafka, opened
):
    create(config)
    producer = Producer(
        {"bootstrap.servers": kafka.address, "transactional.id": "foreign"}
    )
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(USERS, b"v", partition=0)
    producer.commit_transaction(20)
    log = opened(config)
    assert log.end_offset(USERS, 0) == 3
    assert [r.offset for r in log.read(USERS, 0, 1)] == [1]
    assert log.read(USERS, 0, 2) == []
    log.append_many(some(USERS, 0, 1))
    assert [r.offset for r in log.read(USERS, 0, 1)] == [1, 3]


def test_what_was_acknowledged_outlives_a_killed_broker(start_kafka, opened):
    broker = start_kafka()
    config = KafkaConfig(brokers=broker.address, replication=1)
    create(config)
    log = opened(config)
    acknowledged = {}
    stop = threading.Event()

    def write():
        number = 0
        while not stop.is_set():
            number += 1
            (offset,) = log.append_many([Append(USERS, 0, None, b"%d" % number)])
            acknowledged[offset] = b"%d" % number

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        for _ in range(2):
            before, deadline = len(acknowledged), time.monotonic() + 20
            while len(acknowledged) < before + 50:
                assert time.monotonic() < deadline and not writing.done()
                time.sleep(0.01)
            broker.kill()
            broker.start()
        stop.set()
        writing.result(timeout=40)
    records = log.read(USERS, 0, 1, records_max=100_000)
    assert [r.offset for r in records] == list(range(1, len(records) + 1))
    found = {r.offset: r.value for r in records}
    assert acknowledged.items() <= found.items()
    # Idempotent: what was sent again because of the kill stands there once.
    assert len(set(found.values())) == len(found)


def test_an_append_that_nobody_acknowledges_is_unavailable(start_kafka, opened):
    broker = start_kafka()
    config = KafkaConfig(brokers=broker.address, replication=1)
    create(config)
    log = opened(config, append_timeout_s=1.0)
    assert log.append_many(some(USERS, 0, 1)) == [1]
    broker.kill()
    began = time.monotonic()
    with pytest.raises(LogUnavailable, match="not written"):
        log.append_many(some(USERS, 0, 1))
    assert time.monotonic() - began < 10
    broker.start()
    (offset,) = opened(config).append_many(some(USERS, 0, 1))
    assert offset >= 2


def test_more_than_the_queue_holds_waits_for_room(config, opened, monkeypatch):
    create(config)
    monkeypatch.setattr("streams.kafka_writer.QUEUE_RECORDS_MAX", 5)
    log = opened(config)
    assert log.append_many(some(USERS, 0, 60)) == list(range(1, 61))


def test_a_full_queue_that_nobody_empties_is_unavailable(
    start_kafka, opened, monkeypatch
):
    monkeypatch.setattr("streams.kafka_writer.QUEUE_RECORDS_MAX", 5)
    broker = start_kafka()
    config = KafkaConfig(brokers=broker.address, replication=1)
    create(config)
    log = opened(config, append_timeout_s=2.0)
    broker.kill()
    began = time.monotonic()
    with pytest.raises(LogUnavailable):
        log.append_many(some(USERS, 0, 60))
    assert time.monotonic() - began < 10


def test_a_producer_that_failed_for_good_is_replaced(config, opened):
    """librdkafka says so once; afterwards that producer takes nothing more."""
    create(config)
    log = opened(config)
    assert log.append_many([Append(USERS, 0, None, b"before")]) == [1]
    writer = log._writer
    failed = writer._producer
    writer._take_error(KafkaError(KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, fatal=True))
    deadline = time.monotonic() + 20
    while writer._producer is failed:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert log.append_many([Append(USERS, 0, None, b"after")]) == [2]
    writer._take_error(KafkaError(KafkaError._TRANSPORT))
    assert writer._failed is None


@pytest.mark.parametrize(
    "code",
    [
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        # What a client says of brokers that were paused, then started again.
        KafkaError._ALL_BROKERS_DOWN,
    ],
)
def test_a_broker_that_does_not_know_a_topic_yet_is_asked_again(code):
    answers = [KafkaException(KafkaError(code)), (0, 7)]

    def question():
        answer = answers.pop(0)
        if isinstance(answer, KafkaException):
            raise answer
        return answer

    assert ask(question, "cannot ask", 10.0) == (0, 7)
    assert not isinstance(log_error(KafkaError(code), "cannot ask"), UnknownTopic)
