"""A store with a mirror before it is a store; what it notes beside."""

import pytest

from tables import codec, keys
from tables.codec import PartitionRow
from tables.memory import MemoryStore
from tables.mirror import DELTAS_MAX, MirroredStore
from tables.rocksdb import RocksStore
from tests.contract.store_contract import StoreContract, everything, write

KINDS = keys.read_kinds("users")


def position(offset):
    row = PartitionRow("ab" * 16, offset, "", 1, 0, "", 1, 1, "x")
    return ("put", keys.PARTITION, codec.partition_rows.encode(row))


class TestMirroredStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        store = MirroredStore(RocksStore(tmp_path / "rows"), KINDS)
        yield store
        store.close()


class Taker:
    def __init__(self, store):
        self.steps, self.beats = [], []
        store.tell(self)

    def take_step(self, step):
        self.steps.append(step)

    def take_beat(self, heartbeat):
        self.beats.append(heartbeat)


@pytest.fixture
def store():
    return MirroredStore(MemoryStore(), KINDS)


def test_a_step_is_told_by_its_last_values(store):
    taker = Taker(store)
    user, cap = keys.user("a", "u"), keys.cap(b"a\0u\0", 1, "day", "c", "count")
    write(
        store,
        ("put", keys.seen(7, bytes(16)), b"7"),
        ("delete_range", keys.seen_bucket(0), keys.seen_bucket(7)),
        ("put", user, b"1"),
        ("put", user, b"2"),
        ("put", cap, b"9"),
        ("delete", keys.result("r")),
        position(3),
    )
    [step] = taker.steps
    assert (step.first, step.last) == (0, 3)
    assert step.writes == {
        user: b"2",
        keys.result("r"): None,
        keys.PARTITION: store.get(keys.PARTITION),
    }
    write(store, ("put", keys.HEARTBEAT, b"beat"))
    assert taker.beats == [b"beat"]
    assert len(taker.steps) == 1


def test_a_delta_lands_with_its_step_and_goes_when_it_is_old(store):
    for offset in range(DELTAS_MAX + 5):
        write(store, ("put", keys.user("a", "u"), b"%d" % offset), position(offset))
    deltas = store.deltas()
    assert [delta.last for delta in deltas] == list(range(5, DELTAS_MAX + 5))
    assert deltas[0].keys == [keys.user("a", "u"), keys.PARTITION]
    # A later owner of the same rows goes on with them.
    later = MirroredStore(store._store, KINDS)
    write(later, position(DELTAS_MAX + 5))
    assert next(delta.last for delta in later.deltas()) == 6


def test_deltas_are_bounded_in_size(store, monkeypatch):
    monkeypatch.setattr("tables.mirror.DELTAS_BYTES_MAX", 250)
    for offset in range(5):
        long = keys.user("a", "u" * 90)
        write(store, ("put", long, b""), position(offset))
    assert [delta.last for delta in store.deltas()] == [3, 4]
    write(store, ("put", keys.user("a", "u" * 900), b""), position(5))
    assert [delta.last for delta in store.deltas()] == [5]


def test_steps_folded_without_a_mirror_end_the_chain(store):
    write(store, position(0))
    write(store._store, position(1))
    assert MirroredStore(store._store, KINDS).deltas() == []
    later = MirroredStore(store._store, KINDS)
    write(later, position(2))
    assert [(delta.first, delta.last) for delta in later.deltas()] == [(2, 2)]


def test_a_range_that_the_mirror_cannot_drop_is_refused(store):
    prefix = keys.users_of("a")
    with pytest.raises(ValueError, match="mirror"):
        write(store, ("delete_range", prefix, keys.prefix_end(prefix)))
    assert everything(store) == []
