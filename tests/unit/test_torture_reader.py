"""The reader of the torture tests would notice: an older state, one that never was."""

import threading

import pytest

from tests.torture.load import ORG
from tests.torture.reader import Quiet, Read, Reader

HISTORIES = {(ORG, "ann"): [[5], [0], [5], [9]]}


def reader(*reads):
    made = Reader(1, [], threading.Event())
    made.reads = list(reads)
    return made


def read(found, at_s=0.0, age_ms=None):
    return Read(at_s, 200, age_ms, {"ann": found})


def test_states_in_their_order_are_right():
    states = [None, [5], [0], [0], [5], [9]]
    reader(*map(read, states)).check(HISTORIES)
    reader(*map(read, [[5], [9], [9]])).check(HISTORIES)


@pytest.mark.parametrize(
    ("states", "problem"),
    [([[5], [9], [0]], "older"), ([[5], None], "older"), ([[5], [6]], "never so")],
)
def test_an_older_state_and_one_that_never_was(states, problem):
    with pytest.raises(AssertionError, match=problem):
        reader(*map(read, states)).check(HISTORIES)


def test_an_old_answer_without_its_age():
    quiet = [Quiet(10.0, 20.0, {"ann"})]
    assert reader(read([5], 11.0), read([5], 15.0, 3_000)).check_ages(quiet) == 1
    assert reader(Read(15.0, 503, None, {})).check_ages(quiet) == 0
    with pytest.raises(AssertionError, match="1 of 2"):
        reader(read([5], 15.0, 3_000), read([5], 16.0)).check_ages(quiet)
