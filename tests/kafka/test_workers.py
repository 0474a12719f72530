"""Real workers on a real broker: what the embedded log promises holds here, too."""

import json
import re
import shutil
import signal
import time
from functools import partial

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from streams.log import Append
from streams.topics import GROUP, LEDGER, ORGS, USERS
from tests.crash.worker import ORG, wait_until
from tests.kafka.cluster import Cluster, offset_of, owner_of, rows_in

pytestmark = pytest.mark.slow
PARTITIONS = 4
FAILOVER_S = 15


@pytest.fixture
def cluster(kafka, tmp_path, monkeypatch):
    made = Cluster(tmp_path / "folders", kafka, monkeypatch, partitions=PARTITIONS)
    made.begin()
    yield made
    made.close()


def produce(cluster, first, count):
    """Write single actions as any producer does: key org/user, murmur2, compressed."""
    producer = Producer(
        {
            "bootstrap.servers": cluster.config.brokers,
            "partitioner": "murmur2_random",
            "compression.type": "lz4",
        }
    )
    for number in range(first, first + count):
        user = f"user-{number % 50}"
        body = {
            "userId": user,
            "action": "purchase",
            "eventId": f"event-{number}",
            "data": {"amount": number % 97},
        }
        producer.produce(USERS, json.dumps(body).encode(), key=f"{ORG}/{user}".encode())
    assert producer.flush(20) == 0


def held(cluster, name):
    """Return the partitions whose rows a worker of that folder has open."""
    return {
        place for place in cluster.places() if owner_of(cluster.base / name, *place)
    }


def test_actions_that_any_producer_writes_are_folded(cluster):
    with cluster.worker() as worker:
        produce(cluster, 0, 500)
        wait_until(cluster.is_folded, worker)
        produce(cluster, 500, 300)
        wait_until(cluster.is_folded, worker)
        assert worker.stop() == 0, worker.said
    cluster.check_exactly_once()
    states = [
        key for n in range(PARTITIONS) for key in cluster.rows(USERS, n) if key[0] == 16
    ]
    assert len(states) == 50


def test_two_workers_share_and_one_that_is_killed_is_replaced(cluster):
    with cluster.worker("first") as first, cluster.worker("second") as second:
        cluster.purchases(0, 400)
        everything = set(cluster.places())
        wait_until(
            lambda: (
                held(cluster, "first") | held(cluster, "second") == everything
                and {2, 3}
                == {len(held(cluster, "first")), len(held(cluster, "second"))}
            ),
            first,
            "each worker has its share",
        )
        wait_until(cluster.is_folded, first)
        cluster.purchases(400, 2_000)
        second.kill()
        began = time.monotonic()
        cluster.purchases(2_400, 400)
        wait_until(lambda: held(cluster, "first") == everything, first)
        assert time.monotonic() - began < FAILOVER_S
        wait_until(cluster.is_folded, first)
        assert first.stop() == 0, first.said
    cluster.check_exactly_once()


def test_a_worker_that_comes_back_finds_its_own_rows(cluster):
    with cluster.worker("first") as first:
        with cluster.worker("second") as second:
            cluster.purchases(0, 300)
            wait_until(lambda: len(held(cluster, "second")) >= 2, first)
            wait_until(
                lambda: cluster.has_tables("second", held(cluster, "second")), first
            )
            wait_until(cluster.is_folded, first)
            assert second.stop() == 0, second.said
        folder = cluster.base / "second"
        had = {place for place in cluster.places() if rows_in(folder, *place)}
        # It left: no waiting for a session to end.
        wait_until(lambda: held(cluster, "first") == set(cluster.places()), first)
        cluster.purchases(300, 300)
        wait_until(cluster.is_folded, first)
        with cluster.worker("second") as second:
            wait_until(lambda: len(held(cluster, "second")) >= 2, second)
            assert held(cluster, "second") <= had, "nothing is rebuilt from the log"
            cluster.purchases(600, 300)
            wait_until(cluster.is_folded, first)
            assert second.stop() == 0, second.said
        assert first.stop() == 0, first.said
    cluster.check_exactly_once()


@pytest.mark.parametrize(
    "fault", ["after_fold:2", "after_ledger:2", "after_write:3", "after_ack:2"]
)
def test_a_worker_killed_in_a_step_repeats_it(cluster, fault):
    cluster.purchases(0, 300)
    with cluster.worker(fault=fault) as worker:
        worker.wait()
    with cluster.worker() as worker:
        cluster.purchases(300, 100)
        wait_until(cluster.is_folded, worker)
        assert worker.stop() == 0, worker.said
    cluster.check_exactly_once()


def test_a_lost_disk_is_rebuilt_silently_up_to_the_committed_offset(cluster):
    cluster.purchases(0, 900)
    cluster.fold(processes=1)
    before = {n: cluster.log.end_offset(LEDGER, n) for n in range(PARTITIONS)}
    committed = cluster.committed()
    shutil.rmtree(cluster.path / "state")
    with cluster.worker() as worker:
        wait_until(cluster.has_tables, worker, "tables are in force again")
        # Nothing is published twice, and the group never goes back.
        assert before == {n: cluster.log.end_offset(LEDGER, n) for n in before}
        assert cluster.committed() == committed
        cluster.purchases(900, 100)
        wait_until(cluster.is_folded, worker)
        assert worker.stop() == 0, worker.said
    cluster.check_exactly_once()


def test_rows_ahead_of_the_group_take_the_group_along(cluster, kafka):
    cluster.purchases(0, 300)
    cluster.fold(processes=1)
    # As after a crash between storing and committing.
    admin = AdminClient({"bootstrap.servers": kafka.address})
    admin.delete_consumer_groups([GROUP])[GROUP].result(timeout=10)
    cluster.log.commit(GROUP, dict.fromkeys(cluster.places(), 1))
    with cluster.worker() as worker:
        cluster.purchases(300, 50)
        wait_until(cluster.is_folded, worker)
        assert worker.stop() == 0, worker.said
    cluster.check_exactly_once()


def test_a_group_that_was_moved_past_what_was_not_folded(cluster, kafka):
    cluster.purchases(0, 300)
    cluster.fold(processes=1)
    folded = cluster.committed()
    cluster.purchases(300, 300, users=1_000)
    cluster.log.commit(GROUP, cluster.ends())
    with cluster.worker() as worker:
        assert worker.wait() == 2
        assert "Traceback" not in worker.said
        found = re.findall(r"users/(\d): .* set it back to (\d+)", worker.said)
    assert found
    for partition, offset in found:
        # Not beyond what was folded; what is folded again keeps its ids.
        assert int(offset) <= folded[USERS, int(partition)]
    back = [TopicPartition(*place, offset) for place, offset in folded.items()]
    admin = AdminClient({"bootstrap.servers": kafka.address})
    (done,) = admin.alter_consumer_group_offsets(
        [ConsumerGroupTopicPartitions(GROUP, back)]
    ).values()
    done.result(timeout=20)
    cluster.fold(processes=1)
    cluster.check_exactly_once()


def test_records_that_are_deleted_before_they_are_folded(cluster, kafka):
    cluster.purchases(0, 300)
    with cluster.worker() as worker:
        wait_until(cluster.is_folded, worker)
        worker.process.send_signal(signal.SIGSTOP)
        # More than the fetch that is under way may bring.
        large = Append(USERS, 0, None, b"x" * 800_000)
        cluster.log.append_many([large] * 8)
        admin = AdminClient({"bootstrap.servers": kafka.address})
        end = cluster.log.end_offset(USERS, 0)
        ((_place, deleted),) = admin.delete_records(
            [TopicPartition(USERS, 0, end)]
        ).items()
        deleted.result(timeout=20)
        worker.process.send_signal(signal.SIGCONT)
        assert worker.wait() == 2
        assert "Traceback" not in worker.said
        # The latter where it had been asleep for its whole session.
        said = r"users/0: (offset \d+ comes next|the log is kept from)"
        assert re.search(said, worker.said)
    with cluster.worker() as worker:
        assert worker.wait() == 2
        assert f"users/0: the log is kept from offset {end} on" in worker.said


def test_a_worker_of_several_processes_is_several_members(cluster):
    cluster.purchases(0, 300)
    with cluster.worker(processes=2) as worker:
        wait_until(cluster.is_folded, worker)
        wait_until(lambda: held(cluster, "first") == set(cluster.places()), worker)
        cluster.purchases(300, 300)
        wait_until(cluster.is_folded, worker)
        assert worker.stop() == 0, worker.said
    cluster.check_exactly_once()


def test_a_broker_that_starts_again_is_met_again(start_kafka, tmp_path, monkeypatch):
    broker = start_kafka()
    cluster = Cluster(tmp_path / "folders", broker, monkeypatch, partitions=PARTITIONS)
    cluster.begin()
    cluster.purchases(0, 300)
    with cluster.worker() as worker:
        wait_until(cluster.is_folded, worker)
        broker.kill()
        broker.start()
        cluster.purchases(300, 300)
        wait_until(cluster.is_folded, worker)
        assert worker.stop() == 0, worker.said
    cluster.check_exactly_once()
    cluster.close()


def test_folders_of_both_workers_agree_where_both_have_folded(cluster):
    cluster.purchases(0, 200)
    for name in ("first", "second"):
        with cluster.worker(name) as worker:
            wait_until(cluster.is_folded, worker)
            wait_until(partial(cluster.has_tables, name), worker)
            assert worker.stop() == 0, worker.said
    for place in cluster.places():
        one, other = (rows_in(folder, *place) for folder in cluster.folders())
        assert offset_of(one) == offset_of(other)
        assert one == other, place
    assert offset_of(cluster.rows(ORGS, 0)) >= 2


def test_a_worker_that_slept_through_its_session_does_no_harm(cluster):
    with cluster.worker("first") as first, cluster.worker("second") as second:
        cluster.purchases(0, 300)
        wait_until(lambda: len(held(cluster, "second")) >= 2, first)
        wait_until(cluster.is_folded, first)
        second.process.send_signal(signal.SIGSTOP)
        # What it has fetched and not folded yet it folds when it wakes up.
        cluster.purchases(300, 600)
        wait_until(cluster.is_folded, first, "the other one takes over")
        second.process.send_signal(signal.SIGCONT)
        cluster.purchases(900, 300)
        wait_until(cluster.is_folded, first)
        # What both have is not a member's yet.
        wait_until(
            lambda: (
                second.process.poll() is not None
                or (
                    len(held(cluster, "second")) >= 2
                    and not held(cluster, "first") & held(cluster, "second")
                )
            ),
            first,
            "it ends, to be started again, or it is a member again",
        )
        if second.process.poll() is None:
            assert second.stop() == 0, second.said
        else:
            # A commit of its was refused.
            assert second.process.returncode == 1, second.said
        assert first.stop() == 0, first.said
    cluster.check_exactly_once()
