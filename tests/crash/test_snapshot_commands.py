"""`plaudit snapshots`: what it takes, lists and refuses."""

import json
import shutil

import pytest

from plaudit.errors import UNUSABLE
from streams.topics import ORGS, USERS
from tables.epoch import state_folder
from tests.crash.snapshots import lose
from tests.crash.worker import Worker, plaudit, wait_until

pytestmark = pytest.mark.slow


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
