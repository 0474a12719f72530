"""Answers while the log is silent: brokers that hang say neither yes nor no."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from api.config import ApiConfig
from api.turns import outcomes_max, writers_max
from tables.errors import ViewUnavailable
from tests.api.shapes import ACTIONS, AUDIENCE, CAMPAIGNS, created, refused
from tests.api.stack import PARTITIONS, paused

WAIT_S = 10.0
PURCHASE = {"userId": "alice", "action": "purchase"}


class SilentLog:
    """The stack's log, which answers nobody while it is silent."""

    def __init__(self, stack):
        self._stack = stack
        self._speaks = threading.Event()
        self._speaks.set()
        self.asked = 0
        # The stack folds what it writes, and does so for one thread.
        self._one = threading.Lock()

    def silence(self):
        self._speaks.clear()

    def speak(self):
        self._speaks.set()

    def end_offset(self, topic, partition):
        self.asked += 1
        assert self._speaks.wait(WAIT_S)
        return self._stack.log.end_offset(topic, partition)

    def write(self, messages):
        assert self._speaks.wait(WAIT_S)
        with self._one:
            return self._stack.write(messages)

    def locate(self, org, user):
        return self._stack.locate(org, user)


@pytest.fixture
def log(stack, monkeypatch):
    monkeypatch.setattr("api.ends.ANSWER_TIMEOUT_S", 0.3)
    monkeypatch.setattr("api.health.ANSWER_TIMEOUT_S", 0.3)
    monkeypatch.setattr("api.metrics.ANSWER_TIMEOUT_S", 0.3)
    log = SilentLog(stack)
    yield log
    log.speak()


def within(seconds, call):
    """Call, and check that it took no longer."""
    began = time.monotonic()
    answer = call()
    assert time.monotonic() - began < seconds
    return answer


def eventually(condition):
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_ready_says_in_time_which_partitions_the_log_is_silent_about(
    make_client, org, log
):
    client = make_client(end_offset=log.end_offset)
    assert created(client.get("/ready"), 200)["status"] == "ready"
    log.silence()
    answer = within(3, lambda: client.get("/ready"))
    report = created(answer, 503)
    assert report["status"] == "unavailable"
    assert answer.headers["Retry-After"] == "1"
    assert {p["state"] for p in report["partitions"]} == {"ready"}
    assert {p["endOffset"] for p in report["partitions"]} == {None}
    assert {p["lag"] for p in report["partitions"]} == {None}
    log.speak()
    eventually(lambda: client.get("/ready").status_code == 200)


def test_metrics_go_on_without_the_log(make_client, org, log):
    client = make_client(end_offset=log.end_offset)
    client.get("/health")
    log.silence()
    answer = within(3, lambda: client.get("/metrics"))
    assert answer.status_code == 200
    assert 'plaudit_http_requests_total{method="GET",route="/health"' in answer.text
    assert 'plaudit_applied_offset{partition="0",topic="orgs"}' in answer.text
    assert 'plaudit_log_answers{partition="0",topic="orgs"} 0.0' in answer.text
    assert "plaudit_lag_records{" not in answer.text
    log.speak()
    lag = 'plaudit_lag_records{partition="0",topic="orgs"} 0.0'
    eventually(lambda: lag in client.get("/metrics").text)
    text = client.get("/metrics").text
    assert 'plaudit_log_answers{partition="0",topic="orgs"} 1.0' in text


class SlowTables:
    """Tables that take their time to say that they cannot be read."""

    def age_ms(self):
        return 0

    def __getattr__(self, name):
        def late(*_arguments, **_options):
            time.sleep(0.4)
            raise ViewUnavailable("Redis does not answer")

        return late


@pytest.mark.parametrize(("path", "status"), [("/ready", 503), ("/metrics", 200)])
def test_tables_that_hang_cost_one_deadline_in_all(make_client, log, path, status):
    client = make_client(view=SlowTables())
    answer = within(3, lambda: client.get(path))
    assert answer.status_code == status


def test_a_position_that_was_reached_needs_no_log(make_client, org, log):
    client = make_client(end_offset=log.end_offset)
    sent = client.post(ACTIONS, json=PURCHASE, headers=org.server())
    seen = {"X-Plaudit-Position": sent.headers["X-Plaudit-Position"]}
    log.silence()
    asked = log.asked
    profile = f"{AUDIENCE}/profile"
    created(client.get(profile, headers=org.user() | seen), 200)
    assert log.asked == asked


def test_a_position_that_is_not_reached_waits_as_long_as_ever(make_client, org, log):
    config = ApiConfig(partitions=PARTITIONS, position_timeout_ms=200)
    client = make_client(config, end_offset=log.end_offset)
    headers = org.user() | {"X-Plaudit-Position": "users-0-999999999"}
    log.silence()
    profile = f"{AUDIENCE}/profile"
    answer = within(3, lambda: client.get(profile, headers=headers))
    refused(answer, 503, "SERVICE_UNAVAILABLE")


def test_writers_beyond_the_bound_are_refused_and_reads_go_on(
    make_client, org, log, monkeypatch, stack
):
    monkeypatch.setattr("api.turns.STALL_S", 0.2)
    client = make_client(writer=log, threads=8)
    log.silence()

    def post(number):
        body = PURCHASE | {"eventId": f"e{number}"}
        return client.post(ACTIONS, json=body, headers=org.server())

    with ThreadPoolExecutor(8) as pool:
        under_way = [pool.submit(post, number) for number in range(8)]
        before = stack.ends()
        done = [each for each in under_way if _is_done(each)]
        assert len(done) == 8 - writers_max(8)
        for each in done:
            answer = each.result()
            refused(answer, 503, "SERVICE_UNAVAILABLE")
            assert answer.headers["Retry-After"] == "1"
        answer = within(3, lambda: post(99))
        refused(answer, 503, "SERVICE_UNAVAILABLE")
        body = {"name": "One", "type": "static", "userIds": ["alice"]}
        segment = client.post("/loyalty/v1/segments", json=body, headers=org.admin())
        refused(segment, 503, "SERVICE_UNAVAILABLE")
        created(client.get(CAMPAIGNS, headers=org.admin()), 200)
        assert stack.ends() == before
        log.speak()
        statuses = sorted(each.result(WAIT_S).status_code for each in under_way)
    assert statuses == [202] * 6 + [503] * 2
    created(post(100), 202)


def _is_done(future):
    """Tell whether a call ends soon."""
    try:
        future.exception(timeout=0.4)
    except TimeoutError:
        return False
    return True


def test_commands_that_wait_for_their_outcome_leave_threads_to_the_others(
    make_client, org, stack, monkeypatch
):
    monkeypatch.setattr("api.turns.STALL_S", 0.2)
    config = ApiConfig(partitions=PARTITIONS, command_timeout_ms=5_000)
    client = make_client(config, threads=4)

    def create(number):
        body = {"name": f"Segment {number}", "type": "static", "userIds": ["alice"]}
        return client.post("/loyalty/v1/segments", json=body, headers=org.admin())

    with paused(stack), ThreadPoolExecutor(4) as pool:
        under_way = [pool.submit(create, number) for number in range(4)]
        # What has no turn to wait is stored, too, and says where its outcome will be.
        done = wait(under_way, timeout=2.5).done
        assert len(done) == 4 - outcomes_max(4)
        answers = [each.result() for each in under_way]
    assert [answer.status_code for answer in answers] == [202] * 4
    for answer in answers:
        found = client.get(answer.headers["Location"], headers=org.admin())
        assert created(found, 200)["httpStatus"] == 201
