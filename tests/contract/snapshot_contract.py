"""What snapshots do on every storage; each storage's test file runs these cases."""

import pytest

from tables import epoch
from tests.contract.snapshot_base import PLACE, rows, silent
from tests.contract.snapshot_damage import DamageCases
from tests.contract.snapshot_interruptions import InterruptionCases
from tests.contract.snapshot_owners import OwnersCases
from tests.contract.snapshot_storage import StorageCases
from tests.contract.store_contract import everything


class SnapshotContract(StorageCases, DamageCases, InterruptionCases, OwnersCases):
    """All cases for one storage.

    Subclass with these fixtures: `objects`, an empty `Objects`; `server_environ`, what
    another process needs to reach it; `unreachable`, `Objects` that are not there.
    """

    def test_rows_come_back_byte_by_byte(self, snapshots, owner, target):
        owner.write(7, rows(0))
        manifest = owner.take()
        assert manifest.is_of(owner.row)
        assert snapshots.newest(PLACE, pytest.fail) == manifest
        shown = []
        found, restored, said = self.restored(
            snapshots, target, show=lambda *now: shown.append(now)
        )
        assert found == manifest
        assert restored == everything(owner.store)
        assert said == []
        assert shown[-1] == (manifest.size, 1.0)
        assert epoch.open_current(target) is None

    def test_what_is_written_after_the_checkpoint_is_not_in_it(
        self, snapshots, owner, target
    ):
        owner.write(7, rows(0))
        before = everything(owner.store)
        checkpoint = owner.checkpoint()
        row = owner.row
        owner.write(8, rows(100))
        owner.store.flush()
        snapshots.upload(PLACE, row, checkpoint, silent)
        assert self.restored(snapshots, target)[1] == before

    def test_only_new_files_are_sent(self, objects, snapshots, owner):
        owner.write(7, rows(0, 20_000))
        first = owner.take()
        sent = self.names(objects)
        owner.write(8, rows(0, 10))
        shown = []
        second = owner.take(lambda done, share: shown.append((done, share)))
        assert second.offset == 8
        assert shown[-1][0] < first.size / 10
        assert shown[-1][1] == 1.0
        shared = {one.hash for one in first.files} & {one.hash for one in second.files}
        assert sum(one.size for one in first.files if one.hash in shared) > 1_000_000
        assert sent < self.names(objects)

    def test_the_same_rows_are_not_stored_twice(self, objects, owner):
        owner.write(7, rows(0))
        assert owner.take() == owner.take()
        assert len(self.names(objects, "manifests")) == 1

    def test_nothing_newer_is_nothing_to_restore(self, snapshots, owner, target):
        assert self.restored(snapshots, target) == (None, None, [])
        owner.write(7, rows(0))
        owner.take()
        assert self.restored(snapshots, target, above=7) == (None, None, [])
        assert self.restored(snapshots, target, above=6)[0].offset == 7
