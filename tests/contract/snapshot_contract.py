"""What snapshots do on every storage; each storage's test file runs these cases."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from tables import codec, epoch, keys
from tables.codec import PartitionRow
from tables.errors import SnapshotDamaged, SnapshotsUnavailable
from tables.objects import BLOCK_BYTES, NoObject
from tables.restore import restore
from tables.rocksdb import RocksStore
from tables.snapshots import GRACE_MS, SNAPSHOTS_KEPT, Manifest, Snapshots
from tests.contract.store_contract import everything, put_all

PLACE = ("users", 1)
LOG_ID = "ab" * 16
ROOT = Path(__file__).parents[2]


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
        return _now_ms() + self.ahead_ms


def _now_ms():
    return time.time_ns() // 1_000_000


class SnapshotContract:
    """Cases for one storage: subclass with a `objects` fixture, an empty `Objects`."""

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

    # -- the storage itself

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
        assert abs(about.modified_ms - _now_ms()) < 60_000
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

    # -- round trip

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

    # -- damage

    @pytest.fixture
    def two(self, snapshots, owner):
        """Two snapshots; the newer has files of its own."""
        owner.write(7, rows(0))
        older = owner.take()
        owner.write(8, rows(5_000))
        return older, owner.take()

    def only_in(self, snapshots, older, newer):
        """Return an object that the newer snapshot alone is made of: table rows."""
        shared = {one.hash for one in older.files}
        file = max(
            (one for one in newer.files if one.hash not in shared),
            key=lambda one: one.size,
        )
        return snapshots.object_name(PLACE, file.hash), file

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

    # -- interruptions

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

    # -- two owners, and what is removed

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
            mine = Snapshots(objects, LOG_ID, _now_ms)
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
        snapshots = Snapshots(objects, LOG_ID, _now_ms)
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

    def test_a_storage_that_is_not_there_says_so(self, unreachable):
        with pytest.raises(SnapshotsUnavailable, match="PLAUDIT_SNAPSHOTS_URL") as why:
            Snapshots(unreachable, LOG_ID, _now_ms).upload(
                PLACE,
                PartitionRow(LOG_ID, 1, "", 1, 1, "", 1, 1, ""),
                Path(__file__).parent,
                silent,
            )
        assert unreachable.url in str(why.value)
