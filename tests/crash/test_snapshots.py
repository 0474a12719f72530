"""Snapshots under real workers: lost disks, kill -9, damage, a log that was cut."""

import json
import os
import shutil
import uuid
from dataclasses import replace

import pytest

from plaudit.errors import UNUSABLE
from plaudit.settings import Settings
from plaudit.snapshotting import open_snapshots
from streams.topics import USERS
from tables.epoch import open_current, state_folder
from tables.objects import Objects
from tables.restore import restore
from tables.rocksdb import RocksStore
from tests.crash.snapshots import (
    are_taken,
    lose,
    more,
    shared_folder,
    snapshot_to,
    snapshots_of,
    take,
)
from tests.crash.worker import Worker, plaudit, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(params=["file", "s3"])
def url(request, tmp_path, monkeypatch):
    """A storage of each kind that workers are told of."""
    if request.param == "file":
        url = shared_folder(tmp_path)
    else:
        server = request.getfixturevalue("s3")
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PLAUDIT_SNAPSHOTS_ENDPOINT_URL", server.endpoint)
        url = f"{server.url}/{uuid.uuid4().hex}"
    snapshot_to(url, monkeypatch)
    return url


def cut_log(folder, kept):
    """Keep of users/0 only what stands from an offset on."""
    folder.change_log(USERS, "DELETE FROM p0 WHERE offset < ?", kept)
    assert folder.log.first_offset(USERS, 0) == kept


def test_a_lost_disk_comes_back_from_the_snapshot_and_folds_on(url, folder):
    with Worker(folder.path) as worker:
        more(folder, 2_400)
        wait_until(folder.is_folded, worker)
        wait_until(lambda: are_taken(folder), worker, "a snapshot of everything")
        more(folder, 2_800)
        wait_until(folder.is_folded, worker)
        worker.kill()
    newest = snapshots_of(folder)
    lose(folder)
    more(folder, 3_200)
    with Worker(folder.path) as worker:
        wait_until(folder.is_folded, worker)
        for (topic, partition), offset in newest.items():
            assert (
                f"{topic}/{partition} is restored from the snapshot at offset {offset}"
            ) in worker.said
        assert worker.stop() == 0
    folder.check_exactly_once()
    for place in folder.places():
        names = {path.name for path in state_folder(folder.path, *place).iterdir()}
        assert names == {
            "CURRENT",
            open_current(state_folder(folder.path, *place)).name,
        }


def test_a_rebuild_begins_with_the_log_and_not_with_what_was_restored(
    file_url, folder, tmp_path
):
    before = folder.rows(USERS, 0)
    # Rows that no fold makes, in a snapshot that is good in itself.
    state = state_folder(folder.path, USERS, 0)
    store = RocksStore(open_current(state))
    batch = store.batch()
    batch.put(b"\x7fstray", b"row")
    store.write(batch)
    store.close()
    take(folder)
    lose(folder)
    settings = replace(Settings(), snapshots_url=file_url)
    snapshots = open_snapshots(settings, folder.log)
    said = []
    shown = lambda _done, _share: None  # noqa: E731
    assert restore(snapshots, (USERS, 0), state, above=-1, show=shown, say=said.append)
    plaudit("rebuild", "-d", folder.path)
    assert folder.rows(USERS, 0) == before
    assert said == []


def test_several_processes_take_and_restore_their_own(file_url, folder):
    with Worker(folder.path, processes=2) as worker:
        wait_until(lambda: are_taken(folder), worker, "a snapshot of everything")
        assert worker.stop() == 0
    lose(folder)
    with Worker(folder.path, processes=2) as worker:
        wait_until(folder.is_folded, worker)
        assert worker.said.count("is restored from the snapshot") == 3
        assert worker.stop() == 0
    folder.check_exactly_once()


def test_a_worker_killed_while_it_uploads(url, folder):
    """As often as it takes to meet one between its objects and its manifest."""
    storage = Objects(url, _endpoint())
    place = f"{folder.log.log_id}/users-0"
    met = False
    for attempt in range(20):
        more(folder, 2_400 + attempt * 400)
        before = set(storage.list(f"{place}/objects"))
        with Worker(folder.path) as worker:
            wait_until(
                lambda known=before: set(storage.list(f"{place}/objects")) - known,
                worker,
            )
            worker.kill()
        end = folder.log.end_offset(USERS, 0) - 1
        met = not any(f"{end:020d}-" in name for name in storage.list(place))
        if met:
            break
    assert met
    lose(folder)
    with Worker(folder.path) as worker:
        wait_until(lambda: are_taken(folder), worker, "a snapshot of everything")
        assert worker.stop() == 0
    folder.check_exactly_once()
    lose(folder)
    folder.fold()
    folder.check_exactly_once()


def _endpoint():
    return os.environ.get("PLAUDIT_SNAPSHOTS_ENDPOINT_URL", "")


def test_the_own_disk_is_preferred(file_url, folder):
    take(folder)
    taken = snapshots_of(folder)
    with Worker(folder.path) as worker:
        more(folder, 2_400)
        wait_until(folder.is_folded, worker)
        worker.kill()
    path = open_current(state_folder(folder.path, USERS, 0))
    more(folder, 2_800)
    with Worker(folder.path) as worker:
        wait_until(folder.is_folded, worker)
        assert "restored" not in worker.said
        assert worker.stop() == 0
    assert open_current(state_folder(folder.path, USERS, 0)) == path
    assert taken[USERS, 0] < folder.log.end_offset(USERS, 0) - 1
    folder.check_exactly_once()


def test_a_damaged_snapshot_is_passed_over_with_one_message(file_url, folder, tmp_path):
    take(folder)
    older = snapshots_of(folder)
    more(folder, 2_400)
    with Worker(folder.path) as worker:
        wait_until(lambda: are_taken(folder), worker)
        worker.kill()
    manifests = manifests_of(folder, tmp_path)
    old, new = (json.loads(manifests[end].read_bytes()) for end in (0, -1))
    names = {file["hash"] for file in new["files"]} - {
        file["hash"] for file in old["files"]
    }
    for name in names:
        (manifests[0].parents[1] / "objects" / name).unlink()
    done = plaudit("snapshots", "list", "users/0", "-d", folder.path)
    assert "damaged: " in done.stdout
    lose(folder)
    with Worker(folder.path) as worker:
        wait_until(folder.is_folded, worker)
        assert f"users/0 is restored from the snapshot at offset {older[USERS, 0]}" in (
            worker.said
        )
        assert worker.said.count("the next older snapshot is taken") >= 1
        assert worker.stop() == 0
    folder.check_exactly_once()


def manifests_of(folder, tmp_path):
    """Return the manifests of users/0, oldest first."""
    place = tmp_path / "shared" / folder.log.log_id / "users-0"
    return sorted((place / "manifests").glob("*.json"))


def test_a_log_that_is_not_kept_from_its_beginning_needs_a_snapshot(
    file_url, folder, tmp_path
):
    kept = folder.applied(USERS, 0)
    cut_log(folder, kept)
    # The rows that are there go on.
    more(folder, 2_400)
    folder.fold()
    before = folder.rows(USERS, 0)
    state = state_folder(folder.path, USERS, 0)
    shutil.move(state, state.with_name("aside"))
    # What that worker took is of no use where it ends before the log begins.
    for manifest in manifests_of(folder, tmp_path):
        if int(manifest.name.split("-")[0]) >= kept:
            manifest.unlink()
    with Worker(folder.path) as worker:
        assert worker.wait() == UNUSABLE
        (line,) = worker.said.splitlines()
        assert f"the log is kept from offset {kept} on" in line
        assert "plaudit snapshots list" in line
    shutil.rmtree(state)
    shutil.move(state.with_name("aside"), state)
    take(folder)
    done = plaudit("rebuild", "users/0", "-d", folder.path, check=False)
    assert f"kept from offset {kept} on. Move {state} away" in done.stderr
    shutil.rmtree(state)
    folder.fold()
    assert folder.rows(USERS, 0) == before


def test_rows_that_end_before_the_log_begins_give_way_to_a_snapshot(file_url, folder):
    shutil.copytree(folder.path / "state", folder.path / "old")
    more(folder, 2_400)
    folder.fold()
    take(folder)
    before = folder.rows(USERS, 0)
    shutil.rmtree(folder.path / "state")
    shutil.move(folder.path / "old", folder.path / "state")
    applied = folder.applied(USERS, 0)
    cut_log(folder, applied + 2)
    with Worker(folder.path) as worker:
        wait_until(folder.is_folded, worker)
        assert "users/0 is restored" in worker.said
        assert "users/1 is restored" not in worker.said
        assert worker.stop() == 0
    assert folder.rows(USERS, 0) == before
