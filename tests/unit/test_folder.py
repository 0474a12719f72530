"""What the data folder says when the disk refuses; all commands see the rest."""

import resource
from dataclasses import replace
from pathlib import Path

import pytest

from plaudit.errors import Unusable
from plaudit.folder import DataFolder
from plaudit.settings import Settings
from streams.lock import WorkerLock
from streams.log import LogError


def test_a_lock_on_a_disk_that_takes_nothing_names_its_file(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    lock = WorkerLock(tmp_path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(LogError, match=r"cannot write .*worker\.lock: .* Check"):
            lock.acquire()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    # It is free again: with room the next attempt succeeds.
    with lock:
        assert str(lock.fileno()).isdigit()


@pytest.mark.parametrize("under", ["/proc", "a file"])
def test_a_folder_that_cannot_be_used_is_named(tmp_path, under):
    (tmp_path / "a file").touch()
    # In /proc neither root nor anybody else makes a folder.
    path = tmp_path / under / "data"
    with pytest.raises(Unusable, match=r"cannot use .*data: .* Check"):
        DataFolder(replace(Settings(), data_dir=path)).make()


def test_a_folder_whose_rights_cannot_be_set_is_named():
    """As on a disk that is mounted read-only."""
    path = Path("/proc/self")
    with pytest.raises(Unusable, match=r"cannot use /proc/self: .* Check"):
        DataFolder(replace(Settings(), data_dir=path)).make()
