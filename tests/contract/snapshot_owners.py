"""Several owners of a partition, and what each of them removes."""

import threading

import msgspec
import pytest

from tables.clock import wall_clock_ms
from tables.errors import SnapshotDamaged
from tables.snapshots import (
    GRACE_MS,
    RENEWED_AGE_MS,
    SNAPSHOTS_KEPT,
    Manifest,
    Snapshots,
)
from tests.contract.snapshot_base import (
    LOG_ID,
    PLACE,
    Clock,
    SnapshotBase,
    rows,
    silent,
)
from tests.contract.store_contract import everything


class OwnersCases(SnapshotBase):
    """They disturb neither each other nor what is kept."""

    def test_two_owners_do_not_overwrite_each_other(
        self, objects, snapshots, owner, other, target
    ):
        for one in (owner, other):
            one.write(7, rows(0))
        mine = owner.take()
        zombie = Snapshots(objects, LOG_ID, Clock())
        # The zombie stands at the same offset with files of its own.
        checkpoint = other.checkpoint()
        other.row = msgspec.structs.replace(other.row, digest="e" * 32)
        theirs = zombie.upload(PLACE, other.row, checkpoint, silent)
        assert mine.offset == theirs.offset
        assert len(self.names(objects, "manifests")) == 2
        good = list(snapshots.usable(PLACE, pytest.fail))
        assert {one.digest for one in good} == {mine.digest, theirs.digest}

    def test_two_owners_at_once(self, objects, owner, other, target):
        """A zombie folds on as the owner does; both take and remove as they like."""
        errors = []

        def take_many(one):
            mine = Snapshots(objects, LOG_ID, wall_clock_ms)
            try:
                for offset in range(7, 13):
                    one.write(offset, rows(offset * 100, 100))
                    mine.upload(PLACE, one.row, one.checkpoint(), silent)
                    mine.retain(PLACE)
            except Exception as error:  # noqa: BLE001 - looked at below
                errors.append(error)

        threads = [
            threading.Thread(target=take_many, args=(o,)) for o in (owner, other)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert errors == []
        snapshots = Snapshots(objects, LOG_ID, wall_clock_ms)
        good = list(snapshots.usable(PLACE, pytest.fail))
        assert good[0].offset == 12
        assert SNAPSHOTS_KEPT <= len(good) <= SNAPSHOTS_KEPT + 1
        restored = self.restored(snapshots, target)[1]
        assert restored in (everything(owner.store), everything(other.store))

    def test_the_newest_good_ones_are_kept(
        self, objects, snapshots, owner, clock, target
    ):
        made = []
        for offset in range(SNAPSHOTS_KEPT + 2):
            owner.write(offset, rows(offset * 100, 100))
            made.append(owner.take())
        # One that is damaged counts for nothing.
        name, _file = self.only_in(snapshots, made[-2], made[-1])
        objects.remove(name)
        assert snapshots.retain(PLACE) == 0
        names = sorted(self.names(objects, "manifests"))
        kept = [int(name.rpartition("/")[2].split("-")[0]) for name in names]
        assert kept == list(range(1, SNAPSHOTS_KEPT + 2))
        # Young objects stay; old ones go, unless a kept manifest names them.
        assert self.names(objects) > self.of(snapshots, made[1:-1])
        clock.ahead_ms = GRACE_MS + 60_000
        assert snapshots.retain(PLACE) > 0
        assert self.names(objects) >= self.of(snapshots, made[1:-1])
        assert self.names(objects) <= self.of(snapshots, made[1:])
        assert self.restored(snapshots, target)[0] == made[-2]

    def test_snapshots_of_a_log_that_is_gone_take_the_place_of_none(
        self, objects, owner, clock, target
    ):
        """An older copy of the log was restored; what it lost has offsets from 9 on."""
        before = Snapshots(objects, LOG_ID, clock)
        for offset in range(9, 12):
            owner.write(offset, rows(offset * 100, 100))
            before.upload(PLACE, owner.row, owner.checkpoint(), silent)

        def misfit(manifest):
            return "its log is gone" if manifest.offset >= 9 else None

        snapshots = Snapshots(objects, LOG_ID, clock, misfit)
        assert list(snapshots.usable(PLACE, lambda _problem: None)) == []
        for offset in (3, 4):
            owner.write(offset, rows(offset * 100, 100))
            snapshots.upload(PLACE, owner.row, owner.checkpoint(), silent)
            snapshots.retain(PLACE)
        found, _rows, said = self.restored(snapshots, target)
        assert found.offset == 4
        assert len(said) == 3
        assert all("its log is gone; the next older" in line for line in said)
        # After a while they are removed: nobody can want them.
        clock.ahead_ms = GRACE_MS + 60_000
        snapshots.retain(PLACE)
        names = sorted(self.names(objects, "manifests"))
        assert [int(n.rpartition("/")[2][:20]) for n in names] == [3, 4]
        assert [one.offset for one in snapshots.usable(PLACE, pytest.fail)] == [4, 3]

    def test_without_a_manifest_nothing_is_removed(
        self, objects, snapshots, owner, clock
    ):
        owner.write(7, rows(0))
        owner.take()
        before = self.names(objects)
        (name,) = self.names(objects, "manifests")
        objects.remove(name)
        clock.ahead_ms = GRACE_MS * 2
        assert snapshots.retain(PLACE) == 0
        assert self.names(objects) == before

    def test_what_is_old_is_stored_again_and_rot_is_gone(
        self, objects, snapshots, owner, clock, target
    ):
        owner.write(7, rows(0))
        first = owner.take()
        file = max(first.files, key=lambda one: one.size)
        name = snapshots.object_name(PLACE, file.hash)
        content = bytearray(b"".join(objects.blocks(name)))
        content[len(content) // 2] ^= 1
        objects.put(name, bytes(content))
        for offset, ahead_ms in ((8, 0), (9, RENEWED_AGE_MS + 60_000)):
            clock.ahead_ms = ahead_ms
            owner.write(offset, {b"one": b"row"})
            taken = owner.take()
            assert file in taken.files
        found, found_rows, said = self.restored(snapshots, target)
        assert (found, said) == (taken, [])
        assert found_rows == everything(owner.store)

    def of(self, snapshots, manifests):
        return {
            snapshots.object_name(PLACE, file.hash)
            for manifest in manifests
            for file in manifest.files
        }

    def test_a_manifest_of_a_newer_plaudit_keeps_its_objects(
        self, objects, snapshots, owner, clock
    ):
        owner.write(7, rows(0))
        owner.take()
        newer = f"{LOG_ID}/users-1/manifests/{9:020d}-00000000.json"
        objects.put(newer, b'{"format":2}')
        objects.put(f"{LOG_ID}/users-1/objects/{'0' * 64}", b"theirs")
        clock.ahead_ms = GRACE_MS * 2
        assert snapshots.retain(PLACE) == 0
        assert newer in self.names(objects, "manifests")

    def test_an_upload_in_flight_is_not_robbed_by_another_worker(
        self, objects, snapshots, owner, other, clock, target
    ):
        """Its objects are old when the other one removes: it stored them again."""
        owner.write(7, rows(0))
        checkpoint = owner.checkpoint()

        def give_up(_done, share):
            if share == 1.0:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            snapshots.upload(PLACE, owner.row, checkpoint, give_up)
        orphans = self.names(objects)
        assert orphans
        clock.ahead_ms = GRACE_MS - 60_000
        sent = []
        put_file = objects.put_file

        def noted(name, path, moved):
            put_file(name, path, moved)
            sent.append(name)

        objects.put_file = noted
        snapshots.upload(PLACE, owner.row, checkpoint, silent)
        assert orphans <= set(sent)
        assert self.restored(snapshots, target)[0].offset == 7

    def test_what_was_removed_under_an_upload_is_noticed(
        self, objects, snapshots, owner
    ):
        owner.write(7, rows(0))
        checkpoint = owner.checkpoint()
        put = objects.put

        def removing(name, content):
            manifest = msgspec.json.decode(content, type=Manifest)
            objects.remove(snapshots.object_name(PLACE, manifest.files[0].hash))
            put(name, content)

        objects.put = removing
        with pytest.raises(SnapshotDamaged, match="is missing"):
            snapshots.upload(PLACE, owner.row, checkpoint, silent)
        objects.put = put
        # The next attempt stores it again.
        assert snapshots.upload(PLACE, owner.row, checkpoint, silent).offset == 7

    def test_a_listing_that_passes_over_objects_does_no_harm(
        self, objects, snapshots, owner, clock, target
    ):
        for offset in (7, 8):
            owner.write(offset, rows(offset * 100, 100))
            owner.take()
        clock.ahead_ms = GRACE_MS * 2
        before = self.names(objects)
        objects_list = objects.list
        listings = []

        def passing_over(prefix):
            found = objects_list(prefix)
            listings.append(prefix)
            # The first listing of manifests, and every one of objects, lacks some.
            if prefix.endswith("manifests") and listings.count(prefix) > 2:
                return found
            return dict(sorted(found.items())[:-1])

        objects.list = passing_over
        assert snapshots.retain(PLACE) == 0
        assert snapshots.newest(PLACE, pytest.fail).offset == 8
        objects.list = objects_list
        assert self.names(objects) == before
        assert self.restored(snapshots, target)[0].offset == 8

    def test_other_partitions_and_logs_are_left_alone(
        self, objects, snapshots, owner, clock
    ):
        owner.write(7, rows(0))
        owner.take()
        for name in (f"{LOG_ID}/users-11/objects/x", f"{'cd' * 16}/users-1/objects/x"):
            objects.put(name, b"another's")
        clock.ahead_ms = GRACE_MS * 2
        assert snapshots.retain(PLACE) == 0
        assert list(snapshots.listed(("users", 11))) == []
        assert len(objects.list(f"{LOG_ID}/users-11")) == 1
