import os
import random
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tables import codec, keys
from tables.errors import StoreCorrupt, StoreFailed
from tables.rocks_options import SharedResources, process_resources
from tables.rocksdb import RocksStore, failure
from tests.contract.batch_writer import LAST, ROWS, row_key
from tests.contract.store_contract import StoreContract, everything, put_all, write

ROOT = Path(__file__).parents[2]
CHARACTERS_MAX = 100_000


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "epoch"


class TestRocksStore(StoreContract):
    @pytest.fixture
    def store(self, folder):
        store = RocksStore(folder)
        yield store
        store.close()


def reopened(store, folder):
    store.close()
    return RocksStore(folder)


def flip_bytes(path, begin, length):
    content = bytearray(path.read_bytes())
    for place in range(begin, begin + length):
        content[place] ^= 0xFF
    path.write_bytes(content)


def store_with_a_file(folder):
    """Fill a store whose rows are in one file of several blocks, and close it."""
    store = RocksStore(folder)
    noise = random.Random(1)
    put_all(store, {b"k%05d" % n: noise.randbytes(300) for n in range(2_000)})
    store.close()
    return next(path for path in folder.iterdir() if path.suffix == ".sst")


def test_rows_outlive_close(folder):
    store = RocksStore(folder)
    put_all(store, {b"a": b"", b"b": b"2", b"c": b"3"})
    write(store, ("delete", b"b"))
    store = reopened(store, folder)
    assert everything(store) == [(b"a", b""), (b"c", b"3")]
    write(store, ("delete_range", b"a", b"b"))
    store = reopened(store, folder)
    assert everything(store) == [(b"c", b"3")]
    store.close()


def test_one_owner_at_a_time(folder):
    store = RocksStore(folder)
    with pytest.raises(StoreFailed, match="lock"):
        RocksStore(folder)
    store = reopened(store, folder)
    store.close()


def test_a_dropped_scan_does_not_keep_the_folder_locked(folder):
    store = RocksStore(folder)
    put_all(store, {b"a": b"1", b"b": b"2"})
    rows = store.scan(b"a", b"c")
    next(rows)
    del rows
    reopened(store, folder).close()


def test_options_hold_when_a_database_is_opened_again(folder):
    resources = SharedResources(5 << 20)
    for _ in range(2):
        store = RocksStore(folder, resources)
        capacity = store._database.property_int_value("rocksdb.block-cache-capacity")
        assert capacity == 5 << 20
        options = max(folder.glob("OPTIONS-*")).read_text()
        assert "filter_policy=bloomfilter" in options
        assert "partition_filters=true" in options
        assert "memtable_whole_key_filtering=true" in options
        store.close()


def test_partitions_share_one_cache_and_one_budget_of_write_buffers(tmp_path):
    assert process_resources() is process_resources()
    resources = SharedResources()
    stores = [RocksStore(tmp_path / name, resources) for name in "abc"]
    for store in stores:
        put_all(store, {b"%05d" % number: bytes(1_000) for number in range(2_000)})
    assert resources.write_buffers.get_usage() > 3 * 2_000_000
    for store in stores:
        store.close()


def test_broken_manifest_is_corrupt(folder):
    store_with_a_file(folder)
    for path in folder.glob("MANIFEST-*"):
        path.write_bytes(b"not a manifest" * 100)
    with pytest.raises(StoreCorrupt):
        RocksStore(folder)


def files_of(folder):
    """Return what a database holds, without RocksDB's own log of what it does."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if not path.name.startswith("LOG")
    }


@pytest.mark.parametrize("pattern", ["CURRENT", "MANIFEST-*"])
def test_a_database_that_lost_what_names_its_files_is_corrupt_each_time(
    folder, pattern
):
    store_with_a_file(folder)
    for path in folder.glob(pattern):
        path.unlink()
    before = files_of(folder)
    for _ in range(2):
        with pytest.raises(StoreCorrupt, match="plaudit rebuild"):
            RocksStore(folder, create=False)
        assert files_of(folder) == before


def beat(store):
    """Note how far the MANIFEST goes, as the owner does."""
    row = codec.Heartbeat(1, 1, manifest=store.manifest())
    put_all(store, {keys.HEARTBEAT: codec.heartbeats.encode(row)})


def killed(store, folder, copy):
    """Return a copy of a database as `kill -9` leaves it; close the store."""
    shutil.copytree(folder, copy)
    store.close()
    return copy


@pytest.fixture
def noted(folder, tmp_path):
    """Return a database that lacks rows without the tail of its MANIFEST."""
    store = RocksStore(folder)
    beat(store)
    put_all(store, {b"a": b"1"})
    # It flushes, and so writes to the MANIFEST; a new write-ahead log begins.
    store.checkpoint(tmp_path / "checkpoint")
    put_all(store, {b"b": b"2"})
    beat(store)
    return killed(store, folder, tmp_path / "killed")


@pytest.mark.parametrize("lost", [1, 60, 100])
def test_a_manifest_that_lost_its_end_is_corrupt_each_time(noted, lost):
    (manifest,) = noted.glob("MANIFEST-*")
    os.truncate(manifest, manifest.stat().st_size - lost)
    before = files_of(noted)
    for _ in range(2):
        with pytest.raises(StoreCorrupt, match="plaudit rebuild"):
            RocksStore(noted, create=False)
        assert files_of(noted) == before


def test_an_older_manifest_is_corrupt(noted, tmp_path):
    older = tmp_path / "older"
    shutil.copytree(noted, older)
    store = RocksStore(noted)
    beat(store)
    left = killed(store, noted, tmp_path / "left")
    for path in left.glob("MANIFEST-*"):
        path.unlink()
    for path in (older / "CURRENT", *older.glob("MANIFEST-*")):
        shutil.copy(path, left)
    with pytest.raises(StoreCorrupt):
        RocksStore(left, create=False)


def test_a_manifest_that_goes_as_far_as_noted_is_whole(noted, tmp_path):
    for turn in "ab":
        store = RocksStore(noted, create=False)
        put_all(store, {turn.encode(): b"3"})
        beat(store)
        rows = everything(store)
        # A checkpoint holds a part of the MANIFEST, never less than was noted.
        store.checkpoint(tmp_path / f"{turn}-checkpoint")
        beat(store)
        killed(store, noted, tmp_path / f"{turn}-killed")
        for path in (tmp_path / f"{turn}-checkpoint", tmp_path / f"{turn}-killed"):
            again = RocksStore(path, create=False)
            assert again.get(turn.encode()) == b"3"
            assert len(everything(again)) == len(rows)
            beat(again)
            reopened(again, path).close()


def test_what_rocksdb_says_is_one_line():
    problem = failure(Exception("Corruption: a file is quoted:\n MANIFEST-\n000009"))
    assert "quoted: MANIFEST- 000009)" in str(problem)


def test_broken_block_is_corrupt_in_every_read(folder):
    path = store_with_a_file(folder)
    store = RocksStore(folder)
    flip_bytes(path, 1_000, 20)
    wanted = [b"k%05d" % number for number in range(2_000)]
    with pytest.raises(StoreCorrupt):
        store.get(wanted[0])
    with pytest.raises(StoreCorrupt):
        store.get_many(wanted)
    with pytest.raises(StoreCorrupt):
        list(store.scan(b"k", b"l"))
    store.close()


def test_scan_that_meets_a_broken_block_does_not_end_quietly(folder):
    path = store_with_a_file(folder)
    flip_bytes(path, path.stat().st_size // 3, 20)
    store = RocksStore(folder)
    rows = store.scan(b"k", b"l")
    assert next(rows)[0] == b"k00000"
    with pytest.raises(StoreCorrupt):
        list(rows)
    store.close()


def test_missing_file_is_an_error(folder):
    store_with_a_file(folder).unlink()
    with pytest.raises((StoreCorrupt, StoreFailed)):
        RocksStore(folder)


def test_torn_tail_of_the_write_ahead_log_loses_whole_batches(folder, tmp_path):
    store = RocksStore(folder)
    for number in range(10):
        put_all(store, {b"%d-%d" % (number, place): b"v" for place in range(5)})
    crashed = tmp_path / "crashed"
    shutil.copytree(folder, crashed)
    store.close()
    log = max(crashed.glob("*.log"))
    whole = log.read_bytes()
    seen = set()
    for cut in range(0, len(whole), 7):
        copy = tmp_path / f"cut-{cut}"
        shutil.copytree(crashed, copy)
        (copy / log.name).write_bytes(whole[:cut])
        torn = RocksStore(copy)
        keys = [key for key, _ in everything(torn)]
        torn.close()
        batches = len(keys) // 5
        assert keys == [
            b"%d-%d" % (n, place) for n in range(batches) for place in range(5)
        ]
        seen.add(batches)
    assert seen == set(range(10))


def test_other_threads_read_while_one_writes(folder):
    store = RocksStore(folder)
    put_all(store, {b"a": b"0", b"b": b"0"})
    stop = threading.Event()
    torn = []

    def read():
        while not stop.is_set():
            (_, first), (_, second) = store.scan(b"a", b"c")
            if first != second:
                torn.append((first, second))

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(2_000):
        put_all(store, {b"a": b"%d" % number, b"b": b"%d" % number})
    stop.set()
    for thread in threads:
        thread.join(10)
    assert torn == []
    store.close()


@pytest.mark.slow
@pytest.mark.parametrize("batches", [1, 300, 3_000])
def test_kill_9_keeps_every_acknowledged_batch_whole(folder, batches):
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.contract.batch_writer", str(folder)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        acknowledged = 0
        while acknowledged < batches:
            acknowledged = int(process.stdout.readline())
        process.kill()
        rest = process.stdout.read(CHARACTERS_MAX).splitlines()
        process.wait(10)
    acknowledged = int(rest[-1]) if rest else acknowledged
    store = RocksStore(folder)
    last = int(store.get(LAST))
    # The batch in the middle of which it died may have been stored or not.
    assert acknowledged <= last <= acknowledged + 1
    assert everything(store) == [
        (LAST, b"%d" % last),
        *((row_key(last, place), b"%d" % last * 50) for place in range(ROWS)),
    ]
    store.close()


def test_a_store_knows_when_its_folder_is_gone(tmp_path):
    store = RocksStore(tmp_path / "db")
    assert store.is_there()
    shutil.rmtree(tmp_path / "db")
    assert not store.is_there()
    store.close()


def test_scans_end_at_their_bounds_whatever_else_memory_is_used_for(folder):
    """RocksDB reads the bound through a pointer for as long as a scan lasts."""
    store = RocksStore(folder)
    parts = [keys.user_part("acme", f"person-{number}") for number in range(80)]
    batch = store.batch()
    for part in parts:
        for sequence in range(10):
            batch.put(keys.lot(part, "points", 10**12, sequence), b"x" * 40)
    store.write(batch)
    for part in parts * 10:
        for currency, wanted in (("points", 10), ("xp", 0), ("coins", 0)):
            prefix = keys.lots(part, currency)
            found = list(store.scan(prefix, keys.prefix_end(prefix)))
            assert len(found) == wanted
            assert all(key.startswith(prefix) for key, _value in found)
    store.close()
