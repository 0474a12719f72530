"""Snapshots under real workers: lost disks, kill -9, storage that does not answer."""

import json
import os
import shutil
import socket
import time
import uuid
from dataclasses import replace

import pytest

from plaudit.errors import FAILED, UNUSABLE
from plaudit.settings import Settings
from plaudit.snapshotting import open_snapshots
from streams.topics import ORGS, USERS
from tables.epoch import open_current, state_folder
from tables.objects import Objects
from tables.restore import restore
from tables.rocksdb import RocksStore
from tests.crash.api import Api
from tests.crash.worker import Worker, plaudit, wait_until

pytestmark = pytest.mark.slow
STOPS_WITHIN_S = 8.0


def shared_folder(tmp_path):
    (tmp_path / "shared").mkdir()
    return f"file://{tmp_path}/shared"


@pytest.fixture(params=["file", "s3"])
def url(request, tmp_path, monkeypatch):
    """A storage that workers are told of; each gets snapshots every second."""
    if request.param == "file":
        url = shared_folder(tmp_path)
    else:
        server = request.getfixturevalue("s3")
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PLAUDIT_SNAPSHOTS_ENDPOINT_URL", server.endpoint)
        url = f"{server.url}/{uuid.uuid4().hex}"
    monkeypatch.setenv("PLAUDIT_SNAPSHOTS_URL", url)
    monkeypatch.setenv("PLAUDIT_SNAPSHOT_EVERY_S", "1")
    return url


@pytest.fixture
def file_url(tmp_path, monkeypatch):
    url = shared_folder(tmp_path)
    monkeypatch.setenv("PLAUDIT_SNAPSHOTS_URL", url)
    monkeypatch.setenv("PLAUDIT_SNAPSHOT_EVERY_S", "1")
    return url


def snapshots_of(folder):
    """Return the newest good snapshot of each partition, as the command shows them."""
    done = plaudit("snapshots", "list", "-d", folder.path, "--json")
    newest = {}
    for one in json.loads(done.stdout)["snapshots"]:
        if one["good"]:
            newest.setdefault((one["topic"], one["partition"]), one["offset"])
    return newest


def are_taken(folder):
    """Tell whether all that is in the log is in a snapshot."""
    newest = snapshots_of(folder)
    return all(
        newest.get(place) == folder.log.end_offset(*place) - 1
        for place in folder.places()
    )


def more(folder, first, count=400):
    for number in range(first, first + count, 100):
        folder.purchases(number, 100)


def take(folder):
    plaudit("snapshots", "take", "-d", folder.path)


def lose(folder):
    shutil.rmtree(folder.path / "state")


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
    snapshots = open_snapshots(
        replace(Settings(), snapshots_url=file_url), folder.log.log_id
    )
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


@pytest.fixture
def deaf(monkeypatch):
    """A storage that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(128)
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        for name, value in {
            "PLAUDIT_SNAPSHOTS_URL": "s3://bucket/x",
            "PLAUDIT_SNAPSHOTS_ENDPOINT_URL": endpoint,
            "PLAUDIT_SNAPSHOT_EVERY_S": "1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "never-to-be-seen",
        }.items():
            monkeypatch.setenv(name, value)
        yield server


def check_stops(worker):
    began = time.monotonic()
    assert worker.stop() == 0, worker.said
    assert time.monotonic() - began < STOPS_WITHIN_S


def test_an_upload_that_hangs_holds_up_neither_the_fold_nor_the_end(deaf, folder):
    with Worker(folder.path) as worker:
        deaf.settimeout(60)
        connection, _address = deaf.accept()
        with connection:
            more(folder, 2_400)
            wait_until(folder.is_folded, worker)
            check_stops(worker)
    folder.check_exactly_once()


def test_a_restore_that_hangs_does_not_hold_up_the_end(deaf, folder):
    lose(folder)
    with Worker(folder.path) as worker:
        deaf.settimeout(60)
        connection, _address = deaf.accept()
        with connection:
            check_stops(worker)


@pytest.fixture
def broken(tmp_path, monkeypatch):
    monkeypatch.setenv("PLAUDIT_SNAPSHOTS_URL", f"file://{tmp_path}/not/mounted")
    monkeypatch.setenv("PLAUDIT_SNAPSHOT_EVERY_S", "1")


def test_failing_snapshots_show_and_do_not_stop_the_fold(broken, folder):
    with Worker(folder.path) as worker, Api(folder.path) as api:
        api.wait_until_it_answers()

        def failures():
            beat = folder.heartbeat(USERS, 0)
            return 0 if beat is None else beat.snapshot_failures

        wait_until(lambda: failures() >= 2, worker)
        more(folder, 2_400)
        wait_until(folder.is_folded, worker)
        assert "the snapshot of users/0 failed: cannot " in worker.said
        assert "tried again in 1 s" in worker.said
        lines = api.text("/metrics").splitlines()
        labels = '{partition="0",topic="users"}'
        assert f"plaudit_snapshot_offset{labels} -1.0" in lines
        (count,) = (
            line
            for line in lines
            if line.startswith(f"plaudit_snapshot_failures{labels}")
        )
        assert float(count.rpartition(" ")[2]) >= 2
        assert api.ready()[1] == "ready"
        assert worker.stop() == 0
    folder.check_exactly_once()


def test_a_storage_that_fails_stops_a_worker_without_tables(broken, folder):
    lose(folder)
    with Worker(folder.path) as worker:
        assert worker.wait() == FAILED
        assert "Check PLAUDIT_SNAPSHOTS_URL" in worker.said


def test_a_share_of_the_partitions_is_taken(file_url, folder):
    shutil.rmtree(state_folder(folder.path, USERS, 1))
    done = plaudit("snapshots", "take", "-d", folder.path, "--json")
    taken = json.loads(done.stdout)["snapshots"]
    assert {(one["topic"], one["partition"]) for one in taken} == {
        (USERS, 0),
        (ORGS, 0),
    }
    lose(folder)
    done = plaudit("snapshots", "take", "-d", folder.path, check=False)
    assert done.returncode == 1
    assert "there are no tables here yet: run a worker first" in done.stderr


def test_the_commands(file_url, folder, monkeypatch):
    assert plaudit("snapshots", "list", "-d", folder.path).stdout == "no snapshots\n"
    done = plaudit("snapshots", "take", "users/1", "-d", folder.path)
    assert done.stdout.splitlines()[1].split()[0] == "users/1"
    first = plaudit("snapshots", "list", "-d", folder.path).stdout
    assert len(first.splitlines()) == 2
    plaudit("snapshots", "take", "-d", folder.path)
    plaudit("snapshots", "take", "-d", folder.path)
    assert len(plaudit("snapshots", "list", "-d", folder.path).stdout.splitlines()) == 4
    with Worker(folder.path) as worker:
        wait_until((folder.path / "worker.lock").read_text, worker)
        done = plaudit("snapshots", "take", "-d", folder.path, check=False)
        assert done.returncode == UNUSABLE
        assert f"worker with process id {worker.process.pid}" in done.stderr
        assert worker.stop() == 0
    for words in (["take", "users/9"], ["list", "ledger/0"]):
        done = plaudit("snapshots", *words, "-d", folder.path, check=False)
        assert done.returncode == UNUSABLE
    monkeypatch.delenv("PLAUDIT_SNAPSHOTS_URL")
    done = plaudit("snapshots", "list", "-d", folder.path, check=False)
    assert done.returncode == UNUSABLE
    assert "PLAUDIT_SNAPSHOTS_URL is not set" in done.stderr
