"""What a storage of objects does, and that it says when it is not there."""

import os
from pathlib import Path

import pytest

from tables.clock import wall_clock_ms
from tables.codec import PartitionRow
from tables.errors import SnapshotsUnavailable
from tables.objects import BLOCK_BYTES, NoObject
from tables.snapshots import Snapshots
from tests.contract.snapshot_base import LOG_ID, PLACE, SnapshotBase, silent


class StorageCases(SnapshotBase):
    """Objects in and out."""

    def test_an_object_is_read_back(self, objects, tmp_path):
        assert objects.list("a") == {}
        for number, size in enumerate((0, 1, BLOCK_BYTES, 2 * BLOCK_BYTES + 3)):
            content = os.urandom(size)
            path = tmp_path / "source"
            path.write_bytes(content)
            moved = []
            objects.put_file(f"a/b/{number}", path, moved.append)
            assert sum(moved) == size
            assert b"".join(objects.blocks(f"a/b/{number}")) == content
            assert objects.list("a")[f"a/b/{number}"].size == size
        objects.put("a/c", b"small")
        assert objects.read("a/c") == b"small"
        objects.put("a/c", b"other")
        assert objects.read("a/c") == b"other"
        about = objects.list("a")["a/c"]
        assert objects.find("a/c") == about
        assert objects.find("a/d") is None
        assert abs(about.modified_ms - wall_clock_ms()) < 60_000
        objects.remove("a/c")
        objects.remove("a/c")
        assert set(objects.list("a")) == {f"a/b/{n}" for n in range(4)}
        with pytest.raises(NoObject):
            objects.read("a/c")
        with pytest.raises(NoObject):
            list(objects.blocks("a/c"))

    @pytest.mark.parametrize("size", [100, 3 * BLOCK_BYTES])
    def test_a_transfer_that_is_given_up_leaves_no_object(
        self, objects, tmp_path, size
    ):
        path = tmp_path / "source"
        path.write_bytes(os.urandom(size))

        def give_up(_count):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            objects.put_file("a/b", path, give_up)
        assert objects.list("a") == {}

    def test_a_storage_that_is_not_there_says_so(self, unreachable):
        with pytest.raises(SnapshotsUnavailable, match="PLAUDIT_SNAPSHOTS_URL") as why:
            Snapshots(unreachable, LOG_ID, wall_clock_ms).upload(
                PLACE,
                PartitionRow(LOG_ID, 1, "", 1, 1, "", 1, 1, ""),
                Path(__file__).parent,
                silent,
            )
        assert unreachable.url in str(why.value)
