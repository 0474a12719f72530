"""What a request waits for at most while the log does not answer."""

import threading
import time

import pytest

from api.ends import QUESTIONS_MAX, LogEnds
from api.problems import Problem
from api.turns import Turns, readers_max, writers_max
from streams.log import LogUnavailable

WAIT_S = 10.0
PLACE = ("users", 0)


class HangingLog:
    """A log that answers when the test lets it."""

    def __init__(self):
        self.asked = threading.Semaphore(0)
        self.answers = threading.Semaphore(0)
        self.end = 7
        self.error = None

    def end_offset(self, _topic, _partition):
        self.asked.release()
        assert self.answers.acquire(timeout=WAIT_S)
        if self.error is not None:
            raise self.error
        return self.end


@pytest.fixture
def log():
    log = HangingLog()
    yield log
    log.answers.release(1_000)


def seconds(call):
    began = time.monotonic()
    call()
    return time.monotonic() - began


def test_the_ends_of_partitions_are_asked_and_told():
    ends = LogEnds(lambda _topic, partition: 10 + partition)
    places = [("users", n) for n in range(3 * QUESTIONS_MAX)]
    since = ends.ask(places)
    assert ends.collect(places, since, WAIT_S) == {
        place: 10 + place[1] for place in places
    }
    assert ends.known(("users", 3), since) == 13


def test_a_log_that_hangs_is_waited_for_once_and_then_no_more(log, monkeypatch):
    monkeypatch.setattr("api.ends.ANSWER_TIMEOUT_S", 0.2)
    ends = LogEnds(log.end_offset)
    places = [("users", n) for n in range(2 * QUESTIONS_MAX)]
    first = ends.ask(places)
    assert 0.2 <= seconds(lambda: ends.collect(places, first, 0.25)) < 2
    second = ends.ask(places)
    assert seconds(lambda: ends.collect(places, second, WAIT_S)) < 2
    assert ends.collect(places, second, WAIT_S) == {}
    assert ends.known(PLACE, first) is None
    log.answers.release(1_000)
    eventually(lambda: not ends._begun)
    third = ends.ask(places)
    assert ends.collect(places, third, WAIT_S) == dict.fromkeys(places, 7)


def test_an_answer_to_an_older_question_does_not_count(log):
    ends = LogEnds(log.end_offset)
    ends.ask([PLACE])
    assert log.asked.acquire(timeout=WAIT_S)
    since = ends.ask([PLACE])
    log.answers.release()
    # The second question begins once the first is answered.
    assert log.asked.acquire(timeout=WAIT_S)
    assert ends.known(PLACE, since) is None
    log.end = 8
    log.answers.release()
    assert ends.collect([PLACE], since, WAIT_S) == {PLACE: 8}


def test_a_question_that_fails_is_no_answer_and_nobody_waits_on(log):
    ends = LogEnds(log.end_offset)
    log.error = LogUnavailable("no broker answers")
    log.answers.release()
    since = ends.ask([PLACE])
    assert seconds(lambda: ends.collect([PLACE], since, WAIT_S)) < 2
    assert ends.known(PLACE, since) is None
    log.error = None
    log.answers.release()
    since = ends.ask([PLACE])
    assert ends.collect([PLACE], since, WAIT_S) == {PLACE: 7}


def eventually(condition):
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def taken(turns, leave):
    """Take a turn on a thread of its own until an event is set."""
    has = threading.Event()

    def wait():
        with turns.turn("Too many"):
            has.set()
            assert leave.wait(WAIT_S)

    thread = threading.Thread(target=wait)
    thread.start()
    assert has.wait(WAIT_S)
    return thread


def test_who_comes_for_a_turn_waits_for_a_moment_and_gets_it():
    turns, leave = Turns(1), threading.Event()
    thread = taken(turns, leave)
    threading.Timer(0.05, leave.set).start()
    with turns.turn("Too many"):
        pass
    thread.join(WAIT_S)


def test_beyond_the_bound_all_are_refused_once_somebody_has_waited_long(monkeypatch):
    monkeypatch.setattr("api.turns.STALL_S", 0.2)
    turns, leave = Turns(2), threading.Event()
    threads = [taken(turns, leave) for _ in range(2)]

    def refused():
        with (
            pytest.raises(Problem, match="Too many") as problem,
            turns.turn("Too many"),
        ):
            pass
        assert problem.value.status == 503
        assert problem.value.rejection.code == "SERVICE_UNAVAILABLE"
        assert problem.value.headers == {"Retry-After": "1"}

    refused()
    assert seconds(refused) < 0.1
    leave.set()
    for thread in threads:
        thread.join(WAIT_S)
    with turns.turn("Too many"):
        pass


def test_turns_are_passed_on_to_who_has_waited_longest():
    turns, leave, order = Turns(1), threading.Event(), []
    threads = [taken(turns, leave)]

    def wait(number):
        with turns.turn("Too many"):
            order.append(number)

    for number in range(5):
        threads.append(threading.Thread(target=wait, args=(number,)))
        threads[-1].start()
        eventually(lambda number=number: len(turns._waiting) == number + 1)
    leave.set()
    for thread in threads:
        thread.join(WAIT_S)
    assert order == [0, 1, 2, 3, 4]
    assert not turns._since


def test_nobody_is_refused_while_turns_are_short(monkeypatch):
    monkeypatch.setattr("api.turns.STALL_S", WAIT_S)
    turns, counts = Turns(4), []

    def work():
        for _ in range(200):
            with turns.turn("Too many"):
                time.sleep(0.0002)
        counts.append(200)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert len(counts) == 16


@pytest.mark.parametrize("threads", [3, 4, 5, 8, 64, 512])
def test_the_bounds_leave_threads_for_plain_reads(threads):
    assert writers_max(threads) + readers_max(threads) < threads


def test_a_server_of_one_thread_has_a_turn_for_each():
    assert (writers_max(1), readers_max(1)) == (1, 1)
