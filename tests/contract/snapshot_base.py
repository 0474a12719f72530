"""What the cases for snapshots begin with: owners of a partition, and their storage."""

import os

import pytest

from tables import codec, epoch, keys
from tables.clock import wall_clock_ms
from tables.codec import PartitionRow
from tables.restore import restore
from tables.rocksdb import RocksStore
from tables.snapshots import Snapshots
from tests.contract.store_contract import everything, put_all

PLACE = ("users", 1)
LOG_ID = "ab" * 16


def silent(_done, _share):
    """Show no progress."""


class Owner:
    """A worker's side: a partition's database, and how it is snapshot."""

    def __init__(self, folder, snapshots):
        self.folder = epoch.state_folder(folder, *PLACE)
        self.store = RocksStore(epoch.new_draft(self.folder))
        self.snapshots = snapshots
        self.row = None
        self._checkpoints = 0

    def write(self, offset, rows):
        """Write rows together with a position."""
        self.row = PartitionRow(
            LOG_ID, offset, f"{offset:032x}", offset * 3, 1, "d" * 32, 1, 2, "test"
        )
        row = codec.partition_rows.encode(self.row)
        put_all(self.store, {keys.PARTITION: row, **rows})

    def checkpoint(self):
        self._checkpoints += 1
        path = self.folder / f"checkpoint-{self._checkpoints}"
        self.store.checkpoint(path)
        return path

    def take(self, show=silent):
        return self.snapshots.upload(PLACE, self.row, self.checkpoint(), show)

    def close(self):
        self.store.close()


def rows(first, count=2_000):
    """Return rows that do not compress to nothing."""
    return {b"k%08d" % n: os.urandom(64) for n in range(first, first + count)}


class Clock:
    """The wall clock, moved ahead at will."""

    def __init__(self):
        self.ahead_ms = 0

    def __call__(self):
        return wall_clock_ms() + self.ahead_ms


class SnapshotBase:
    """Fixtures and helpers of the cases; they need a fixture `objects`."""

    @pytest.fixture
    def clock(self):
        return Clock()

    @pytest.fixture
    def snapshots(self, objects, clock):
        return Snapshots(objects, LOG_ID, clock)

    @pytest.fixture
    def owner(self, tmp_path, snapshots):
        made = Owner(tmp_path / "owner", snapshots)
        yield made
        made.close()

    @pytest.fixture
    def other(self, tmp_path, snapshots):
        """A zombie, or whoever owned the partition before."""
        made = Owner(tmp_path / "other", snapshots)
        yield made
        made.close()

    @pytest.fixture
    def target(self, tmp_path):
        return epoch.state_folder(tmp_path / "restored", *PLACE)

    def restored(self, snapshots, target, above=-1, show=silent):
        """Restore; return the manifest, the rows, and what was said."""
        said = []
        found = restore(
            snapshots, PLACE, target, above=above, show=show, say=said.append
        )
        if found is None:
            return None, None, said
        store = RocksStore(epoch.open_draft(target))
        try:
            return found, everything(store), said
        finally:
            store.close()

    def names(self, objects, kind="objects"):
        return set(objects.list(f"{LOG_ID}/users-1/{kind}"))

    def only_in(self, snapshots, older, newer):
        """Return an object that the newer snapshot alone is made of: table rows."""
        shared = {one.hash for one in older.files}
        file = max(
            (one for one in newer.files if one.hash not in shared),
            key=lambda one: one.size,
        )
        return snapshots.object_name(PLACE, file.hash), file
