"""The scaled-out size under load: a broker, a Redis, two workers, two APIs, snapshots.

Each worker has a folder of its own; one of the APIs has no tables.
"""

import json
import shutil
import signal
import time

from streams.faults import AMID_EPOCH, POINTS
from tests.crash.api import Api
from tests.crash.worker import KILLED, plaudit, wait_until
from tests.kafka.cluster import owner_of
from tests.kafka.mirrored_cluster import MirroredCluster
from tests.torture.impatient import SESSION_TIMEOUT_S as IMPATIENT_S
from tests.torture.load import PEOPLE
from tests.torture.reader import Quiet
from tests.torture.under_load import PARTITIONS, UnderLoad, say

WORKERS = ("first", "second")
IMPATIENT = ("-m", "tests.torture.impatient")
"""A worker that is missed soon: more kills in the same time."""


class Scaled(UnderLoad):
    """What is done to workers, APIs, the broker and Redis."""

    # The epochs here are too small to be written in several pieces.
    points = tuple(point for point in POINTS if point != AMID_EPOCH)
    mishaps = (
        ("flush_redis",),
        ("restart_redis",),
        ("restart_broker",),
        ("kill_broker",),
        ("freeze",),
        ("silence",),
    )

    def __init__(self, path, rng, seed, broker, redis, monkeypatch, program=IMPATIENT):
        self.broker = broker
        self.redis = redis
        snapshots = path / "snapshots"
        snapshots.mkdir()
        monkeypatch.setenv("PLAUDIT_SNAPSHOTS_URL", f"file://{snapshots}")
        monkeypatch.setenv("PLAUDIT_SNAPSHOT_EVERY_S", "2")
        cluster = MirroredCluster(
            path / "folders", broker, redis, monkeypatch, partitions=PARTITIONS
        )
        apis = [Api(cluster.path), Api(cluster.reader())]
        super().__init__(cluster, apis, rng, seed)
        self._program = program
        self._options = {}
        self._workers = {}

    def give(self, name, **options):
        """Give a worker options of its own, as `Worker` has them."""
        self._options[name] = options

    def begin(self):
        for name in WORKERS:
            self.worker(name)
        wait_until(self.folder.is_mirrored, self.worker("first"))
        self.begin_load()

    def worker(self, name, fault=None):
        """Return a worker that runs, or start one; one with a fault is new."""
        running = self._workers.get(name)
        if running is not None and running.process.poll() is not None:
            # One that gave up is started again, as its supervisor would.
            say(f"    {name} had ended: {running.said.strip()[-200:]}")
            assert running.process.returncode == 1, running.said
            self.forget(name)
        elif running is not None and fault is not None:
            self.stop(name)
        if name not in self._workers:
            options = {"program": self._program, **self._options.get(name, {})}
            self._workers[name] = self.folder.worker(name, fault=fault, **options)
        return self._workers[name]

    def stop(self, name):
        worker = self._workers[name]
        # SIGTERM ends a worker that has hardly begun as it does any process.
        assert worker.stop() in (0, -signal.SIGTERM), worker.said
        self.forget(name)

    def forget(self, name):
        worker = self._workers.pop(name, None)
        if worker is not None:
            worker.__exit__()

    def start_all(self):
        for name in WORKERS:
            self.worker(name)

    def kill_worker(self):
        self.start_all()
        name = self.rng.choice(WORKERS)
        self.wait(0.2, 2.0)
        self.worker(name).kill()
        self.forget(name)

    def kill_worker_at(self, point):
        self.start_all()
        name = self.rng.choice(WORKERS)
        worker = self.worker(name, f"{point}:{self.rng.randint(1, 6)}")
        assert worker.wait() == KILLED, worker.said
        self.forget(name)

    def freeze(self):
        """Stop a worker in mid-step until others have its partitions; let it go on.

        What it goes on with is a late step of an assignment that was revoked.
        """
        self.start_all()
        worker = self.worker(self.rng.choice(WORKERS))
        worker.process.send_signal(signal.SIGSTOP)
        self.wait(IMPATIENT_S + 1, IMPATIENT_S + 3)
        worker.process.send_signal(signal.SIGCONT)

    def silence(self):
        """Let no worker run for so long that reads must say how old they are."""
        self.start_all()
        # Where nothing can be read, nothing would show its age either.
        self.wait_for_answers()
        self.kill_all_workers()
        began_s = time.monotonic()
        self.wait(3.5, 4.0)
        self.wait_for_answers()
        self.wait(1.2, 1.5)
        self.quiet.append(Quiet(began_s, time.monotonic(), set(PEOPLE)))

    def kill_all_workers(self):
        for name in WORKERS:
            if name in self._workers:
                self._workers[name].kill()
                self.forget(name)

    def lose_tables(self):
        """Delete the tables of one worker."""
        name = self.rng.choice(WORKERS)
        if name in self._workers:
            self._workers[name].kill()
            self.forget(name)
        shutil.rmtree(self.folder.base / name / "state", ignore_errors=True)

    def flush_redis(self):
        self.start_all()
        self.redis.ask("FLUSHALL")
        self.wait(0.5, 1.5)

    def restart_redis(self):
        self.start_all()
        self.redis.stop()
        self.wait(1.0, 3.0)
        self.redis.start()

    def restart_broker(self):
        """Stop it as an operator does (SIGTERM), and start it."""
        self.start_all()
        self.broker.stop()
        self.wait(0.2, 2.0)
        self.broker.start()

    def kill_broker(self):
        self.start_all()
        self.broker.kill()
        self.wait(0.2, 2.0)
        self.broker.start()

    def places_of(self, name):
        """Return the partitions whose rows a worker has open."""
        return {
            place
            for place in self.folder.places()
            if owner_of(self.folder.base / name, *place)
        }

    def seconds_until_moved(self, places):
        """Wait until the mirror of partitions goes further; return how long it took."""
        began_s = time.monotonic()
        before = self.folder.mirrored()
        left = {place for place in places if place[0] == "users"}

        def moved():
            now = self.folder.mirrored()
            left.difference_update(
                [place for place in left if (now[place] or 0) > (before[place] or 0)]
            )
            return not left

        wait_until(moved, what="a failover")
        return time.monotonic() - began_s

    def end(self):
        """End the load, fold what is left."""
        self.start_all()
        self.end_load()

        def done():
            self.start_all()
            return self.folder.is_folded() and self.folder.is_mirrored()

        wait_until(done, what="the fold of the whole log")
        for name in WORKERS:
            self.stop(name)

    def check(self):
        """Compare the mirror with the tables, row by row."""
        self.folder.check_mirror(zombies=True)

    def replay(self):
        """Fold the whole log again in each folder: it makes the rows that are there."""
        compared = set()
        for name in WORKERS:
            done = plaudit("rebuild", "-d", self.folder.base / name, "--json")
            for one in json.loads(done.stdout)["partitions"]:
                # None: the other worker has the rows.
                assert one["identical"] in (True, None), one
                if one["identical"]:
                    compared.add((one["topic"], one["partition"]))
        assert compared == set(self.folder.places())

    def close(self):
        for name in WORKERS:
            self.forget(name)
        super().close()
