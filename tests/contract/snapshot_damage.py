"""Snapshots that are damaged: the next older one is taken."""

import msgspec
import pytest

from tables import epoch
from tests.contract.snapshot_base import SnapshotBase, rows


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

    def test_a_manifest_that_names_files_elsewhere(
        self, objects, snapshots, two, target
    ):
        (name,) = (n for n in self.names(objects, "manifests") if "008-" in n)
        file = msgspec.structs.replace(two[1].files[0], name="../../escape")
        changed = msgspec.structs.replace(two[1], files=[file])
        objects.put(name, msgspec.json.encode(changed))
        self.check_older(snapshots, target, two[0], "outside its folder")

    def test_where_all_are_damaged_nothing_is_restored(
        self, objects, snapshots, two, target
    ):
        for name in self.names(objects):
            objects.remove(name)
        found, _rows, said = self.restored(snapshots, target)
        assert found is None
        assert len(said) == 2
        assert epoch.open_draft(target) is None
