"""A worker of several processes: who folds what, and who dies with whom."""

import os
import signal
import time
from pathlib import Path

import pytest

from streams.topics import USERS
from tests.crash import campaigns
from tests.crash.worker import Folder, Worker, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path):
    made = Folder(tmp_path / "data", partitions=3)
    made.command("org.create", {"settings": {"name": "Acme"}})
    for campaign in (campaigns.POINTS, campaigns.COINS):
        made.command("campaign.create", campaign)
    yield made
    made.close()


def processes_of(worker):
    """Return the process ids that a worker started."""
    pid = worker.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in children.read_text().split()]


def state_of(pid):
    """Return the letter that the kernel has for a process's state; Z: it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def is_alive(pid):
    return state_of(pid) != "Z"


def suspend(*pids):
    """Stop processes as a debugger or a container's pause does."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: all(state_of(pid) == "T" for pid in pids))


def test_each_number_of_processes_folds_the_same(folder):
    for processes in (1, 2, 3, 7):
        folder.fold(processes=processes)
        folder.purchases(processes * 1_000, 300)
    folder.fold(processes=2)
    folder.check_exactly_once()


def test_there_is_at_most_one_process_per_partition(folder):
    with Worker(folder.path, processes=7) as worker:
        wait_until(folder.is_folded, worker)
        assert len(processes_of(worker)) == 3
        assert worker.stop() == 0


@pytest.mark.parametrize("victim", ["worker", "process"])
def test_a_killed_process_takes_the_others_along(folder, victim):
    with Worker(folder.path, processes=3) as worker:
        wait_until(folder.is_folded, worker)
        children = processes_of(worker)
        folder.purchases(0, 900)
        if victim == "worker":
            worker.kill()
        else:
            os.kill(children[1], signal.SIGKILL)
            assert worker.process.wait(30) == 1
        wait_until(lambda: not any(map(is_alive, children)))
    folder.purchases(900, 300)
    folder.fold(processes=2)
    folder.check_exactly_once()
    assert folder.log.end_offset(USERS, 0) > 1


def test_a_killed_worker_takes_a_suspended_process_along(folder):
    with Worker(folder.path, processes=3) as worker:
        wait_until(folder.is_folded, worker)
        children = processes_of(worker)
        suspend(children[1])
        worker.kill()
        # Its lock is free, or this one would end with exit code 2.
        with Worker(folder.path, processes=3) as again:
            wait_until(lambda: not any(map(is_alive, children)))
            wait_until(lambda: len(processes_of(again)) == 3, again)
            assert again.stop() == 0


def test_a_worker_that_is_stopped_ends_suspended_processes_in_the_time_of_one(folder):
    drain_ms = 2_000
    settings = {"PLAUDIT_DRAIN_TIMEOUT_MS": str(drain_ms)}
    with Worker(folder.path, processes=3, environ=settings) as worker:
        wait_until(folder.is_folded, worker)
        children = processes_of(worker)
        suspend(*children)
        began = time.monotonic()
        assert worker.stop() == 0
        # One after the other they would have three times as long.
        assert time.monotonic() - began < 2 * drain_ms / 1_000
        assert not any(map(is_alive, children))
