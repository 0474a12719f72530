"""Records as no client of ours writes them, on a real broker, before real workers."""

import pytest
from confluent_kafka import Producer

from plaudit.dead import dead_letters
from streams.topics import USERS
from tests.crash.worker import wait_until
from tests.kafka.cluster import Cluster

pytestmark = pytest.mark.slow
TIMEOUT_S = 60


@pytest.fixture
def cluster(kafka, tmp_path, monkeypatch):
    made = Cluster(tmp_path / "folders", kafka, monkeypatch, partitions=1)
    made.begin()
    yield made
    made.close()


BLANKS = 101_000_000
"""More than librdkafka unpacks by default; packed, they fit in 4 kB."""


def produce(cluster, value, **settings):
    """Write one record to the partition of `users`."""
    producer = Producer({"bootstrap.servers": cluster.config.brokers, **settings})
    errors = []
    producer.produce(
        USERS, value, partition=0, on_delivery=lambda error, _: errors.append(error)
    )
    assert producer.flush(TIMEOUT_S) == 0
    assert errors == [None]


def test_a_name_that_fills_a_record_is_a_dead_letter_like_any_other(cluster):
    action = b'["action","acme","' + b"u" * 999_900 + b'",null,"x",null,{},{}]'
    with cluster.worker() as worker:
        wait_until(cluster.is_folded, worker)
        produce(cluster, b"[1,[" + action + b"]]")
        cluster.purchases(0, 50)
        wait_until(cluster.is_folded, worker)
        assert worker.stop() == 0, worker.said
    cluster.check_exactly_once()
    (letter,) = dead_letters(cluster.log, 10)
    assert letter.user_id == "u" * 1_000
    assert letter.original.encode() == action


def test_what_workers_fold_they_can_read_again(cluster):
    with cluster.worker() as worker:
        wait_until(cluster.is_folded, worker)
        produce(
            cluster,
            b" " * BLANKS,
            **{
                "compression.type": "zstd",
                "message.max.bytes": BLANKS + 1_000,
                "queue.buffering.max.kbytes": BLANKS // 1_000,
            },
        )
        wait_until(cluster.is_folded, worker)
        assert worker.stop() == 0, worker.said
    # It is the last that was folded: the next start looks at it.
    with cluster.worker() as worker:
        cluster.purchases(0, 50)
        wait_until(cluster.is_folded, worker)
        assert worker.stop() == 0, worker.said
    cluster.check_exactly_once()
    (letter,) = dead_letters(cluster.log, 10)
    assert (letter.code, letter.original) == ("UNDECODABLE_RECORD", None)
