"""What the log or the machine may do to a worker: it parks or stops, and says why.

Each fault ends in one message that says what to do. The worker never goes on wrongly:
what it may not fold is not folded, nothing is published twice, and once the fault is
mended, all is as if it had not been.
"""

import contextlib
import json
import os
import resource
import shutil
import subprocess

import pytest

from plaudit.errors import AGAIN
from rules.message import Action
from streams.log import Append
from streams.topics import LEDGER, USERS, partition_of
from tables.epoch import open_current, state_folder
from tests.crash.api import Api
from tests.crash.worker import ORG, Folder, Worker, now_ms, plaudit, wait_until
from tests.servers import LEFT_OUT

pytestmark = pytest.mark.slow
UNUSABLE = 2


def message_of(worker, code):
    """Return the one line that a worker said at its end."""
    assert worker.wait() == code, worker.said
    (line,) = worker.said.splitlines()
    return line


def refusal(folder, code=UNUSABLE):
    """Start a worker that cannot work; return its message. Nothing is published."""
    before = [folder.log.end_offset(LEDGER, n) for n in range(folder.partitions)]
    with Worker(folder.path) as worker:
        message = message_of(worker, code)
    after = [folder.log.end_offset(LEDGER, n) for n in range(folder.partitions)]
    assert after == before
    return message


@contextlib.contextmanager
def parked(folder, offset, **options):
    """Run a worker until users/0 is parked and users/1 has gone on."""
    end = folder.log.end_offset(USERS, 1)
    with Worker(folder.path, **options) as worker:
        wait_until(lambda: folder.parked_offset(USERS, 0) == offset, worker)
        wait_until(lambda: folder.applied(USERS, 1) == end - 1, worker)
        (line,) = worker.said.splitlines()
        assert f"users/0 is parked at offset {offset}" in line
        assert f"`plaudit skip users/0@{offset}`" in line
        assert folder.applied(USERS, 0) == offset - 1
        yield worker


def check_shown(folder, offset, reason):
    """Check that status and /ready show a parked partition, and that others go on."""
    done = plaudit("status", "-d", folder.path, check=False)
    assert done.returncode == 1
    assert f"users/0 is parked at {offset}: " in done.stdout
    assert reason in done.stdout
    assert f"plaudit skip users/0@{offset}" in done.stdout
    with Api(folder.path) as api:
        api.wait_until_it_answers()
        wait_until(lambda: api.ready()[1] == "degraded", api)
        _status, _word, partitions = api.ready()
        assert partitions["users/0"]["parkedOffset"] == offset
        assert "`plaudit status`" in partitions["users/0"]["reason"]
        assert partitions["users/1"]["state"] == "ready"


def skip(folder, offset, worker):
    """Skip the record; the worker ends, for its supervisor to start it again."""
    plaudit("skip", f"users/0@{offset}", "-d", folder.path)
    assert worker.wait() == AGAIN
    assert f"users/0@{offset} is skipped" in worker.said


def more(folder, first=2_400):
    """Append unfolded records; return the first offset of users/0 among them."""
    begin = folder.log.end_offset(USERS, 0)
    for number in range(first, first + 400, 100):
        folder.purchases(number, 100)
    return begin


def test_a_hole_parks_and_can_be_skipped(folder):
    hole = more(folder) + 1
    folder.change_log(USERS, "DELETE FROM p0 WHERE offset IN (?, ?)", hole, hole + 1)
    with parked(folder, hole) as worker:
        check_shown(folder, hole, f"offset {hole} is missing")
        skip(folder, hole, worker)
    with parked(folder, hole + 1) as worker:
        skip(folder, hole + 1, worker)
    folder.fold()
    end = folder.log.end_offset(USERS, 0)
    assert folder.log.committed("plaudit", USERS, 0) == end
    report = json.loads(plaudit("rebuild", "-d", folder.path, "--json").stdout)
    assert report["identical"] is True


def test_a_hole_below_the_committed_offset_parks_a_rebuilding_worker(folder):
    end = folder.log.end_offset(USERS, 0)
    folder.change_log(USERS, "DELETE FROM p0 WHERE offset = ?", end - 1)
    folder.change_log(USERS, "DELETE FROM p0 WHERE offset = ?", 7)
    shutil.rmtree(folder.path / "state" / "users-0")
    folder.log.append_many([Append(USERS, 0, None, b"{}")] * 2)
    # The first new record took the offset of the one that was lost.
    with Worker(folder.path) as worker:

        def status():
            done = plaudit("status", "-d", folder.path, "--json", check=False)
            return json.loads(done.stdout)["partitions"][1]

        wait_until(lambda: status()["parkedOffset"] == 7, worker)
        assert "plaudit skip users/0@7" in status()["reason"]
        skip(folder, 7, worker)
    folder.fold()


def test_a_log_truncated_behind_what_was_processed_stops_the_worker(folder):
    folder.change_log(USERS, "DELETE FROM p0 WHERE offset > 9")
    message = refusal(folder)
    assert "users/0" in message
    assert "log lost its tail" in message
    assert "Restore all topics of the log together" in message
    shutil.rmtree(folder.path / "state")
    assert "log lost its tail" in refusal(folder)


def test_a_log_that_is_an_older_copy_asks_for_a_rebuild(folder, tmp_path):
    shutil.copytree(folder.path / "log", tmp_path / "older")
    more(folder)
    folder.fold()
    folder.close()
    shutil.rmtree(folder.path / "log")
    shutil.copytree(tmp_path / "older", folder.path / "log")
    again = Folder(folder.path)
    try:
        message = refusal(again)
        assert "older copy on purpose, run `plaudit rebuild`" in message
        plaudit("rebuild", "-d", again.path)
        more(again, 5_000)
        again.fold()
        again.check_exactly_once()
    finally:
        again.close()


def test_a_record_that_is_not_what_was_folded_stops_the_worker(folder):
    end = folder.log.end_offset(USERS, 0)
    old = folder.log.read(USERS, 0, end - 1)[0].value
    new = old.replace(b"purchase", b"purchasE", 1)
    assert new != old
    folder.change_log(USERS, "UPDATE p0 SET value = ? WHERE offset = ?", new, end - 1)
    message = refusal(folder)
    assert f"users/0@{end - 1} is not the record that was folded" in message
    assert "plaudit rebuild" in message


def test_tables_of_another_log_stop_the_worker(folder, tmp_path):
    other = Folder(tmp_path / "other")
    try:
        shutil.rmtree(other.path / "state", ignore_errors=True)
        shutil.copytree(folder.path / "state", other.path / "state")
        message = refusal(other)
        assert f"belong to log {folder.log.log_id}" in message
        assert f"this is log {other.log.log_id}" in message
        assert "plaudit rebuild" in message
        plaudit("rebuild", "-d", other.path)
        more(other)
        other.fold()
        other.check_exactly_once()
    finally:
        other.close()


def test_a_second_worker_is_refused(folder):
    with Worker(folder.path) as first:
        wait_until((folder.path / "worker.lock").read_text, first)
        with Worker(folder.path) as second:
            message = message_of(second, UNUSABLE)
        assert f"worker with process id {first.process.pid}" in message
        assert "Stop it first" in message
        more(folder)
        wait_until(folder.is_folded, first)
        assert first.stop() == 0
    folder.check_exactly_once()


def test_a_message_that_crashes_the_fold_parks_its_partition(folder):
    mallory = "mallory0"
    assert partition_of(ORG, mallory, 2) == 0
    more(folder)
    event = Action(ORG, mallory, "m1", "purchase", None, {"amount": 5}, {})
    ((_topic, _partition, poison, _place),) = folder.writer.write([event])
    more(folder, 3_000)
    buggy = ("-m", "tests.crash.buggy")
    with parked(folder, poison, program=buggy) as worker:
        check_shown(folder, poison, "KeyError: 'a bug'")
        skip(folder, poison, worker)
    with Worker(folder.path, program=buggy) as worker:
        wait_until(folder.is_folded, worker)
        assert worker.stop() == 0
    # A replay honours the skip, with the bug or without it.
    report = json.loads(plaudit("rebuild", "-d", folder.path, "--json").stdout)
    assert report["identical"] is True


def test_a_stamp_from_the_future_parks_its_partition(folder):
    early = more(folder) + 1
    hour = 3_600_000
    statement = "UPDATE p0 SET stamp_ms = ? WHERE offset = ?"
    right = folder.log.read(USERS, 0, early)[0].stamp_ms
    folder.change_log(USERS, statement, now_ms() + hour, early)
    with parked(folder, early) as worker:
        check_shown(folder, early, "set the clocks right")
        worker.kill()
    folder.change_log(USERS, statement, right, early)
    folder.fold()
    folder.check_exactly_once()


def test_a_stamp_from_the_future_can_be_skipped(folder):
    early = more(folder) + 1
    statement = "UPDATE p0 SET stamp_ms = ? WHERE offset = ?"
    folder.change_log(USERS, statement, now_ms() + 3_600_000, early)
    with parked(folder, early) as worker:
        skip(folder, early, worker)
    folder.fold()
    assert json.loads(plaudit("rebuild", "-d", folder.path, "--json").stdout)[
        "identical"
    ]


def newest(folder, pattern):
    found = sorted(open_current(state_folder(folder.path, USERS, 0)).glob(pattern))
    return found[-1]


def flip(path, begin, count):
    content = bytearray(path.read_bytes())
    for place in range(begin, min(begin + count, len(content))):
        content[place] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    "pattern", ["*.sst", "MANIFEST-*", "CURRENT", "../CURRENT"], ids=repr
)
def test_a_corrupt_file_of_the_tables_stops_the_worker(folder, pattern):
    before = {place: folder.rows(*place) for place in folder.places()}
    flip(newest(folder, pattern), 0, 400)
    message = refusal(folder)
    assert "users-0" in message
    assert "plaudit rebuild" in message
    done = plaudit("rebuild", "users/0", "-d", folder.path)
    assert "users/0: rebuilt" in done.stdout
    assert {place: folder.rows(*place) for place in folder.places()} == before
    more(folder)
    folder.fold()
    folder.check_exactly_once()


def test_a_torn_write_ahead_log_is_folded_again(folder):
    """RocksDB recovers to a prefix of it; the log holds the rest."""
    more(folder)
    folder.fold()
    wal = newest(folder, "*.log")
    flip(wal, wal.stat().st_size // 2, 200)
    more(folder, 5_000)
    folder.fold()
    folder.check_exactly_once()


@contextlib.contextmanager
def mounted(path, *options):
    """Put a small disk of its own under a folder, where this process may."""
    mount = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip(LEFT_OUT + "a user who may mount a disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def much(folder):
    """Append actions of 8,000 users: some 7 MB of rows and ledger."""
    for number in range(10_000, 18_000, 500):
        folder.purchases(number, 500, users=1_000_000)


def check_goes_on(folder):
    folder.fold()
    folder.check_exactly_once()


def check_said(worker, *signs):
    """Check that a worker ends with one message that has one of the signs."""
    assert worker.wait() in (1, UNUSABLE)
    (line,) = worker.said.splitlines()
    assert any(sign in line for sign in signs), line


def test_a_full_disk_stops_the_worker(folded, tmp_path):
    path = tmp_path / "data"
    path.mkdir()
    with mounted(path, "size=64m"):
        shutil.copytree(folded, path, dirs_exist_ok=True)
        folder = Folder(path)
        try:
            much(folder)
            room = os.statvfs(path)
            ballast = path / "ballast"
            ballast.write_bytes(bytes(room.f_bavail * room.f_frsize - 2_000_000))
            with Worker(path) as worker:
                check_said(worker, "the disk is full")
            ballast.unlink()
            check_goes_on(folder)
        finally:
            folder.close()


@pytest.mark.parametrize("file_bytes_max", [200_000, 700_000, 1_500_000])
def test_a_file_that_may_not_grow_stops_the_worker(folder, file_bytes_max):
    """A full disk for those who may not mount: writes end with EFBIG, not ENOSPC."""
    much(folder)
    with Worker(folder.path) as worker:
        limit = resource.RLIMIT_FSIZE
        hard = resource.prlimit(worker.process.pid, limit)[1]
        resource.prlimit(worker.process.pid, limit, (file_bytes_max, hard))
        check_said(worker, "a file may not grow", "the disk failed. Check it")
    check_goes_on(folder)


@contextlib.contextmanager
def read_only(path):
    """Make a folder read-only, for root by its mount, else by its modes."""
    if os.geteuid() == 0:
        subprocess.run(["mount", "-o", "remount,ro", str(path)], check=True)
        yield
        subprocess.run(["mount", "-o", "remount,rw", str(path)], check=True)
        return
    places = [path, *path.rglob("*")]
    modes = {place: place.stat().st_mode for place in places}
    for place in places:
        place.chmod(modes[place] & ~0o222)
    yield
    for place in places:
        place.chmod(modes[place])


def test_a_read_only_folder_stops_the_worker(folded, tmp_path):
    path = tmp_path / "data"
    path.mkdir()
    root = os.geteuid() == 0
    with mounted(path, "size=64m") if root else contextlib.nullcontext():
        shutil.copytree(folded, path, dirs_exist_ok=True)
        with read_only(path), Worker(path) as worker:
            message = message_of(worker, UNUSABLE)
        assert str(path) in message
        assert "may be written" in message
        folder = Folder(path)
        try:
            more(folder)
            check_goes_on(folder)
        finally:
            folder.close()
