"""A slot of the mirror, read whole, and compared with a store row by row."""

from tables import codec, keys
from tables.compare import live_rows
from tables.memory import MemoryStore

LISTED = (0x11, 0x12, 0x15, 0x21)
LINGERING = (0x04, 0x30)
MARK = b""


def slot_rows(raw, name):
    """Return all rows of a slot's epoch in force, or None where there is none."""
    epoch = raw.hget(name, "epoch")
    if epoch is None:
        return None
    base = f"{name}:{epoch.decode()}"
    rows = raw.hgetall(f"{base}:rows")
    assert rows.pop(MARK) == MARK, "the epoch lost its mark"
    listed = {key for key in rows if key[0] in LISTED}
    order = raw.zrange(f"{base}:order", 0, -1)
    assert order == [MARK, *sorted(listed)], "the order holds other keys than the rows"
    return rows


def slot_keys(raw, name):
    """Return the names of all keys of a slot."""
    return {key.decode() for key in raw.scan_iter(match=f"{name}*", count=1_000)}


def live(rows):
    """Return rows that decide something, as `tables.compare` has it, by key."""
    store = MemoryStore()
    batch = store.batch()
    for key, value in rows.items():
        batch.put(key, value)
    store.write(batch)
    row = rows.get(keys.PARTITION)
    clock_ms = 0 if row is None else codec.partition_rows.decode(row).clock_ms
    return dict(live_rows(store, clock_ms))


def all_rows(store):
    """Return all rows of a store, by key."""
    return dict(store.scan(b"\x00", b"\xff"))


def assert_mirrored(raw, name, rows, topic, *, zombies=False):
    """Fail unless the slot in force equals a partition's rows, and nothing is left.

    Where zombies wrote, rows whose time is over (results, tallies) may be left in the
    slot: which step deletes them depends on how the log was cut into steps (ADR-0008).
    """
    kinds = keys.read_kinds(topic)
    # Rows that are due go when their step comes; the slot may keep them longer.
    expired = rows.keys() - live(rows).keys()
    expected = {
        key: value
        for key, value in rows.items()
        if key[0] in kinds and key not in expired
    }
    found = slot_rows(raw, name)
    assert found is not None, f"{name} has no epoch in force"
    found.pop(keys.HEARTBEAT, None)
    for key in found.keys() | expected.keys():
        lingers = zombies and key not in rows and key[0] in LINGERING
        if key not in expired and not lingers:
            assert found.get(key) == expected.get(key), (keys.kind_of(key), key)
    epoch = raw.hget(name, "epoch").decode()
    draft = raw.hget(name, "draft")
    assert draft is None, "a new epoch is still being written"
    strays = {
        key
        for key in slot_keys(raw, name)
        if key != name and not key.startswith(f"{name}:{epoch}:")
    }
    assert strays == set(), "keys of other epochs are left"
