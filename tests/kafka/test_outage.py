"""Brokers that go away: a worker ends with one message, and does not flood its log."""

import logging

import pytest

from streams.kafka_config import calm
from tests.crash.worker import wait_until
from tests.kafka.cluster import Cluster

LINES_MAX = 40
"""What a worker may say of an outage of some seconds; it said 70 lines a second."""


@pytest.fixture
def broker(start_kafka):
    """A broker of the test's own."""
    return start_kafka()


@pytest.fixture
def cluster(broker, tmp_path, monkeypatch):
    made = Cluster(tmp_path / "folders", broker, monkeypatch, partitions=2)
    made.begin()
    yield made
    made.close()


def last_line(said):
    """Return why a worker ended; its clients may have had a word after that."""
    return [line for line in said.splitlines() if line.startswith("plaudit worker")][-1]


@pytest.mark.slow
def test_a_worker_that_loses_the_brokers_while_it_starts_says_so_in_a_line(cluster):
    with cluster.worker(program=("-m", "tests.kafka.lost_at_start")) as worker:
        assert worker.wait() == 1, worker.said
    assert "LogUnavailable: no broker answers" in last_line(worker.said)
    assert "Traceback" not in worker.said
    assert len(worker.said.splitlines()) < LINES_MAX


@pytest.mark.slow
def test_a_worker_that_loses_the_brokers_ends_with_a_line_and_says_little(
    cluster, broker
):
    with cluster.worker(program=("-m", "tests.kafka.impatient")) as worker:
        wait_until(cluster.is_folded, worker)
        cluster.purchases(0, 200)
        broker.kill()
        assert worker.wait() == 1, worker.said
    assert "LogUnavailable: " in last_line(worker.said)
    assert "Traceback" not in worker.said
    assert len(worker.said.splitlines()) < LINES_MAX


def test_every_logger_of_a_package_says_the_same_once(caplog):
    child = logging.getLogger("some_package.part")
    other = logging.getLogger("some_packages")
    calm("some_package")
    for number in range(100):
        child.error("cannot connect [thread %d]", number)
        other.error("cannot connect")
    assert [record.name for record in caplog.records].count(child.name) == 1
    assert [record.name for record in caplog.records].count(other.name) == 100
