"""How a restore meets a stop, partitions that are given away, and a hanging storage."""

import logging
import threading

import pytest

from streams import restorer as restoring
from streams.restorer import GivenUp, Restorer
from streams.topics import USERS
from tables.epoch import state_folder
from tables.errors import SnapshotsUnavailable
from tables.objects import Objects
from tables.snapshots import Snapshots
from tests.partition import LOG_ID, T0

DEADLINE_S = 30


@pytest.fixture
def objects(tmp_path):
    (tmp_path / "shared").mkdir()
    return Objects(f"file://{tmp_path}/shared")


class NoStorage(Snapshots):
    """Does not answer: at once, or not at all."""

    def __init__(self, objects, answer=None):
        super().__init__(objects, LOG_ID, lambda: T0)
        self._answer = answer
        self.begun = threading.Event()

    def usable(self, _place, _say):
        self.begun.set()
        if self._answer is not None:
            self._answer.wait(DEADLINE_S)
        raise SnapshotsUnavailable("no answer")


def restorer_of(tmp_path, snapshots):
    return Restorer(
        snapshots,
        lambda topic, partition: state_folder(tmp_path, topic, partition),
        lambda _name: lambda _done, _share: None,
    )


def give_up_amid(tmp_path, objects, call):
    """Call something while a restore waits for its storage; return the restorer."""
    answer = threading.Event()
    snapshots = NoStorage(objects, answer)
    restorer = restorer_of(tmp_path, snapshots)
    caller = threading.Thread(
        target=lambda: (snapshots.begun.wait(DEADLINE_S), call(restorer))
    )
    caller.start()
    try:
        with pytest.raises(GivenUp):
            restorer.as_of_now()(USERS, 0, -1, needed=True)
    finally:
        answer.set()
        caller.join(DEADLINE_S)
    return restorer


def test_a_storage_that_fails_matters_where_there_are_no_rows(
    tmp_path, objects, caplog
):
    restorer = restorer_of(tmp_path, NoStorage(objects))
    with pytest.raises(SnapshotsUnavailable):
        restorer.as_of_now()(USERS, 0, -1, needed=True)
    with caplog.at_level(logging.WARNING):
        restorer.as_of_now()(USERS, 0, 5, needed=False)
    assert caplog.messages == ["users/0 goes on with its own tables: no answer"]


def test_a_stop_does_not_wait_for_a_storage_that_hangs(tmp_path, objects):
    give_up_amid(tmp_path, objects, Restorer.give_up)


def test_partitions_given_away_interrupt_a_restore_and_the_next_one_may_begin(
    tmp_path, objects
):
    restorer = give_up_amid(tmp_path, objects, Restorer.interrupt)
    # A later assignment restores again: here it gets as far as the storage.
    with pytest.raises(SnapshotsUnavailable):
        restorer.as_of_now()(USERS, 0, -1, needed=True)
    restorer.give_up()
    restorer.interrupt()
    with pytest.raises(GivenUp):
        restorer.as_of_now()(USERS, 0, -1, needed=True)


def test_what_waits_for_its_turn_is_given_up_with_what_is_under_way(tmp_path, objects):
    restorer = restorer_of(tmp_path, NoStorage(objects))
    of_before = restorer.as_of_now()
    restorer.interrupt()
    # A thread is free for it only now, when the partition is another worker's.
    with pytest.raises(GivenUp):
        of_before(USERS, 1, -1, needed=True)


def test_a_storage_that_hangs_is_spoken_of_and_given_up(
    tmp_path, objects, monkeypatch, caplog
):
    monkeypatch.setattr(restoring, "NEWS_AFTER_S", 0.1)
    monkeypatch.setattr(restoring, "STALL_S_MAX", 0.5)
    monkeypatch.setattr(restoring, "LOOK_EVERY_S", 0.02)
    answer = threading.Event()
    snapshots = NoStorage(objects, answer)
    restorer = restorer_of(tmp_path, snapshots)
    with pytest.raises(SnapshotsUnavailable, match=r"users/0 .* given nothing for 0.5"):
        restorer.as_of_now()(USERS, 0, -1, needed=True)
    assert caplog.messages == [
        "users/0 waits for its snapshot: the storage has given nothing for 0.1 s"
    ]
    # The next need not wait as long again, as long as that one hangs.
    monkeypatch.setattr(restoring, "STALL_S_MAX", DEADLINE_S)
    with pytest.raises(SnapshotsUnavailable, match="users/1"):
        restorer.as_of_now()(USERS, 1, -1, needed=True)
    restorer.as_of_now()(USERS, 1, 5, needed=False)
    answer.set()
    restorer._work.join(DEADLINE_S)
    with pytest.raises(SnapshotsUnavailable, match="no answer"):
        restorer.as_of_now()(USERS, 1, -1, needed=True)
