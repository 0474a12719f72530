"""Snapshots that are damaged: the next older one is taken."""

import errno
import os

import msgspec
import pytest

from tables import epoch
from tables.errors import StoreCorrupt, StoreFailed
from tables.snapshots import RENEWED_AGE_MS, Snapshots
from tests.contract.snapshot_base import LOG_ID, SnapshotBase, rows


def size_of(path):
    return path.stat().st_size


class DamageCases(SnapshotBase):
    """One or all are not what was stored."""

    @pytest.fixture
    def two(self, snapshots, owner):
        """Two snapshots; the newer has files of its own."""
        owner.write(7, rows(0))
        older = owner.take()
        owner.write(8, rows(5_000))
        return older, owner.take()

    def check_older(self, snapshots, target, older, *words):
        found, _rows, said = self.restored(snapshots, target)
        assert found == older
        (line,) = said
        assert "the next older snapshot is taken" in line
        for word in words:
            assert word in line

    def test_a_missing_object(self, objects, snapshots, two, target):
        name, file = self.only_in(snapshots, *two)
        objects.remove(name)
        self.check_older(snapshots, target, two[0], file.name, "is missing")

    def test_an_object_of_another_size(self, objects, snapshots, two, target):
        name, file = self.only_in(snapshots, *two)
        objects.put(name, b"short")
        self.check_older(snapshots, target, two[0], file.name, "5 bytes")

    def test_an_object_of_another_content(self, objects, snapshots, two, target):
        name, file = self.only_in(snapshots, *two)
        content = bytearray(b"".join(objects.blocks(name)))
        content[len(content) // 2] ^= 1
        objects.put(name, bytes(content))
        self.check_older(snapshots, target, two[0], file.name, "that was stored")

    @pytest.mark.parametrize("process", ["another", "the same, a week later"])
    def test_damage_on_the_owners_disk_becomes_no_snapshot(
        self, objects, owner, clock, target, process
    ):
        """A process that starts reads all files anew; one that renews sends them."""
        owner.write(7, rows(0))
        older = owner.take()
        path = max((owner.folder / "checkpoint-1").glob("*.sst"), key=size_of)
        written = path.stat()
        content = bytearray(path.read_bytes())
        content[len(content) // 3] ^= 1
        with path.open("r+b") as file:
            file.write(content)
        os.utime(path, ns=(written.st_atime_ns, written.st_mtime_ns))
        before = self.names(objects, "manifests")
        if process == "another":
            owner.snapshots = Snapshots(objects, LOG_ID, clock)
        else:
            clock.ahead_ms = RENEWED_AGE_MS + 60_000
        owner.write(8, {b"one": b"row"})
        with pytest.raises(StoreCorrupt, match=f"{path.name} .*plaudit rebuild"):
            owner.take()
        assert self.names(objects, "manifests") == before
        assert self.restored(owner.snapshots, target)[0] == older

    @pytest.mark.parametrize(
        ("change", "word"),
        [
            ({"format": 2}, "format 2"),
            ({"log_id": "cd" * 16}, "belongs to log"),
            ({"partition": 0}, "another partition"),
            ({"number": 1}, "holds other rows"),
            ({"digest": "e" * 32}, "holds other rows"),
        ],
        ids=lambda value: str(value)[:20],
    )
    def test_a_manifest_that_is_not_of_this(
        self, objects, snapshots, two, target, change, word
    ):
        (name,) = (n for n in self.names(objects, "manifests") if "008-" in n)
        changed = msgspec.structs.replace(two[1], **change)
        objects.put(name, msgspec.json.encode(changed))
        self.check_older(snapshots, target, two[0], word)

    @pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"format":1}'])
    def test_a_manifest_that_cannot_be_read(
        self, objects, snapshots, two, target, content
    ):
        (name,) = (n for n in self.names(objects, "manifests") if "008-" in n)
        objects.put(name, content)
        self.check_older(snapshots, target, two[0], "cannot be read")

    @pytest.mark.parametrize(
        "change",
        [
            {"name": "../../escape"},
            {"name": "/etc/passwd"},
            {"name": ".."},
            {"name": ""},
            {"name": "nul\0"},
            {"name": "x" * 300},
            {"name": "000001.sst\n"},
            {"hash": ""},
            {"hash": "../objects"},
            {"size": -1},
        ],
        ids=lambda value: str(value)[:20],
    )
    def test_a_manifest_with_a_file_that_is_none(
        self, objects, snapshots, two, target, change
    ):
        file = msgspec.structs.replace(two[1].files[0], **change)
        self.rewrite(objects, two[1], [*two[1].files[1:], file])
        self.check_older(snapshots, target, two[0], "cannot be read")
        assert {one.name for one in target.iterdir()} == {
            "epoch-00000001",
            "DRAFT",
            "RESTORED",
        }

    def test_a_manifest_that_names_a_file_twice(self, objects, snapshots, two, target):
        self.rewrite(objects, two[1], [*two[1].files, two[1].files[0]])
        self.check_older(snapshots, target, two[0], "names a file twice")

    def test_a_manifest_that_passes_over_a_file(self, objects, snapshots, two, target):
        kept = [one for one in two[1].files if not one.name.startswith("MANIFEST")]
        self.rewrite(objects, two[1], kept)
        self.check_older(snapshots, target, two[0], "is damaged")

    def rewrite(self, objects, manifest, files):
        """Give the newer manifest other files."""
        (name,) = (n for n in self.names(objects, "manifests") if "008-" in n)
        changed = msgspec.structs.replace(manifest, files=files)
        objects.put(name, msgspec.json.encode(changed))

    def test_where_all_are_damaged_nothing_is_restored(
        self, objects, snapshots, two, target
    ):
        for name in self.names(objects):
            objects.remove(name)
        found, _rows, said = self.restored(snapshots, target)
        assert found is None
        assert len(said) == 2
        assert epoch.open_draft(target) is None

    def test_a_disk_that_fills_up_at_the_end(self, snapshots, two, target, monkeypatch):
        def full(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(epoch, "adopt", full)
            with pytest.raises(StoreFailed, match=r"No space left .* Check the disk"):
                self.restored(snapshots, target)
        assert self.restored(snapshots, target)[0] == two[1]
