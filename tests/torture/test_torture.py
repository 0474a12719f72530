"""Kill it again and again, under load; then compare with the oracle.

    make torture KILLS=25 [SEED=...]

The worker dies by kill -9 at every fault point and at random instants, the API in
mid-request, and once, while no worker runs, the tables are lost.
"""

import json
import os
import random
import shutil
import signal
import sys
import threading

import pytest

from streams.faults import POINTS
from streams.lock import WorkerLock
from tests.crash import campaigns
from tests.crash.api import Api
from tests.crash.worker import (
    DEADLINE_S,
    KILLED,
    Folder,
    Worker,
    plaudit,
    wait_until,
)
from tests.torture import judge
from tests.torture.load import (
    JOIN_TIMEOUT_S,
    ORG,
    Accepted,
    ApiProducer,
    LogProducer,
)

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("KILLS") or 3)
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**9))
PARTITIONS = 3


def simple(name, effects, *, kind="purchase", conditions=None, **more):
    return {
        "name": name,
        "type": "Reward",
        "mode": "always-on",
        "status": "active",
        "triggers": [{"eventType": kind, "conditions": conditions or {}}],
        "effects": effects,
        **more,
    }


CAMPAIGNS = [
    campaigns.POINTS | {"limits": None},
    campaigns.COINS,
    simple(
        "Experience",
        [{"type": "add_xp", "amount": {"field": "amount", "multiply": 3}}],
        limits={"perUserAmount": {"currency": "xp", "amount": 900, "period": "day"}},
    ),
    simple(
        "Regular",
        [{"type": "add_badge", "badgeId": "regular"}],
        conditions={"user.counts.purchase": {"min": 10}},
    ),
    simple(
        "Double for silver and up",
        [{"type": "add_points", "amount": {"field": "amount", "round": "ceil"}}],
        conditions={"user.tier": ["silver", "gold", "platinum"]},
        priority=1,
    ),
    simple(
        "Entrance fee",
        [
            {"type": "deduct_points", "amount": 5},
            {"type": "send_notification", "title": "Hi", "message": "Welcome back"},
        ],
        kind="visit",
    ),
]


class Torture:
    """A Plaudit under load, and what is done to it."""

    def __init__(self, data_dir, rng):
        self.rng = rng
        self.folder = Folder(data_dir, PARTITIONS)
        for campaign in CAMPAIGNS:
            body = {key: value for key, value in campaign.items() if value is not None}
            self.folder.command("campaign.create", body, org=ORG)
        self.api = Api(data_dir)
        self.accepted = Accepted()
        self._stop = threading.Event()
        common = (SEED, self.accepted, self._stop)
        self._producers = [
            ApiProducer("bulk", *common, self.api, 60),
            ApiProducer("one", *common, self.api, 1),
            LogProducer("log", *common, self.folder),
        ]
        self._worker = None
        self._edits = 0

    def begin(self):
        with Worker(self.folder.path) as worker:
            wait_until(self.folder.is_folded, worker)
            worker.kill()
        self.api.wait_until_it_answers()
        for producer in self._producers:
            producer.start()

    def wait(self, least_s, most_s):
        """Let it work for a while; how long decides only when the blow falls."""
        assert not self.accepted.failures, self.accepted.failures
        self._stop.wait(self.rng.uniform(least_s, most_s))

    def worker(self, fault=None):
        """Return the worker that runs, or start one; one with a fault is new."""
        if self._worker is not None and fault is not None:
            # SIGTERM ends a worker that has hardly begun as it does any process.
            assert self._worker.stop() in (0, -signal.SIGTERM), self._worker.said
            self.forget()
        if self._worker is None:
            processes = self.rng.choice([1, 2])
            self._worker = Worker(self.folder.path, fault, processes)
        return self._worker

    def forget(self):
        if self._worker is not None:
            worker, self._worker = self._worker, None
            worker.__exit__()

    def kill_worker(self):
        worker = self.worker()
        self.wait(0.2, 2.0)
        worker.kill()
        self.forget()

    def kill_worker_at(self, point):
        worker = self.worker(f"{point}:{self.rng.randint(1, 6)}")
        # Where several processes fold, the one that dies takes the others along.
        assert worker.wait() in (KILLED, 1), worker.said
        self.forget()

    def kill_api(self):
        self.worker()
        self.wait(0.0, 0.5)
        wait_until(lambda: self.accepted.in_flight > 0, what="a request")
        self.wait(0.0, 0.02)
        self.api.kill()
        self.api.start()

    def lose_tables(self):
        """Delete the tables while no worker runs; the next one rebuilds them."""
        if self._worker is not None:
            self._worker.kill()
            self.forget()
        lock = WorkerLock(self.folder.path)
        # Its processes follow it a moment later.
        lock.acquire(DEADLINE_S)
        shutil.rmtree(self.folder.path / "state")
        lock.release()

    def edit(self):
        """Create a campaign in mid-stream."""
        self._edits += 1
        body = simple(f"Extra {self._edits}", [{"type": "add_coins", "amount": 1}])
        self.folder.command("campaign.create", body, org=ORG)

    def end(self):
        """End the load, fold what is left."""
        self._stop.set()
        for producer in self._producers:
            if producer.ident is not None:
                producer.join(JOIN_TIMEOUT_S)
                assert not producer.is_alive()
        assert not self.accepted.failures, self.accepted.failures
        self.forget()
        # The last word, so that there is something to fold.
        self.edit()
        self.folder.fold()

    def close(self):
        self._stop.set()
        self.forget()
        self.api.__exit__()
        self.folder.close()


def say(text):
    """Show what happens, at once; pytest shows it unless it captures."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def blows(rng):
    """Return what is done, in order: every fault point as far as KILLS allows."""
    points = rng.sample(POINTS, min(len(POINTS), max(1, KILLS // 2)))
    apis = max(1, KILLS // 5)
    plan = [("kill_worker_at", point) for point in points] + [("kill_api",)] * apis
    plan += [("kill_worker",)] * max(0, KILLS - len(plan))
    rng.shuffle(plan)
    return plan


def test_nothing_is_lost_or_doubled(tmp_path):
    say(f"\ntorture: KILLS={KILLS} SEED={SEED}")
    rng = random.Random(SEED)
    plan = blows(rng)
    loss = rng.randrange(len(plan))
    torture = Torture(tmp_path / "data", rng)
    try:
        torture.begin()
        for number, (blow, *arguments) in enumerate(plan):
            say(f"{number + 1:3} {blow} {' '.join(arguments)}")
            if number == loss:
                say("    the tables are lost")
                torture.lose_tables()
            if number % 4 == 0:
                torture.edit()
            getattr(torture, blow)(*arguments)
        torture.end()
        say(judge.check(torture.folder, torture.accepted.ids))
        unanswered = torture.accepted.unanswered
        say(f"{unanswered} requests without an answer")
        # A replay of the whole log makes the same rows, ids of entries included.
        again = json.loads(plaudit("rebuild", "-d", tmp_path / "data", "--json").stdout)
        assert again["identical"] is True, again
        judge.check(torture.folder, torture.accepted.ids)
    finally:
        torture.close()
