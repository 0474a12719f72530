"""The cache of users: what is evicted, and that it does not show."""

from rules.state import Lot, User, UserState
from tables import keys, users
from tables.memory import MemoryStore
from tables.users import UserTable


def change(table, store, names, size=0):
    """One step in which some users change."""
    batch = store.batch()
    table.begin(batch, [], 0)
    for name in names:
        user = table.get("acme", name)
        if user is None:
            user = User("acme", name, UserState(1, 1), table.rows("acme", name))
        user.state.points += 1
        user.state.display_name = "x" * size
        table.put(user)
    table.flush()
    store.write(batch)
    table.end()


def points(table, name):
    return table.get("acme", name).state.points


def test_users_beyond_the_bound_are_read_again():
    store = MemoryStore()
    table = UserTable(store, cached_max=2)
    for _ in range(3):
        change(table, store, ["a", "b", "c"])
    assert [points(table, name) for name in "abc"] == [3, 3, 3]
    assert len(table) <= 3


def test_large_states_are_bounded_by_bytes(monkeypatch):
    monkeypatch.setattr(users, "CACHED_BYTES_MAX", 10_000)
    store = MemoryStore()
    table = UserTable(store)
    for number in range(100):
        change(table, store, [f"u{number}"], size=1_000)
    assert len(table) < 10
    change(table, store, ["u5"], size=1_000)
    assert points(table, "u5") == 2


def test_lots_stay_in_order_however_they_come():
    store = MemoryStore()
    table = UserTable(store)
    table.begin(batch := store.batch(), [], 0)
    rows = table.rows("acme", "a")
    places = [(5, 1), (3, 2), (9, 3), (3, 4), (7, 5)]
    for expires_at_ms, sequence in places:
        rows.put_lot(Lot("points", expires_at_ms, sequence, 10))
    rows.put_lot(Lot("points", 3, 4, 6))
    rows.put_lot(Lot("points", 9, 3, 0))
    rows.put_lot(Lot("points", 1, 9, 0))
    expected = [(3, 2, 10), (3, 4, 6), (5, 1, 10), (7, 5, 10)]
    store.write(batch)
    for seen in (rows, UserTable(store).rows("acme", "a")):
        lots = seen.lots("points")
        assert [(x.expires_at_ms, x.sequence, x.remaining) for x in lots] == expected
    prefix = keys.lots(rows.part, "points")
    assert len(list(store.scan(prefix, keys.prefix_end(prefix)))) == len(expected)
