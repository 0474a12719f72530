"""`plaudit status` on real tables: which partitions have a worker."""

import json

from streams.topics import USERS
from tables import codec, keys
from tables.clock import wall_clock_ms
from tables.epoch import open_current, state_folder
from tables.rocksdb import RocksStore
from tests.crash.worker import Worker, plaudit, wait_until

LATER_MS = 600_000


def set_beat(folder, topic, partition, wall_ms):
    """Write a heartbeat as the partition's worker does."""
    store = RocksStore(open_current(state_folder(folder.path, topic, partition)))
    batch = store.batch()
    batch.put(keys.HEARTBEAT, codec.heartbeats.encode(codec.Heartbeat(1, wall_ms)))
    store.write(batch)
    store.close()


def status(folder):
    """Return the exit code, what was said, and the same in JSON."""
    said = plaudit("status", "-d", folder.path, check=False)
    found = plaudit("status", "--json", "-d", folder.path, check=False)
    assert said.returncode == found.returncode
    return said.returncode, said.stdout, json.loads(found.stdout)


def test_a_running_worker_is_told(folder):
    for topic, partition in folder.places():
        set_beat(folder, topic, partition, wall_ms=0)

    def has_shown_itself():
        beats = [folder.heartbeat(*place) for place in folder.places()]
        return all(beat is not None and beat.wall_ms > 0 for beat in beats)

    with Worker(folder.path) as worker:
        wait_until(has_shown_itself, worker)
        code, said, found = status(folder)
        assert worker.stop() == 0, worker.said
    assert code == 0
    assert "\nworker runs\n" in said
    assert (found["healthy"], found["workerAlive"]) == (True, True)
    assert all(one["workerAlive"] for one in found["partitions"])


def test_partitions_without_a_worker_are_told(folder):
    for topic, partition in folder.places():
        set_beat(folder, topic, partition, wall_ms=0)
    code, said, found = status(folder)
    assert code == 1
    assert "\nworker does not run\n" in said
    assert not found["workerAlive"]

    # As where one of two workers has gone.
    set_beat(folder, USERS, 0, wall_clock_ms() + LATER_MS)
    code, said, found = status(folder)
    assert code == 1
    assert "\nworker runs, 2 partitions have none\n" in said
    rows = [line for line in said.splitlines() if "/" in line.split()[0]]
    assert [", no worker" in row for row in rows] == [True, False, True]
    assert (found["healthy"], found["workerAlive"]) == (False, True)
    alive = {
        (one["topic"], one["partition"])
        for one in found["partitions"]
        if one["workerAlive"]
    }
    assert alive == {(USERS, 0)}
