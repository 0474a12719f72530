import pytest

from tables.objects import Objects
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
