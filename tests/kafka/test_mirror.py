"""Kafka and Redis together: workers come and go, readers have no tables."""

import shutil

import pytest

from streams.topics import USERS
from tables.errors import ViewUnavailable
from tables.redis_client import RedisClient
from tables.redis_mirrors import RedisMirrors
from tables.redis_view import RedisView
from tests.crash import campaigns
from tests.crash.api import Api
from tests.crash.worker import plaudit, wait_until
from tests.kafka.cluster import Cluster
from tests.mirrored import assert_mirrored

pytestmark = pytest.mark.slow
PARTITIONS = 4


class MirroredCluster(Cluster):
    """Workers with folders of their own, and one mirror of all they own."""

    def __init__(self, path, broker, redis, monkeypatch):
        monkeypatch.setenv("PLAUDIT_REDIS_URL", redis.url)
        super().__init__(path, broker, monkeypatch, partitions=PARTITIONS)
        self.redis = RedisClient(redis.url)
        client = RedisClient(redis.url)
        self.view = RedisView(client, self.log.log_id, PARTITIONS)

    def close(self):
        self.view.close()
        self.redis.close()
        super().close()

    def is_mirrored(self):
        """Tell whether the mirror holds all that the log does."""
        try:
            rows = {place: self.view.position(*place) for place in self.places()}
        except ViewUnavailable:
            return False
        ends = self.ends()
        return all(
            row is not None and row.offset + 1 == ends[place]
            for place, row in rows.items()
        )

    def check_mirror(self, **options):
        """Compare every slot with the rows that go furthest; no worker may run."""
        mirrors = RedisMirrors(self.redis, self.log.log_id)
        for topic, partition in self.places():
            name = mirrors.slot(topic, partition).name
            with self.redis.calling() as raw:
                assert_mirrored(
                    raw, name, self.rows(topic, partition), topic, **options
                )


@pytest.fixture
def cluster(kafka, redis, tmp_path, monkeypatch):
    made = MirroredCluster(tmp_path / "folders", kafka, redis, monkeypatch)
    made.command("org.create", {"settings": {"name": "Acme"}})
    made.command("campaign.create", campaigns.POINTS)
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
    reader = cluster.base / "reader"
    reader.mkdir()
    for name in ("master.key", "credentials.json"):
        shutil.copy(cluster.path / name, reader / name)
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
