"""Real workers with a mirror: killed, flushed, cut off; in the end the slots are equal.

Redis is the test's own: it may be stopped, emptied and started again.
"""

import http.client
import json
import threading
import time

import pytest

from streams.faults import AMID_EPOCH
from streams.lock import WorkerLock
from streams.topics import USERS
from tables.errors import ViewUnavailable
from tables.redis_client import RedisClient
from tables.redis_mirrors import RedisMirrors
from tables.redis_view import RedisView
from tests.crash import campaigns
from tests.crash.api import Api
from tests.crash.worker import (
    DEADLINE_S,
    KILLED,
    Folder,
    Worker,
    credentials,
    now_ms,
    plaudit,
    wait_until,
)
from tests.mirrored import assert_mirrored

pytestmark = pytest.mark.slow
URL = "PLAUDIT_REDIS_URL"


class MirroredFolder(Folder):
    """A data folder whose worker mirrors its tables."""

    def __init__(self, data_dir, server):
        super().__init__(data_dir)
        self.server = server
        self.client = RedisClient(server.url)
        self.slots = {
            place: RedisMirrors(self.client, self.log.log_id).slot(*place)
            for place in self.places()
        }
        self.view = RedisView(RedisClient(server.url), self.log.log_id, 2)

    def close(self):
        self.view.close()
        self.client.close()
        super().close()

    def is_mirrored(self):
        """Return whether every slot holds all that the log does."""
        return all(self.is_at_end(*place) for place in self.places())

    def is_at_end(self, topic, partition):
        try:
            row = self.view.position(topic, partition)
        except ViewUnavailable:
            return False
        end = self.log.end_offset(topic, partition)
        return row is not None and row.offset + 1 == end

    def run(self):
        """Run a worker until all is folded and mirrored."""
        began_ms = now_ms()
        with Worker(self.path, processes=0) as worker:
            wait_until(self.is_mirrored, worker, "the mirror of the whole log")
            wait_until(lambda: self.heard_since(began_ms), worker, "its heartbeats")
            assert worker.stop() == 0, worker.said

    def heard_since(self, at_ms):
        """Return whether every slot has a heartbeat that is younger."""
        beats = [self.view.heartbeat(*place) for place in self.places()]
        return all(beat is not None and beat.wall_ms > at_ms for beat in beats)

    def check_mirror(self):
        """Compare every slot with the tables, row by row; no worker may run."""
        # The processes of one that was killed follow it a moment later.
        lock = WorkerLock(self.path)
        lock.acquire(DEADLINE_S)
        lock.release()
        for (topic, partition), slot in self.slots.items():
            with self.client.calling() as raw:
                assert_mirrored(raw, slot.name, self.rows(topic, partition), topic)

    def epochs(self):
        return [
            self.server.ask("HGET", slot.name, "epoch") for slot in self.slots.values()
        ]

    def rows(self, topic, partition):
        """Return the stored rows, without what belongs to the mirror alone."""
        rows = super().rows(topic, partition)
        return {key: value for key, value in rows.items() if key[0] != 0x07}


@pytest.fixture
def folder(tmp_path, own_redis, monkeypatch):
    monkeypatch.setenv(URL, own_redis.url)
    made = MirroredFolder(tmp_path / "data", own_redis)
    made.command("org.create", {"settings": {"name": "Acme"}})
    for campaign in (campaigns.POINTS, campaigns.COINS):
        made.command("campaign.create", campaign)
    made.fold()
    yield made
    made.close()


class Load:
    """Appends envelopes all the while, in a thread."""

    def __init__(self, folder, first=0):
        self.folder = folder
        self.sent = first
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._stop.is_set():
            self.folder.purchases(self.sent, 50)
            self.sent += 50
            time.sleep(0.002)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_error):
        self._stop.set()
        self._thread.join(DEADLINE_S)

    def wait_for(self, more, worker):
        target = self.sent + more
        wait_until(lambda: self.sent >= target, worker, "more load")


@pytest.mark.parametrize("point", ["after_write", "after_mirror", "after_ack"])
def test_a_worker_killed_around_the_mirror(folder, point):
    folder.run()
    before = folder.epochs()
    for passes in (1, 3, 2):
        for first in range(0, 1_500, 100):
            folder.purchases(passes * 100_000 + first, 100)
        # What waits may be one step; what comes in meanwhile makes further ones.
        with (
            Worker(folder.path, f"{point}:{passes}") as worker,
            Load(folder, passes * 100_000 + 1_500),
        ):
            assert worker.wait() == KILLED
    folder.run()
    folder.check_exactly_once()
    folder.check_mirror()
    # Deltas were enough: nothing was written anew.
    assert folder.epochs() == before


def test_a_worker_killed_while_it_writes_an_epoch(folder):
    for first in range(0, 20_000, 500):
        folder.purchases(first, 500, users=5_000)
    folder.fold()
    folder.server.ask("FLUSHALL")
    for passes in (1, 2, 1):
        with Worker(folder.path, f"{AMID_EPOCH}:{passes}") as worker:
            assert worker.wait() == KILLED
    slot = folder.slots[USERS, 0]
    assert slot.state().offset is None
    folder.run()
    folder.check_mirror()


def test_flushed_under_load(folder):
    folder.run()
    with Worker(folder.path, processes=0) as worker:
        with Load(folder) as load:
            for _ in range(4):
                load.wait_for(1_000, worker)
                folder.server.ask("FLUSHALL")
        wait_until(folder.is_mirrored, worker, "the mirror of the whole log")
        assert worker.stop() == 0, worker.said
    folder.check_exactly_once()
    folder.check_mirror()


def test_redis_started_again_and_empty(folder):
    folder.run()
    with Worker(folder.path, processes=0) as worker:
        with Load(folder) as load:
            for _ in range(2):
                load.wait_for(500, worker)
                folder.server.stop()
                folder.server.start()
        wait_until(folder.is_mirrored, worker, "the mirror of the whole log")
        assert worker.stop() == 0, worker.said
    folder.check_exactly_once()
    folder.check_mirror()


def test_redis_that_lost_its_last_seconds(folder):
    """A failover to a replica that was behind: the deltas bring it up again."""
    folder.run()
    dump = {
        key: folder.server.ask("DUMP", key) for key in folder.server.ask("KEYS", "*")
    }
    for first in range(0, 2_000, 100):
        folder.purchases(first, 100)
    with Worker(folder.path) as worker:
        wait_until(folder.is_mirrored, worker)
        before = folder.epochs()
        # All at once: an owner that met the empty one would begin a new epoch.
        with (
            folder.client.calling() as raw,
            raw.pipeline(transaction=True) as all_at_once,
        ):
            all_at_once.flushall()
            for key, value in dump.items():
                all_at_once.restore(key, 0, value)
            all_at_once.execute()
        wait_until(folder.is_mirrored, worker, "the mirror of the whole log")
        assert worker.stop() == 0, worker.said
    folder.check_mirror()
    assert len(before) == 3


def test_reads_while_redis_is_away(folder):
    """503 or an answer that is right, from the first to the last moment."""
    org = credentials(folder.path)["orgId"]
    folder.run()
    path = f"/loyalty/v1/campaigns?orgId={org}"
    with Worker(folder.path, processes=0) as worker, Api(folder.path) as api:
        api.wait_until_it_answers()
        wait_until(lambda: api.ready()[0] == 200, api)
        command = ["token", "--sub", "u", "--scope", "loyalty:read", "-d", folder.path]
        headers = {"Authorization": f"Bearer {plaudit(*command).stdout.strip()}"}

        def status():
            return api.call("GET", path, headers=headers)[0]

        assert status() == 200
        folder.server.stop()
        assert status() == 503
        assert api.ready()[0] == 503
        folder.purchases(0, 100)
        assert {status() for _ in range(20)} == {503}
        folder.server.start()
        wait_until(lambda: status() == 200, api, "reads after Redis is back")
        wait_until(folder.is_mirrored, worker, "the mirror of the whole log")
        # The owner is silent: what is there is still right, and says how old it is.
        worker.kill()
        wait_until(lambda: age_of(api, path, headers) > 2_000, api, "an age")
        assert status() == 200
    folder.run()
    folder.check_exactly_once()
    folder.check_mirror()


def age_of(api, path, headers):
    keys = credentials(api.data_dir)
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=30)
    try:
        connection.request("GET", path, headers={"X-Org-ID": keys["orgId"], **headers})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        return int(answer.headers.get("X-Plaudit-Age-Ms", 0))
    finally:
        connection.close()


def test_the_command_writes_the_mirror_anew(folder):
    for first in range(0, 2_000, 100):
        folder.purchases(first, 100)
    folder.run()
    before = folder.epochs()
    # Whatever somebody did to it by hand.
    slot = folder.slots[USERS, 0]
    base = f"{slot.name}:{before[0].decode()}"
    folder.server.ask("HSET", f"{base}:rows", b"\x10acme\x00user-1\x00", b"wrong")
    with Worker(folder.path, processes=0):
        done = plaudit("mirror", "rebuild", "-d", folder.path, "--json")
        report = json.loads(done.stdout)
    places = {(one["topic"], one["partition"]) for one in report["partitions"]}
    assert places == set(folder.places())
    assert all(one["rows"] > 0 for one in report["partitions"])
    assert set(folder.epochs()).isdisjoint(before)
    folder.check_mirror()


def test_the_command_names_partitions_and_what_is_missing(folder, monkeypatch):
    folder.run()
    before = folder.epochs()
    with Worker(folder.path):
        done = plaudit("mirror", "rebuild", "users/1", "-d", folder.path)
    assert "users/1: written anew up to offset" in done.stdout
    after = folder.epochs()
    assert [one == two for one, two in zip(before, after, strict=True)] == [
        True,
        False,
        True,
    ]
    wrong = plaudit("mirror", "rebuild", "users/9", "-d", folder.path, check=False)
    assert wrong.returncode == 2
    monkeypatch.delenv(URL)
    none = plaudit("mirror", "rebuild", "-d", folder.path, check=False)
    assert none.returncode == 2
    assert URL in none.stderr


def test_a_rebuild_of_the_tables_is_followed_by_the_mirror(folder):
    folder.run()
    before = folder.epochs()
    plaudit("rebuild", "users/0", "-d", folder.path)
    assert folder.epochs() == before
    with Worker(folder.path) as worker:
        wait_until(lambda: folder.epochs()[0] != before[0], worker, "a new epoch")
        wait_until(folder.is_mirrored, worker)
        assert worker.stop() == 0, worker.said
    assert folder.epochs()[1:] == before[1:]
    folder.check_mirror()


def test_a_password_is_never_said(folder, monkeypatch):
    folder.server.ask("CONFIG", "SET", "requirepass", "s3cr3t-word")
    wrong = folder.server.url.replace("//", "//:wr0ng-word@")
    monkeypatch.setenv(URL, wrong)
    with Worker(folder.path) as worker:
        assert worker.wait() == 2
        assert "correct the user and the password in PLAUDIT_REDIS_URL" in worker.said
        assert "wr0ng-word" not in worker.said
    monkeypatch.setenv(URL, folder.server.url.replace("//", "//:s3cr3t-word@"))
    folder.purchases(0, 100)
    with Worker(folder.path) as worker:
        wait_until(folder.is_folded, worker)
        assert worker.stop() == 0
        assert "s3cr3t-word" not in worker.said
    monkeypatch.setenv(URL, "redis://:oth3r-word@[broken")
    done = plaudit("status", "-d", folder.path, check=False)
    assert done.returncode == 2
    assert "oth3r-word" not in done.stderr
