import shutil
import threading

import pytest

from rules.state import UserState
from tables import codec, embedded_view, epoch, keys, secondary
from tables.embedded_view import CATCH_UP_EVERY_S, DRAFT_EVERY_S, EmbeddedView
from tables.epoch import new_draft, state_folder, swap
from tables.errors import StoreClosed, ViewUnavailable
from tables.rocksdb import RocksStore
from tables.secondary import SecondaryReader
from tests.contract.owner import Owner
from tests.contract.view_contract import PARTITIONS, ViewContract

pytestmark = pytest.mark.slow


class Clock:
    """Seconds that pass only when told."""

    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def owner(tmp_path):
    """A process without state yet."""
    owner = Owner(tmp_path).start()
    yield owner
    owner.kill()


@pytest.fixture
def view(tmp_path, clock):
    view = EmbeddedView(tmp_path, PARTITIONS, monotonic=clock, background=False)
    yield view
    view.close()


def alice_rows(number):
    """Return rows that `points` finds again."""
    state = UserState(0, 0, points=number)
    return {keys.user("acme", "alice"): codec.states.encode(state)}


def points(view, partition=0):
    [found] = view.users(partition, "acme", ["alice"])
    return None if found is None else found.state.points


class TestEmbeddedView(ViewContract):
    @pytest.fixture
    def put(self, owner, clock):
        for topic, partition in [("users", 0), ("users", 1), ("orgs", 0)]:
            owner.begin(topic, partition)

        def put_and_pass_time(topic, partition, rows):
            owner.put(topic, partition, rows)
            clock.now_s += CATCH_UP_EVERY_S

        return put_and_pass_time


def test_catches_up_at_most_every_3_ms(owner, view, clock):
    owner.begin("users", 0)
    owner.put("users", 0, alice_rows(1))
    assert points(view) == 1
    owner.put("users", 0, alice_rows(2))
    clock.now_s += CATCH_UP_EVERY_S * 0.9
    assert points(view) == 1
    clock.now_s += CATCH_UP_EVERY_S * 0.2
    assert points(view) == 2


def test_no_state_is_unavailable_and_nothing_is_created(tmp_path, owner, view, clock):
    calls = [
        lambda: view.users(0, "acme", ["alice"]),
        lambda: view.entries(0, "acme", "alice", below=None, limit=1),
        lambda: view.notifications(0, "acme", "alice", below=None, limit=1),
        lambda: view.seen_until(0, "acme", "alice", "e1"),
        lambda: view.result("orgs", 0, "cmd_1"),
        lambda: view.tally("acme", "b1"),
        lambda: view.config_version("acme"),
        lambda: view.config_row("acme", "rule", "r"),
        lambda: view.config_rows("acme", "rule"),
        lambda: view.position("users", 1),
        lambda: view.heartbeat("users", 1),
        lambda: view.counters("users", 1),
    ]
    for call in calls:
        with pytest.raises(ViewUnavailable):
            call()
    assert list(tmp_path.iterdir()) == []
    owner.do("open", "users", 0)
    clock.now_s += 1
    with pytest.raises(ViewUnavailable):
        points(view)
    owner.do("swap", "users", 0)
    clock.now_s += 1
    assert points(view) is None


def test_epoch_without_a_database_is_unavailable_and_stays_empty(tmp_path, view):
    folder = state_folder(tmp_path, "users", 0)
    empty = folder / "epoch-00000001"
    empty.mkdir(parents=True)
    (folder / "CURRENT").write_text(empty.name)
    with pytest.raises(ViewUnavailable):
        points(view)
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize("content", ["", "epoch-00000009", "../../etc", "\xff"])
def test_broken_current_is_unavailable(tmp_path, owner, view, clock, content):
    owner.begin("users", 0)
    owner.put("users", 0, alice_rows(1))
    assert points(view) == 1
    (state_folder(tmp_path, "users", 0) / "CURRENT").write_text(content)
    clock.now_s += 1
    for _ in range(2):
        with pytest.raises(ViewUnavailable):
            points(view)


def test_follows_the_epoch_in_force(owner, view, clock):
    owner.begin("users", 0)
    owner.put("users", 0, alice_rows(1))
    assert points(view) == 1
    owner.do("close", "users", 0)
    owner.do("open", "users", 0)
    owner.put("users", 0, alice_rows(2))
    clock.now_s += 1
    assert points(view) == 1
    owner.do("swap", "users", 0)
    clock.now_s += 1
    assert points(view) == 2
    owner.do("drop", "users", 0)
    owner.put("users", 0, alice_rows(3))
    clock.now_s += 1
    assert points(view) == 3


def test_removed_state_is_unavailable_until_it_is_back(tmp_path, owner, view, clock):
    owner.begin("users", 0)
    owner.put("users", 0, alice_rows(1))
    assert points(view) == 1
    folder = state_folder(tmp_path, "users", 0)
    folder.rename(tmp_path / "away")
    clock.now_s += 1
    with pytest.raises(ViewUnavailable):
        points(view)
    (tmp_path / "away").rename(folder)
    clock.now_s += 1
    assert points(view) == 1


def test_survives_the_death_of_the_owner(tmp_path, owner, view, clock):
    owner.begin("users", 0)
    owner.put("users", 0, alice_rows(1))
    assert points(view) == 1
    owner.put("users", 0, alice_rows(2))
    owner.kill()
    clock.now_s += 1
    assert points(view) == 2
    owner.start()
    owner.begin("users", 0)
    owner.put("users", 0, alice_rows(3))
    clock.now_s += 1
    assert points(view) == 3


def test_a_write_after_a_flush_shows_all_before_it(owner, view, clock):
    # RocksDB #14444: without the last write the view may go on showing 1.
    owner.begin("users", 0)
    owner.put("users", 0, alice_rows(1))
    assert points(view) == 1
    for number in range(2, 6):
        owner.put("users", 0, alice_rows(number))
        owner.do("flush", "users", 0)
        owner.put("users", 0, {keys.HEARTBEAT: b""})
        clock.now_s += 1
        assert points(view) == number


def test_deleted_ranges_disappear(owner, view, clock):
    owner.begin("users", 0)
    owner.put("users", 0, alice_rows(1))
    assert points(view) == 1
    prefix = keys.users_of("acme")
    owner.write("users", 0, ("delete_range", prefix, keys.prefix_end(prefix)))
    clock.now_s += 1
    assert points(view) is None


def test_catches_up_although_files_come_and_go(owner, view, clock):
    owner.begin("users", 0)
    noise = {b"\x7f%05d" % number: bytes(500) for number in range(500)}
    for number in range(20):
        owner.put("users", 0, alice_rows(number) | noise)
        owner.do("flush", "users", 0)
        if number % 7 == 6:
            owner.put("users", 0, {keys.HEARTBEAT: b""})
            clock.now_s += 1
            assert points(view) == number


def test_users_and_lots_belong_together_while_the_owner_writes(tmp_path, owner):
    owner.begin("users", 0)
    view = EmbeddedView(tmp_path, 1, background=True)
    owner.say("race", "users", 0, 20_000)
    seen = set()
    torn = []
    done = threading.Event()

    def read():
        while not done.is_set():
            [found] = view.users(0, "acme", ["alice"])
            if found is not None:
                seen.add(found.state.points)
                if [lot.remaining for lot in found.lots] != [found.state.points]:
                    torn.append(found)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    owner.wait()
    done.set()
    for thread in threads:
        thread.join(10)
    view.close()
    assert torn == []
    assert len(seen) > 3


@pytest.fixture
def refreshed(monkeypatch):
    """Names of the partitions that were caught up."""
    names = []
    refresh = SecondaryReader.refresh

    def count(reader):
        names.append(reader._folder.name)
        refresh(reader)

    monkeypatch.setattr(SecondaryReader, "refresh", count)
    return names


def test_idle_partitions_are_caught_up_within_a_second(owner, view, clock, refreshed):
    for topic, partition in [("users", 0), ("users", 1), ("orgs", 0)]:
        owner.begin(topic, partition)
    points(view, 0)
    clock.now_s += 0.5
    points(view, 1)
    refreshed.clear()
    clock.now_s += 0.25
    view.catch_up_idle()
    assert refreshed == ["users-0", "orgs-0"]
    clock.now_s += 0.5
    view.catch_up_idle()
    assert refreshed == ["users-0", "orgs-0", "users-1"]


def test_missing_partitions_do_not_stop_the_idle_round(owner, view, refreshed):
    owner.begin("orgs", 0)
    view.catch_up_idle()
    assert refreshed == ["users-0", "users-1", "orgs-0"]


def test_the_thread_catches_up_and_stops(tmp_path, monkeypatch):
    caught_up = threading.Event()
    monkeypatch.setattr(embedded_view, "WAKE_EVERY_S", 0.001)
    monkeypatch.setattr(EmbeddedView, "catch_up_idle", lambda _view: caught_up.set())
    view = EmbeddedView(tmp_path, 1)
    assert caught_up.wait(10)
    thread = view._thread
    view.close()
    assert not thread.is_alive()


def test_a_busy_partition_is_unavailable_in_bounded_time(owner, view, monkeypatch):
    monkeypatch.setattr(secondary, "LOCK_WAIT_S", 0.01)
    owner.begin("users", 0)
    held, release = threading.Event(), threading.Event()

    def hold():
        with view._partitions["users", 0].reader.locked():
            held.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    with pytest.raises(ViewUnavailable, match="busy"):
        points(view)
    release.set()
    thread.join(10)
    assert points(view) is None


def test_closed_view_refuses(owner, view):
    owner.begin("users", 0)
    points(view)
    view.close()
    with pytest.raises(StoreClosed):
        points(view)


def test_unknown_partition_is_an_error_of_the_caller(view):
    with pytest.raises(KeyError):
        view.users(PARTITIONS, "acme", [])


def test_a_draft_shows_how_far_it_is_and_cannot_be_read(tmp_path, view, clock):
    folder = state_folder(tmp_path, "users", 0)
    assert view.draft("users", 0) is None
    path = new_draft(folder)
    store = RocksStore(path)
    row = codec.PartitionRow("ab" * 16, 7, "", 9, 1, "", 1, 2, "test")
    batch = store.batch()
    batch.put(keys.PARTITION, codec.partition_rows.encode(row))
    batch.put(keys.HEARTBEAT, codec.heartbeats.encode(codec.Heartbeat(1, 2)))
    store.write(batch)
    clock.now_s += DRAFT_EVERY_S
    assert view.draft("users", 0) == (row, codec.Heartbeat(1, 2))
    with pytest.raises(ViewUnavailable):
        view.position("users", 0)
    store.flush()
    swap(folder, path)
    clock.now_s += DRAFT_EVERY_S
    assert view.draft("users", 0) is None
    assert view.position("users", 0) == row
    store.close()


def test_tables_that_were_lost_and_made_anew_are_not_mixed_with_those_before(tmp_path):
    """The new ones have the same names; nobody may have looked in between."""
    folder = state_folder(tmp_path, "users", 0)

    def make(users):
        path = epoch.new_epoch(folder)
        store = RocksStore(path)
        batch = store.batch()
        for name in users:
            batch.put(keys.user("acme", name), codec.states.encode(UserState(1, 1)))
        store.write(batch)
        epoch.swap(folder, path)
        return store

    def seen(view):
        found = view.users(0, "acme", ["a", "b", "c"])
        return [None if user is None else user.user_id for user in found]

    now = [0.0]
    view = EmbeddedView(tmp_path, 1, monotonic=lambda: now[0], background=False)
    before = make(["a", "b"])
    assert seen(view) == ["a", "b", None]
    before.close()
    shutil.rmtree(folder)
    after = make(["b", "c"])
    now[0] += 1.0
    assert seen(view) == [None, "b", "c"]
    view.close()
    after.close()
