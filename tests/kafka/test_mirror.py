"""Kafka and Redis together: workers come and go, readers have no tables."""

import shutil

import pytest

from streams.topics import USERS
from tests.crash.api import Api
from tests.crash.worker import plaudit, wait_until
from tests.kafka.mirrored_cluster import MirroredCluster

pytestmark = pytest.mark.slow
PARTITIONS = 4


@pytest.fixture
def cluster(kafka, redis, tmp_path, monkeypatch):
    made = MirroredCluster(
        tmp_path / "folders", kafka, redis, monkeypatch, partitions=PARTITIONS
    )
    made.begin()
    yield made
    made.close()


def test_workers_that_come_and_go_keep_one_mirror(cluster):
    with cluster.worker("first") as first:
        wait_until(cluster.is_mirrored, first)
        with cluster.worker("second") as second:
            cluster.purchases(0, 1_000)
            wait_until(cluster.is_mirrored, first)
            cluster.purchases(1_000, 1_000)
            second.kill()
        cluster.purchases(2_000, 500)
        wait_until(cluster.is_mirrored, first, "the mirror after a failover")
        assert first.stop() == 0, first.said
    cluster.check_mirror(zombies=True)


def test_a_lost_disk_leaves_the_mirror_as_it_is(cluster):
    cluster.purchases(0, 900)
    with cluster.worker() as worker:
        wait_until(cluster.is_mirrored, worker)
        wait_until(cluster.is_folded, worker)
        assert worker.stop() == 0, worker.said
    before = [cluster.view.position(USERS, n).offset for n in range(PARTITIONS)]
    shutil.rmtree(cluster.path / "state")
    assert [cluster.view.position(USERS, n).offset for n in range(PARTITIONS)] == before
    with cluster.worker() as worker:
        wait_until(cluster.has_tables, worker)
        cluster.purchases(900, 100)
        wait_until(cluster.is_mirrored, worker)
        assert worker.stop() == 0, worker.said
    cluster.check_mirror()


def test_an_api_without_tables_serves_reads(cluster):
    reader = cluster.reader()
    command = ["token", "--sub", "u", "--scope", "loyalty:read", "-d", reader]
    with cluster.worker() as worker, Api(reader) as api:
        wait_until(cluster.is_mirrored, worker)
        api.wait_until_it_answers()
        wait_until(lambda: api.ready()[0] == 200, api)
        token = plaudit(*command).stdout.strip()
        status, body = api.call(
            "GET", "/loyalty/v1/campaigns", headers={"Authorization": f"Bearer {token}"}
        )
        assert status == 200, body
        status = plaudit("status", "-d", reader)
        assert "worker runs" in status.stdout
        assert worker.stop() == 0, worker.said
    assert not (reader / "state").exists()
