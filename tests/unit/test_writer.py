"""The writer: who is where in which envelope, and what calls share."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rules.errors import InvariantError
from rules.message import Action, Command, Genesis
from streams import group_commit
from streams.group_commit import GroupCommit
from streams.log import LogError, LogUnavailable, Position
from streams.messages import MessageTooLarge, decode_record
from streams.sqlite_log import SqliteLog
from streams.topics import MESSAGES_MAX, ORGS, USERS, partition_of
from streams.writer import EnvelopeWriter

PARTITIONS = 4
WAIT_S = 10


def action(user, number=0, size=0):
    return Action("acme", user, f"e{number}", "t", None, {"x": "x" * size}, {})


def command(user=None):
    return Command("acme", user, "cmd_1", "profile.update", None, {})


class Gate:
    """A real log whose appends wait until the test lets them through."""

    def __init__(self, log):
        self._log = log
        self.arrived = threading.Semaphore(0)
        self.opened = threading.Semaphore(0)
        self.calls = []
        self.error = None

    def __getattr__(self, name):
        return getattr(self._log, name)

    def append_many(self, appends):
        self.calls.append(appends)
        self.arrived.release()
        assert self.opened.acquire(timeout=WAIT_S)
        if self.error is not None:
            raise self.error
        return self._log.append_many(appends)


@pytest.fixture
def log(tmp_path):
    SqliteLog.create(tmp_path, "ab" * 16, PARTITIONS, tzdata_version="2025b")
    log = SqliteLog(tmp_path)
    yield log
    log.close()


def stored(log, position):
    (record,) = log.read(
        position.topic, position.partition, position.offset, records_max=1
    )
    assert record.key is None
    return decode_record(record.key, record.value).messages[position.place]


def test_every_message_stands_at_its_position(log):
    messages = [action(f"u{n % 7}", n) for n in range(50)] + [command(), command("u1")]
    positions = EnvelopeWriter(log).write(messages)
    assert [stored(log, position) for position in positions] == messages
    # One envelope per partition: that of the genesis record, and one more.
    for partition in range(PARTITIONS):
        assert log.end_offset(USERS, partition) == 2
    assert log.end_offset(ORGS, 0) == 2


def test_users_go_to_the_partition_of_their_key_and_orgs_to_theirs(log):
    writer = EnvelopeWriter(log)
    assert writer.locate("acme", None) == (ORGS, 0)
    expected = (USERS, partition_of("acme", "alice", PARTITIONS))
    assert writer.locate("acme", "alice") == expected
    (position,) = writer.write([action("alice")])
    assert position == Position(*expected, 1, 0)
    (position,) = writer.write([command()])
    assert position == Position(ORGS, 0, 1, 0)


def test_nothing_to_write_is_no_commit(log):
    assert EnvelopeWriter(log).write([]) == []


def test_a_message_without_a_key_is_a_bug(log):
    with pytest.raises(InvariantError):
        EnvelopeWriter(log).write([Genesis("ab", 4, 1, "x")])


def test_a_call_that_does_not_fit_in_one_envelope_takes_more(log):
    messages = [action("alice", n) for n in range(MESSAGES_MAX + 10)]
    positions = EnvelopeWriter(log).write(messages)
    assert {position.offset for position in positions} == {1, 2}
    assert [stored(log, position) for position in positions] == messages
    large = [action("alice", n, 200_000) for n in range(9)]
    positions = EnvelopeWriter(log).write(large)
    assert {position.offset for position in positions} == {3, 4, 5}
    assert [stored(log, position) for position in positions] == large


def test_a_message_too_large_stops_the_call_before_anything_is_written(log):
    with pytest.raises(MessageTooLarge):
        EnvelopeWriter(log).write([action("alice"), action("alice", 1, 900_000)])
    assert all(log.end_offset(USERS, n) == 1 for n in range(PARTITIONS))


def test_calls_that_arrive_together_share_envelopes_and_one_commit(log):
    gate = Gate(log)
    writer = EnvelopeWriter(gate)
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(writer.write, [action("first")])
        assert gate.arrived.acquire(timeout=WAIT_S)
        others = [
            pool.submit(writer.write, [action("alice", n), action("bob", n), command()])
            for n in range(8)
        ]
        until(lambda: len(writer._commits._queue) == 8)
        gate.opened.release(2)
        assert first.result(WAIT_S)[0].place == 0
        positions = [other.result(WAIT_S) for other in others]
    assert len(gate.calls) == 2
    assert len(gate.calls[1]) == len({"alice": 1, "bob": 2, "org": 3})
    for n, (alice, bob, org) in enumerate(positions):
        assert stored(log, alice) == action("alice", n)
        assert stored(log, bob) == action("bob", n)
        assert org.topic == ORGS
    assert sorted(call[2].place for call in positions) == list(range(8))


def test_what_one_call_sends_to_a_partition_stays_in_one_envelope(log):
    gate = Gate(log)
    writer = EnvelopeWriter(gate)
    calls = [[action("alice", n) for n in range(600)] for _ in range(3)]
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(writer.write, [action("first")])
        assert gate.arrived.acquire(timeout=WAIT_S)
        others = [pool.submit(writer.write, call) for call in calls]
        until(lambda: len(writer._commits._queue) == 3)
        gate.opened.release(2)
        first.result(WAIT_S)
        for other, call in zip(others, calls, strict=True):
            positions = other.result(WAIT_S)
            assert len({position.offset for position in positions}) == 1
            assert [stored(log, position) for position in positions] == call


def test_a_failed_commit_fails_every_call_of_its_batch_and_no_other(log):
    gate = Gate(log)
    gate.error = LogUnavailable("the disk is full")
    writer = EnvelopeWriter(gate)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(writer.write, [action("alice")])
        assert gate.arrived.acquire(timeout=WAIT_S)
        others = [pool.submit(writer.write, [action("bob", n)]) for n in range(2)]
        until(lambda: len(writer._commits._queue) == 2)
        gate.opened.release(2)
        for call in (first, *others):
            with pytest.raises(LogUnavailable, match="disk is full"):
                call.result(WAIT_S)
    gate.error = None
    gate.opened.release()
    assert writer.write([action("alice")])[0].offset == 1


def test_a_wait_that_runs_out_is_unavailable_and_its_place_is_given_up(log):
    gate = Gate(log)
    writer = EnvelopeWriter(gate, timeout_s=0.05)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(writer.write, [action("alice")])
        assert gate.arrived.acquire(timeout=WAIT_S)
        with pytest.raises(LogUnavailable, match=r"not written within 0\.05"):
            writer.write([action("bob")])
        assert not writer._commits._queue
        gate.opened.release()
        assert first.result(WAIT_S)
    assert len(gate.calls) == 1


def test_who_waited_for_a_commit_does_not_wait_as_long_again_for_its_own(monkeypatch):
    monkeypatch.setattr("streams.group_commit.PATIENCE_S", 0.1)
    held = Held()
    commits = GroupCommit(held, batch_max=10, queue_max=100, timeout_s=2.0)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(commits.submit, "a", 1)
        assert held.begun.acquire(timeout=WAIT_S)
        began = time.monotonic()
        second = pool.submit(commits.submit, "b", 1)
        until(lambda: len(commits._queue) == 1)
        until(lambda: time.monotonic() - began > 2 * group_commit.PATIENCE_S)
        held.go.release()
        assert first.result(WAIT_S) == "A"
        # Its turn has come, and its commit hangs, too.
        with pytest.raises(LogUnavailable, match="not written within 2"):
            second.result(WAIT_S)
        # Not its own two seconds on top of those of the commit before.
        assert time.monotonic() - began < 3.9
        held.go.release(2)
        until(lambda: not commits._led)
    assert held.batches == [["a"], ["b"]]
    assert commits.submit("c", 1) == "C"


def test_a_lead_that_comes_just_as_time_is_over_is_no_answer(monkeypatch):
    held = Held()
    commits = GroupCommit(held, batch_max=10, queue_max=100, timeout_s=0.3)
    monkeypatch.setattr("streams.group_commit.PATIENCE_S", 0.1)
    follow = commits._follow

    def late(ticket, deadline):
        # The wait is over; before it is looked why, the lead is passed on.
        until(lambda: time.monotonic() >= deadline)
        held.go.release()
        until(lambda: ticket.leads)
        return ticket.done

    monkeypatch.setattr(commits, "_follow", late)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(commits.submit, "a", 1)
        assert held.begun.acquire(timeout=WAIT_S)
        second = pool.submit(commits.submit, "b", 1)
        assert first.result(WAIT_S) == "A"
        with pytest.raises(LogUnavailable, match="not written within"):
            second.result(WAIT_S)
        held.go.release()
        until(lambda: not commits._led)
    assert held.batches == [["a"], ["b"]]
    monkeypatch.setattr(commits, "_follow", follow)
    held.go.release()
    assert commits.submit("c", 1) == "C"


def test_without_a_thread_to_be_had_the_caller_leads(monkeypatch):
    def none(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("streams.group_commit.PATIENCE_S", -1.0)
    held = Held()
    commits = GroupCommit(held, batch_max=10, queue_max=100, timeout_s=WAIT_S)
    held.go.release(2)
    with monkeypatch.context() as patch:
        patch.setattr("streams.group_commit.threading.Thread.start", none)
        assert commits.submit("a", 1) == "A"
    assert commits.submit("b", 1) == "B"


def test_a_commit_led_for_a_caller_answers_it(monkeypatch):
    monkeypatch.setattr("streams.group_commit.PATIENCE_S", 0.0)
    held = Held()
    commits = GroupCommit(held, batch_max=10, queue_max=100, timeout_s=WAIT_S)
    with ThreadPoolExecutor(3) as pool:
        calls = queued(pool, commits, held, "abc")
        held.go.release(2)
        assert [call.result(WAIT_S) for call in calls] == ["A", "B", "C"]
    assert held.batches == [["a"], ["b", "c"]]


def until(condition):
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


class Held:
    """A commit that waits for the test."""

    def __init__(self):
        self.begun = threading.Semaphore(0)
        self.go = threading.Semaphore(0)
        self.batches = []

    def __call__(self, items):
        self.batches.append(list(items))
        self.begun.release()
        assert self.go.acquire(timeout=WAIT_S)
        if "bug" in items:
            raise ZeroDivisionError
        return [item.upper() for item in items]


def queued(pool, commits, held, items):
    """Submit items in order: the first begins its commit, the others wait for it."""
    calls = [pool.submit(commits.submit, items[0], 1)]
    assert held.begun.acquire(timeout=WAIT_S)
    for number, item in enumerate(items[1:], 1):
        calls.append(pool.submit(commits.submit, item, 1))
        until(lambda number=number: len(commits._queue) == number)
    return calls


def test_batches_are_bounded_and_keep_the_order_of_arrival():
    held = Held()
    commits = GroupCommit(held, batch_max=3, queue_max=100, timeout_s=WAIT_S)
    with ThreadPoolExecutor(8) as pool:
        calls = queued(pool, commits, held, "abcdef")
        calls.append(pool.submit(commits.submit, "heavy", 50))
        until(lambda: len(commits._queue) == 6)
        held.go.release(10)
        answers = [call.result(WAIT_S) for call in calls]
    assert answers == ["A", "B", "C", "D", "E", "F", "HEAVY"]
    assert held.batches == [["a"], ["b", "c", "d"], ["e", "f"], ["heavy"]]


def test_a_full_queue_refuses_at_once():
    held = Held()
    commits = GroupCommit(held, batch_max=3, queue_max=5, timeout_s=WAIT_S)
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(commits.submit, "a", 1)]
        assert held.begun.acquire(timeout=WAIT_S)
        calls.append(pool.submit(commits.submit, "b", 4))
        until(lambda: len(commits._queue) == 1)
        with pytest.raises(LogUnavailable, match="too much waits"):
            commits.submit("c", 2)
        calls.append(pool.submit(commits.submit, "d", 1))
        until(lambda: len(commits._queue) == 2)
        held.go.release(3)
        assert [call.result(WAIT_S) for call in calls] == ["A", "B", "D"]


def test_a_bug_in_the_commit_reaches_its_leader_and_strands_nobody():
    held = Held()
    commits = GroupCommit(held, batch_max=10, queue_max=100, timeout_s=WAIT_S)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(commits.submit, "a", 1)
        assert held.begun.acquire(timeout=WAIT_S)
        leader = pool.submit(commits.submit, "bug", 1)
        until(lambda: len(commits._queue) == 1)
        follower = pool.submit(commits.submit, "b", 1)
        until(lambda: len(commits._queue) == 2)
        held.go.release(3)
        assert first.result(WAIT_S) == "A"
        with pytest.raises(ZeroDivisionError):
            leader.result(WAIT_S)
        with pytest.raises(LogError, match="broken off"):
            follower.result(WAIT_S)
    assert commits.submit("c", 1) == "C"


def test_many_threads_all_get_their_own_answer():
    commits = GroupCommit(
        lambda items: [item * 2 for item in items],
        batch_max=7,
        queue_max=1_000,
        timeout_s=WAIT_S,
    )
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: commits.submit(n, 1), range(2_000)))
    assert answers == [n * 2 for n in range(2_000)]
    assert not commits._led
    assert commits._queued == 0
