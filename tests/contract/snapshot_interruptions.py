"""Uploads and restores that are killed or given up."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tables import epoch
from tests.contract.snapshot_base import LOG_ID, PLACE, SnapshotBase, rows, silent
from tests.contract.store_contract import everything

ROOT = Path(__file__).parents[2]


class InterruptionCases(SnapshotBase):
    """What is torn is no snapshot, and goes on."""

    def test_an_upload_that_is_killed_is_no_snapshot(
        self, objects, snapshots, owner, target, server_environ
    ):
        owner.write(7, rows(0, 30_000))
        first = owner.take()
        owner.write(8, rows(30_000, 30_000))
        checkpoint = owner.checkpoint()
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.contract.killed_upload"),
                *(objects.url, server_environ.get("ENDPOINT", ""), LOG_ID),
                *(str(checkpoint), "0.5"),
            ],
            cwd=ROOT,
            env={**os.environ, **server_environ},
            timeout=120,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL
        assert snapshots.newest(PLACE, pytest.fail) == first
        second = snapshots.upload(PLACE, owner.row, checkpoint, silent)
        assert snapshots.newest(PLACE, pytest.fail) == second
        assert self.restored(snapshots, target)[1] == everything(owner.store)

    def test_a_restore_that_is_interrupted_goes_on(
        self, objects, snapshots, owner, target
    ):
        for offset in range(7, 10):
            owner.write(offset, rows(offset * 10_000, 4_000))
            owner.checkpoint()
        manifest = owner.take()
        large = [one for one in manifest.files if one.size > 100_000]
        assert len(large) == 3

        def interrupt(done, _share):
            if done > manifest.size * 0.75:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            self.restored(snapshots, target, show=interrupt)
        assert epoch.open_draft(target) is None
        restoring = target / epoch.RESTORING
        kept = [one for one in large if (restoring / one.name).exists()]
        assert len(kept) == 2
        # Objects that are kept are not asked for again; the damaged copy is.
        (restoring / kept[0].name).write_bytes(bytes(kept[0].size))
        (restoring / "999999.sst").write_bytes(b"of another snapshot")
        asked = []
        blocks = objects.blocks
        objects.blocks = lambda name: (asked.append(name), blocks(name))[1]
        _found, restored, said = self.restored(snapshots, target)
        assert restored == everything(owner.store)
        assert said == []
        for one in kept[1:]:
            assert snapshots.object_name(PLACE, one.hash) not in asked
        assert snapshots.object_name(PLACE, kept[0].hash) in asked
        assert not restoring.exists()
