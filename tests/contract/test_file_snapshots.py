import os

import pytest

from tables.errors import SnapshotsUnavailable
from tables.objects import Objects
from tests.contract.snapshot_base import LOG_ID, PLACE
from tests.contract.snapshot_contract import SnapshotContract


class TestFileSnapshots(SnapshotContract):
    @pytest.fixture
    def objects(self, tmp_path):
        (tmp_path / "shared").mkdir()
        return Objects(f"file://{tmp_path}/shared")

    @pytest.fixture
    def server_environ(self):
        return {}

    @pytest.fixture
    def unreachable(self, tmp_path):
        return Objects(f"file://{tmp_path}/not/mounted")

    def test_files_of_a_writer_that_died_are_removed(
        self, objects, snapshots, owner, clock, tmp_path
    ):
        owner.write(7, {})
        owner.take()
        (name, *_rest) = self.names(objects, "manifests")
        left = tmp_path / "shared" / f"{name}.0123.new"
        left.write_bytes(b"half")
        assert snapshots.retain(("users", 1)) == 0
        clock.ahead_ms = 2 * 86_400_000
        assert snapshots.retain(("users", 1)) == 1
        assert not left.exists()
        (kept,) = left.parent.iterdir()
        assert name.endswith(kept.name)

    def test_a_folder_that_cannot_be_listed_is_not_empty(
        self, objects, snapshots, owner, clock, tmp_path
    ):
        owner.write(7, {})
        owner.take()
        (manifests,) = (tmp_path / "shared").rglob("manifests")
        manifests.rename(manifests.with_name("elsewhere"))
        # As a share that has gone stale: it is there, and no folder.
        manifests.touch()
        before = self.names(objects)
        clock.ahead_ms = 2 * 86_400_000
        for ask in (snapshots.retain, lambda place: list(snapshots.listed(place))):
            with pytest.raises(SnapshotsUnavailable, match="NotADirectory"):
                ask(PLACE)
        assert self.names(objects) == before

    def test_only_files_are_objects(self, objects, snapshots, tmp_path):
        folder = tmp_path / "shared" / LOG_ID / "users-1" / "manifests"
        folder.mkdir(parents=True)
        os.mkfifo(folder / f"{9:020d}-00000000.json")
        assert list(snapshots.listed(PLACE)) == []
