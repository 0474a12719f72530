"""When snapshots are taken; how a machine, a stop and a failing storage meet them."""

import asyncio
import threading

import msgspec
import pytest

from streams.checks import check_log
from streams.hub import BEHIND_RECORDS_MAX, Hub, HubConfig
from streams.machine import Delivery
from streams.restorer import GivenUp
from streams.snapshotter import UPLOAD_S_MAX, SnapshotStatus, Snapshotter
from streams.topics import GROUP, USERS
from tables import codec, keys
from tables.codec import PartitionRow
from tables.errors import SnapshotsUnavailable
from tables.memory import MemoryStore
from tables.objects import Objects
from tables.snapshots import Snapshots
from tests.machines import LastingStore, fill, make_log
from tests.partition import LOG_ID, T0, TZDATA, org_created, purchase

PLACE = (USERS, 0)
EVERY_S = 60.0
DEADLINE_S = 30


def row_at(offset):
    return PartitionRow(LOG_ID, offset, "", offset, T0, "", 1, 1, TZDATA)


@pytest.fixture
def objects(tmp_path):
    (tmp_path / "shared").mkdir()
    return Objects(f"file://{tmp_path}/shared")


@pytest.fixture
def snapshots(objects):
    return Snapshots(objects, LOG_ID, lambda: T0)


class Bench:
    """A snapshotter with a clock of its own; a checkpoint is a small folder."""

    def __init__(self, folder, snapshots):
        self.folder = folder
        self.now_s = 0.0
        self.made = 0
        self.snapshotter = Snapshotter(
            snapshots, self.checkpoint, EVERY_S, lambda: self.now_s
        )

    def checkpoint(self, topic, partition):
        self.made += 1
        path = self.folder / f"checkpoint-{topic}-{partition}"
        path.mkdir()
        (path / "file").write_text(str(self.made))
        return path

    def take(self, offset, place=PLACE):
        """Take one and wait for its end."""
        self.snapshotter.take(place, row_at(offset))
        self.snapshotter._thread.join(DEADLINE_S)
        assert not self.snapshotter._thread.is_alive()

    def is_due(self, offset, place=PLACE):
        return self.snapshotter.is_due(place, offset)


@pytest.fixture
def bench(tmp_path, snapshots):
    return Bench(tmp_path, snapshots)


def test_the_first_is_due_at_once_and_the_next_when_position_and_time_moved(bench):
    assert bench.is_due(3)
    bench.take(3)
    assert bench.snapshotter.status(PLACE) == SnapshotStatus(3, T0, 0)
    assert list(bench.folder.glob("checkpoint-*")) == []
    assert not bench.is_due(4)
    bench.now_s = EVERY_S
    assert not bench.is_due(3)
    assert bench.is_due(4)
    assert bench.is_due(0, (USERS, 1))


def test_one_that_failed_is_tried_again_though_the_position_stands(
    bench, objects, caplog
):
    put = objects.put

    def refuse(_name, _content):
        raise SnapshotsUnavailable("no more room")

    objects.put = refuse
    for failures in (1, 2):
        bench.take(3)
        assert bench.snapshotter.status(PLACE).failures == failures
        assert not bench.is_due(3)
        bench.now_s += EVERY_S
        assert bench.is_due(3)
    (first, _second) = [record.getMessage() for record in caplog.records]
    assert first == (
        "the snapshot of users/0 failed: no more room. It is tried again in 60 s"
    )
    objects.put = put
    bench.take(3)
    assert bench.snapshotter.status(PLACE) == SnapshotStatus(3, T0, 0)


class Stuck(Snapshots):
    """Shows progress for as long as it is let."""

    def __init__(self, objects):
        super().__init__(objects, LOG_ID, lambda: T0)
        self.begun = threading.Event()
        self.ended = threading.Event()

    def upload(self, place, row, folder, show):
        self.begun.set()
        try:
            while True:
                show(1, 0.5)
        finally:
            self.ended.set()


def test_one_runs_at_a_time_and_a_stop_gives_it_up(tmp_path, objects, caplog):
    stuck = Stuck(objects)
    bench = Bench(tmp_path, stuck)
    bench.snapshotter.take(PLACE, row_at(3))
    assert stuck.begun.wait(DEADLINE_S)
    assert not bench.is_due(0, (USERS, 1))
    bench.snapshotter.take((USERS, 1), row_at(3))
    assert bench.made == 1
    bench.snapshotter.close()
    assert stuck.ended.is_set()
    assert list(bench.folder.glob("checkpoint-*")) == []
    assert not bench.is_due(4)
    bench.snapshotter.take(PLACE, row_at(4))
    assert bench.made == 1
    # To give up is no failure.
    assert bench.snapshotter.status(PLACE) == SnapshotStatus()
    assert caplog.records == []


def test_an_upload_that_takes_too_long_is_given_up(tmp_path, objects):
    stuck = Stuck(objects)
    bench = Bench(tmp_path, stuck)
    bench.snapshotter.take(PLACE, row_at(3))
    assert stuck.begun.wait(DEADLINE_S)
    bench.now_s = UPLOAD_S_MAX + 1
    bench.snapshotter._thread.join(DEADLINE_S)
    assert bench.snapshotter.status(PLACE).failures == 1


def test_a_checkpoint_that_fails_leaves_room_for_the_next(bench):
    (bench.folder / "checkpoint-users-0").mkdir()
    with pytest.raises(FileExistsError):
        bench.snapshotter.take(PLACE, row_at(3))
    (bench.folder / "checkpoint-users-0").rmdir()
    assert bench.is_due(3)
    bench.take(3)
    assert bench.snapshotter.status(PLACE).offset == 3


# -- the hub: which rows, and what a silent fold may do


class SpySnapshotter:
    """Notes the offsets at which it was asked."""

    def __init__(self):
        self.taken = []

    def is_due(self, _place, offset):
        return offset not in self.taken

    def take(self, _place, row):
        self.taken.append(row.offset)

    def status(self, _place):
        return SnapshotStatus(7, T0, 2)

    def give_up(self):
        """Do nothing."""

    def close(self):
        """Do nothing."""


class SpyRestorer:
    """Notes what it was asked for, and restores nothing."""

    def __init__(self, error=None):
        self.asked = []
        self._error = error

    def as_of_now(self):
        return self._restore

    def _restore(self, topic, partition, above, *, needed):
        self.asked.append((topic, partition, above, needed))
        if self._error is not None:
            raise self._error

    def give_up(self):
        """Do nothing."""


@pytest.fixture
def log(tmp_path):
    opened = make_log(tmp_path / "data")
    fill(opened, [org_created()], [purchase("a")], [purchase("b")])
    yield opened
    opened.close()


def hub_of(log, store, restorer=None, snapshotter=None):
    hub = Hub(HubConfig(GROUP, TZDATA), log, lambda *_: store, lambda: T0)
    hub.restorer, hub.snapshotter = restorer, snapshotter
    return hub


def run_hub(hub, log, until, committed=0):
    """Run a hub's machine of partition 0 over the whole log until something holds."""

    async def main():
        if committed:
            log.commit(GROUP, {PLACE: committed})
        await hub.assign([PLACE])
        try:
            for record in log.read(USERS, 0, hub.next_offset(*PLACE) or 0):
                await hub._machines[PLACE].offer(Delivery(record, lambda: None))
            async with asyncio.timeout(DEADLINE_S):
                while not until():
                    await asyncio.sleep(0.001)
        finally:
            await hub.stop()

    asyncio.run(main())


def test_a_silent_fold_takes_none(log):
    folded(log)
    spy = SpySnapshotter()
    end = log.end_offset(USERS, 0)
    run_hub(hub_of(log, LastingStore(), None, spy), log, lambda: bool(spy.taken), end)
    assert spy.taken == [end - 1]


def test_the_heartbeat_tells(log):
    store = LastingStore()
    spy = SpySnapshotter()

    def beat():
        value = store.get(keys.HEARTBEAT)
        return None if value is None else codec.heartbeats.decode(value)

    run_hub(hub_of(log, store, None, spy), log, lambda: beat() is not None)
    assert (beat().snapshot_offset, beat().snapshot_failures) == (7, 2)


def test_no_rows_ask_for_a_snapshot(log):
    restorer = SpyRestorer()
    run_hub(hub_of(log, MemoryStore(), restorer), log, lambda: True)
    assert restorer.asked == [(USERS, 0, -1, True)]


def folded(log):
    store = LastingStore()
    hub = hub_of(log, store)
    row = lambda: store.get(keys.PARTITION)  # noqa: E731
    run_hub(hub, log, lambda: row() is not None)
    return store


def test_rows_that_are_near_are_kept(log):
    store = folded(log)
    restorer = SpyRestorer()
    run_hub(hub_of(log, store, restorer), log, lambda: True)
    assert restorer.asked == []


def test_rows_far_behind_ask_for_a_snapshot_that_is_nearer(log, monkeypatch):
    store = folded(log)
    fill(log, *[[purchase(f"u{number}")] for number in range(3)])
    end = log.end_offset(USERS, 0)
    monkeypatch.setattr("streams.hub.BEHIND_RECORDS_MAX", 2)
    restorer = SpyRestorer()
    run_hub(hub_of(log, store, restorer), log, lambda: True, end)
    ((_topic, _partition, above, needed),) = restorer.asked
    assert above < end - 3
    assert needed is False
    assert BEHIND_RECORDS_MAX > 2
    assert check_log(log, GROUP, *PLACE) == end


def test_a_stop_during_a_restore_begins_no_machine(log):
    hub = hub_of(log, MemoryStore(), SpyRestorer(GivenUp("the worker stops")))

    async def main():
        await hub.assign([PLACE])
        assert hub.next_offset(*PLACE) is None
        await hub.stop()

    asyncio.run(main())


def test_the_heartbeat_of_before_is_still_read():
    old = codec.VERSION + msgspec.json.encode([3, T0, None, None])
    assert codec.heartbeats.decode(old) == codec.Heartbeat(3, T0)
