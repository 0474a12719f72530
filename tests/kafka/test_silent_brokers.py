"""A broker that hangs, an API with more writers than threads: what is answered when."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.crash.api import Api
from tests.crash.worker import wait_until
from tests.kafka.mirrored_cluster import MirroredCluster

pytestmark = pytest.mark.slow
PARTITIONS = 2
POSTERS = 100
HANGS_S = 14.0
"""Longer than a POST waits."""
ACTIONS = "/v1/api/audience/internal/actions"
PROFILES = "/v1/api/audience/internal/profiles?user_ids=alice"


@pytest.fixture
def cluster(start_kafka, redis, tmp_path, monkeypatch):
    broker = start_kafka()
    made = MirroredCluster(
        tmp_path / "folders", broker, redis, monkeypatch, partitions=PARTITIONS
    )
    made.broker = broker
    yield made
    made.close()


class Timed:
    """What an API answered, and how long each answer took at most, seconds."""

    def __init__(self, api):
        self._api = api
        self.slowest = {}
        self.statuses = {}

    def ask(self, name, *request, **options):
        began = time.monotonic()
        answer = self._api.ask(*request, **options)
        took = time.monotonic() - began
        self.slowest[name] = max(self.slowest.get(name, 0.0), took)
        self.statuses.setdefault(name, set()).add(answer[0])
        return answer


def post(timed, number):
    body = {"userId": f"user-{number % 40}", "action": "visit"}
    body["eventId"] = f"e-{number}"
    return timed.ask("post", "POST", ACTIONS, body)


def flood(timed, poster, over):
    number = poster
    while not over.is_set():
        status, headers, body = post(timed, number)
        if status == 503:
            assert headers["Retry-After"]
            assert body["error"]["code"] == "SERVICE_UNAVAILABLE"
        number += POSTERS
        over.wait(0.2)


def test_an_api_answers_in_time_while_a_broker_hangs(cluster):
    with cluster.worker() as worker, Api(cluster.reader()) as api:
        api.wait_until_it_answers()
        wait_until(cluster.is_mirrored, worker)
        timed, over = Timed(api), threading.Event()
        _status, headers, _body = post(timed, 0)
        reached = {"X-Plaudit-Position": headers["X-Plaudit-Position"]}
        beyond = {"X-Plaudit-Position": "users-0-900000000"}
        wait_until(cluster.is_mirrored, worker)
        assert timed.ask("before", "GET", PROFILES, headers=beyond)[0] == 400
        os.kill(cluster.broker.pid, signal.SIGSTOP)
        try:
            with ThreadPoolExecutor(POSTERS) as pool:
                floods = [pool.submit(flood, timed, n, over) for n in range(POSTERS)]
                look(timed, reached, beyond, api)
                over.set()
            for each in floods:
                each.result()
        finally:
            over.set()
            os.kill(cluster.broker.pid, signal.SIGCONT)
        assert timed.statuses["post"] == {202, 503}
        assert timed.slowest["post"] < 15, timed.slowest
        eventually_accepted(timed)
        wait_until(lambda: api.ready()[0] == 200, api, "a log that is asked again")


def look(timed, reached, beyond, api):
    """Ask everything but for writes, until the writers have waited in vain."""
    ends = time.monotonic() + HANGS_S
    while time.monotonic() < ends:
        assert timed.ask("health", "GET", "/health")[0] == 200
        assert timed.ask("plain", "GET", PROFILES)[0] == 200
        assert timed.ask("reached", "GET", PROFILES, headers=reached)[0] == 200
        assert timed.ask("beyond", "GET", PROFILES, headers=beyond)[0] == 503
        status, _headers, report = timed.ask("ready", "GET", "/ready")
        assert status == 503
        assert report["data"]["status"] == "unavailable"
        assert len(report["data"]["partitions"]) == PARTITIONS + 1
        began = time.monotonic()
        assert "plaudit_http_requests_total" in api.text("/metrics")
        assert time.monotonic() - began < 6
    bounds = {"health": 3, "plain": 5, "reached": 5, "beyond": 6, "ready": 6}
    for name, most in bounds.items():
        assert timed.slowest[name] < most, timed.slowest


def eventually_accepted(timed):
    deadline = time.monotonic() + 30
    while post(timed, 1_000_000)[0] != 202:
        assert time.monotonic() < deadline
        time.sleep(0.2)
