"""What Faust's store says when the disk refuses; the rest is seen by every worker."""

import errno
import os
import shutil
from unittest.mock import Mock

import pytest

from tables import epoch
from tables.errors import StoreCorrupt, StoreFailed
from tables.faust_store import Store


@pytest.fixture
def store(tmp_path):
    made = Store(f"plaudit-rocksdb://{tmp_path}", Mock(), Mock())
    made.table_name = "users"
    yield made
    made.reset_state()


@pytest.mark.parametrize("step", ["swap", "drop_old"])
def test_a_disk_that_is_full_when_rows_come_into_force(store, monkeypatch, step):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    store.store_for(0)
    with monkeypatch.context() as patch:
        patch.setattr(epoch, step, full)
        with pytest.raises(StoreFailed, match=r"No space left .* Check the disk"):
            store.put_in_force(0)
    # With room again the next attempt finds what is missing.
    store.put_in_force(0)
    assert epoch.open_current(store._folder(0)) is not None


def test_a_disk_that_is_full_when_rows_are_made(store, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(epoch, "new_draft", full)
    with pytest.raises(StoreFailed, match="No space left"):
        store.store_for(0)


def test_a_checkpoint_that_somebody_else_removes_too(store, monkeypatch):
    """As the thread does that uploads it, when a partition comes back at once."""
    store.store_for(0)
    left = store.checkpoint(0)
    store.close_rows(0)

    def unlink(*name, **options):
        monkeypatch.undo()
        shutil.rmtree(left)
        os.unlink(*name, **options)

    monkeypatch.setattr(os, "unlink", unlink)
    store.store_for(0)
    assert not left.exists()


def test_rows_in_force_that_lost_their_database_are_not_begun_anew(store):
    store.store_for(0)
    store.put_in_force(0)
    folder = store.close_rows(0)
    (epoch.open_current(folder) / "CURRENT").unlink()
    for _ in range(2):
        with pytest.raises(StoreCorrupt, match="plaudit rebuild"):
            store.store_for(0)


def test_rows_in_force_whose_folder_is_lost_are_made_again(store):
    store.store_for(0)
    store.put_in_force(0)
    folder = store.close_rows(0)
    shutil.rmtree(epoch.open_current(folder))
    store.store_for(0)
    assert epoch.open_current(folder) is None
    store.put_in_force(0)
    assert epoch.open_current(folder) is not None


def test_a_draft_without_a_database_gives_way_to_a_new_one(store):
    store.store_for(0)
    folder = store.close_rows(0)
    draft = epoch.open_draft(folder)
    (draft / "CURRENT").unlink()
    store.store_for(0)
    assert not draft.exists()
    assert epoch.open_draft(folder) is not None
