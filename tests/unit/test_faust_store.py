"""What Faust's store says when the disk refuses; the rest is seen by every worker."""

import errno
from unittest.mock import Mock

import pytest

from tables import epoch
from tables.errors import StoreFailed
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
