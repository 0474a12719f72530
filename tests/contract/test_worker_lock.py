"""The lock on a data folder: one worker at a time, and who has it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from streams.lock import FolderLocked, WorkerLock
from streams.log import LogError

WAIT_S = 30
TAKE_IT = """\
import pathlib, subprocess, sys
from streams.lock import WorkerLock
lock = WorkerLock(pathlib.Path(sys.argv[1]))
lock.acquire()
"""


def process(folder, then):
    """Start a process that takes the lock and goes on with a line of Python."""
    return subprocess.Popen(
        [sys.executable, "-c", TAKE_IT + then, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def test_the_lock_lets_one_worker_in_and_says_who(tmp_path):
    with (
        WorkerLock(tmp_path),
        pytest.raises(FolderLocked, match=f"process id {os.getpid()}"),
    ):
        WorkerLock(tmp_path).acquire()
    lock = WorkerLock(tmp_path)
    lock.acquire()
    lock.release()
    lock.release()
    with pytest.raises(LogError, match="cannot open"):
        WorkerLock(tmp_path / "missing").acquire()


def test_the_lock_ends_with_its_process(tmp_path):
    holder = process(tmp_path, "print('held', flush=True); sys.stdin.read()")
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(FolderLocked, match=f"process id {holder.pid}"):
        WorkerLock(tmp_path).acquire()
    holder.kill()
    holder.communicate(timeout=WAIT_S)
    with WorkerLock(tmp_path):
        pass


def test_a_lock_that_a_dead_holder_left_to_its_child_says_so(tmp_path):
    holder = process(tmp_path, "subprocess.Popen(['cat'], pass_fds=[lock.fileno()])")
    assert holder.wait(WAIT_S) == 0
    with pytest.raises(FolderLocked, match=r"by a process that it started .*fuser"):
        WorkerLock(tmp_path).acquire()
    holder.stdin.close()
    holder.stdout.close()
    lock = WorkerLock(tmp_path)
    lock.acquire(WAIT_S)
    lock.release()
