"""`plaudit rebuild`, and the rebuild that a worker does by itself."""

import json
import shutil
from dataclasses import replace

import pytest

from plaudit import rebuilding
from plaudit.errors import AGAIN
from plaudit.settings import Settings
from streams.log import Append
from streams.rebuild import Rebuild, RebuildFailed
from streams.stepper import STEP_MESSAGES_MAX, WrongLog
from streams.topics import GROUP, LEDGER, USERS
from tables import codec, keys
from tables.epoch import open_current, open_draft, state_folder
from tables.rocksdb import RocksStore
from tests.crash.api import Api
from tests.crash.worker import (
    KILLED,
    Worker,
    committed,
    now_ms,
    plaudit,
    wait_until,
)

pytestmark = pytest.mark.slow


def rebuild(folder, *places):
    return rebuilding.rebuild(replace(Settings(), data_dir=folder.path), places)


def all_rows(folder):
    return {place: folder.rows(*place) for place in folder.places()}


def ledger_ends(folder):
    return [folder.log.end_offset(LEDGER, n) for n in range(folder.partitions)]


def fold_some_steps(folder, steps=3):
    """Fold as many messages as some steps hold, half of them in each partition."""
    for number in range(10_000, 10_000 + steps * STEP_MESSAGES_MAX, 500):
        folder.purchases(number, 500)
    folder.fold()


def store_of(folder, topic, partition):
    return RocksStore(open_current(state_folder(folder.path, topic, partition)))


def test_it_makes_what_was_there(folder):
    before, published = all_rows(folder), ledger_ends(folder)
    done = plaudit("rebuild", "-d", folder.path, "--json")
    report = json.loads(done.stdout)
    assert report["identical"] is True
    assert [one["identical"] for one in report["partitions"]] == [True] * 3
    assert report["messages"] > 2_400
    assert all_rows(folder) == before
    assert ledger_ends(folder) == published
    for place in folder.places():
        parent = state_folder(folder.path, *place)
        names = sorted(path.name for path in parent.iterdir())
        assert names == ["CURRENT", "epoch-00000002"]
    folder.purchases(2_400, 200)
    folder.fold()
    folder.check_exactly_once()


def test_it_rebuilds_only_what_is_named(folder):
    done = plaudit("rebuild", "users/1", "-d", folder.path)
    assert "users/1: rebuilt up to offset" in done.stdout
    assert "identical to what was there" in done.stdout
    assert "/s" in done.stdout
    assert open_current(state_folder(folder.path, USERS, 0)).name == "epoch-00000001"
    for wrong in ("users/2", "ledger/0", "users"):
        done = plaudit("rebuild", wrong, "-d", folder.path, check=False)
        assert done.returncode == 2
        assert "users/0 to users/1" in done.stderr


def test_it_refuses_while_a_worker_has_the_folder(folder):
    with Worker(folder.path) as worker:
        wait_until((folder.path / "worker.lock").read_text, worker)
        done = plaudit("rebuild", "-d", folder.path, check=False)
        assert done.returncode == 2
        assert f"worker with process id {worker.process.pid}" in done.stderr
        # From then on a signal stops it in order.
        wait_until((folder.path / "worker-0.alive").exists, worker)
        assert worker.stop() == 0


def test_it_says_what_differs_and_puts_it_right(folder):
    before = all_rows(folder)
    user = next(key for key in before[USERS, 0] if key[:1] == b"\x10")
    store = store_of(folder, USERS, 0)
    state = codec.states.decode(store.get(user))
    state.points += 1
    batch = store.batch()
    batch.put(user, codec.states.encode(state))
    store.write(batch)
    store.close()
    done = plaudit("rebuild", "users/0", "-d", folder.path)
    assert f"a user state (key {user.hex()})" in done.stdout
    assert all_rows(folder) == before


def test_an_interrupted_one_goes_on_and_leaves_the_old_tables_in_force(folder):
    fold_some_steps(folder)
    shown = []

    def interrupt(messages, share):
        shown.append((messages, share))
        if messages:
            raise KeyboardInterrupt

    def job():
        place, tzdata = (USERS, 0), folder.tzdata_version()
        return Rebuild(folder.log, folder.path, place, tzdata, now_ms)

    with pytest.raises(KeyboardInterrupt):
        job().run(interrupt)
    first, share = shown.pop()
    assert first >= 900
    assert 0 < share < 1
    parent = state_folder(folder.path, USERS, 0)
    draft = open_draft(parent)
    assert open_current(parent).name == "epoch-00000001"
    # A worker takes the tables in force, not the draft.
    folder.purchases(2_400, 200)
    folder.fold()
    before = all_rows(folder)
    rebuilt = job().run(lambda *now: shown.append(now))
    assert shown[1][0] == first
    assert rebuilt.identical is True
    assert open_current(parent) == draft
    assert open_draft(parent) is None
    assert all_rows(folder) == before


def test_a_draft_that_is_damaged_is_begun_anew(folder):
    def interrupt(messages, _share):
        if not messages:
            return
        raise KeyboardInterrupt

    place, tzdata = (USERS, 0), folder.tzdata_version()
    job = Rebuild(folder.log, folder.path, place, tzdata, now_ms)
    with pytest.raises(KeyboardInterrupt):
        job.run(interrupt)
    (open_draft(state_folder(folder.path, *place)) / "CURRENT").write_bytes(b"?")
    assert rebuild(folder, "users/0").identical is True


def test_tables_that_are_ahead_of_the_committed_offset(folder):
    folder.purchases(2_400, 200)
    with Worker(folder.path, "after_write:1") as worker:
        assert worker.wait() == KILLED
    row = codec.partition_rows.decode
    ahead = {
        place: row(found[keys.PARTITION]).offset + 1
        for place, found in all_rows(folder).items()
    }
    assert ahead != committed(folder)
    published = ledger_ends(folder)
    assert rebuild(folder).identical is True
    assert committed(folder) == ahead
    assert ledger_ends(folder) == published
    folder.purchases(2_600, 200)
    folder.fold()
    folder.check_exactly_once()


def test_tables_that_are_behind_are_compared_where_they_end(folder, tmp_path):
    shutil.copytree(folder.path / "state", tmp_path / "older")
    folder.purchases(2_400, 200)
    folder.fold()
    before = all_rows(folder)
    shutil.rmtree(folder.path / "state")
    shutil.copytree(tmp_path / "older", folder.path / "state")
    assert rebuild(folder).identical is True
    assert all_rows(folder) == before


def test_tables_that_are_lost_cannot_be_compared(folder):
    before = all_rows(folder)
    shutil.rmtree(folder.path / "state" / "users-0")
    done = plaudit("rebuild", "-d", folder.path)
    assert "not compared: there were no tables" in done.stdout
    assert all_rows(folder) == before


def test_tables_with_a_damaged_block_cannot_be_compared_but_are_made_anew(folder):
    before = all_rows(folder)
    path = open_current(state_folder(folder.path, USERS, 0))
    # Opening it above wrote all rows to files; its first block holds the position.
    table = max(path.glob("*.sst"), key=lambda file: file.stat().st_size)
    content = bytearray(table.read_bytes())
    content[len(content) // 2] ^= 0xFF
    table.write_bytes(content)
    done = plaudit("rebuild", "users/0", "-d", folder.path)
    assert "not compared: RocksDB cannot read its files" in done.stdout
    assert all_rows(folder) == before


def test_a_record_that_cannot_be_folded_leaves_the_old_tables_in_force(folder):
    before = all_rows(folder)
    folder.change_log(USERS, "DELETE FROM p0 WHERE offset = 7")
    with pytest.raises(RebuildFailed, match="users/0 cannot be rebuilt past offset 7"):
        rebuild(folder)
    assert all_rows(folder) == before


def test_a_log_that_lost_its_tail_is_refused(folder):
    folder.change_log(USERS, "DELETE FROM p0 WHERE offset > 7")
    with pytest.raises(WrongLog, match="Restore all topics of the log"):
        rebuild(folder)


def test_a_group_that_was_moved_past_what_was_not_folded(folder):
    before, published = all_rows(folder), ledger_ends(folder)
    folder.purchases(2_400, 200, users=5_000)
    end = folder.log.end_offset(USERS, 0)
    folder.log.commit(GROUP, {(USERS, 0): end})
    with pytest.raises(WrongLog, match=r"entries made there are not in the ledger"):
        rebuild(folder, "users/0")
    with Worker(folder.path) as worker:
        assert worker.wait() == 2
        assert "set it back to" in worker.said
        assert "Traceback" not in worker.said
    assert ledger_ends(folder)[0] == published[0]
    folder.change_log("groups", "UPDATE committed SET offset = 0")
    folder.fold()
    folder.check_exactly_once()
    assert all_rows(folder) != before


def test_a_worker_rebuilds_what_is_missing_and_readers_wait_for_it(folder):
    # Two writes can complete no partition of users.
    fold_some_steps(folder, 5)
    before, published = all_rows(folder), ledger_ends(folder)
    purchase = {"userId": "u1", "action": "visit", "eventId": "e1"}
    with Api(folder.path) as api:
        api.wait_until_it_answers()
        assert api.ready()[0] == 200
        shutil.rmtree(folder.path / "state")
        with Worker(folder.path, "after_write:2") as worker:
            assert worker.wait() == KILLED
        status, word, partitions = api.ready()
        assert (status, word) == (503, "starting")
        one = partitions["users/0"]
        assert (one["state"], one["lag"] > 0) == ("rebuilding", True)
        assert any(each["appliedOffset"] >= 0 for each in partitions.values())
        status, _body = api.call(
            "GET", "/v1/api/audience/internal/profiles?user_ids=user-1"
        )
        assert status == 503
        assert "rebuilding" in plaudit("status", "-d", folder.path, check=False).stdout
        draft = open_draft(state_folder(folder.path, USERS, 0))
        # Below the committed offset nothing is published, so this point is not met.
        with Worker(folder.path, "after_ledger:1") as worker:
            wait_until(lambda: api.ready()[:2] == (200, "ready"), worker)
            assert open_current(state_folder(folder.path, USERS, 0)) == draft
            assert ledger_ends(folder) == published
            path = "/v1/api/audience/internal/actions"
            assert api.call("POST", path, purchase)[0] == 202
            assert worker.wait() == KILLED
    assert ledger_ends(folder) == published
    assert all_rows(folder) == before
    folder.fold()
    folder.check_exactly_once()


def test_tables_made_anew_are_not_read_before_they_are_complete(folder):
    """Also where the group had hardly committed: then nothing is silent."""
    folder.change_log("groups", "UPDATE committed SET offset = 0")
    shutil.rmtree(folder.path / "state")
    with Worker(folder.path, "after_write:2") as worker:
        assert worker.wait() == KILLED
    parent = state_folder(folder.path, USERS, 0)
    assert open_draft(parent) is not None
    assert open_current(parent) is None
    folder.fold()
    assert open_current(parent) is not None
    folder.check_exactly_once()


def test_it_shows_its_progress(folder):
    fold_some_steps(folder)
    shown = []
    place, tzdata = (USERS, 0), folder.tzdata_version()
    job = Rebuild(folder.log, folder.path, place, tzdata, now_ms)
    rebuilt = job.run(lambda messages, share: shown.append((messages, share)))
    assert shown[0] == (0, 0.0)
    assert shown[-1] == (rebuilt.messages, 1.0)
    assert shown == sorted(shown)
    assert len(shown) > 2


def test_a_skip_is_honoured(folder):
    change = Append(USERS, 0, None, b"[9,[]]")
    (offset,) = folder.log.append_many([change])
    with Worker(folder.path) as worker:
        wait_until(lambda: folder.parked_offset(USERS, 0) == offset, worker)
        plaudit("skip", f"users/0@{offset}", "-d", folder.path)
        assert worker.wait() == AGAIN
    folder.fold()
    assert rebuild(folder).identical is True
