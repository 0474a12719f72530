"""What every `Store` does; each backend's test file runs these cases."""

import pytest

from tables.errors import StoreClosed


def write(store, *calls):
    """Write one batch of (method, arguments...)."""
    batch = store.batch()
    for method, *arguments in calls:
        getattr(batch, method)(*arguments)
    store.write(batch)


def put_all(store, rows):
    """Write rows in one batch."""
    write(store, *(("put", key, value) for key, value in rows.items()))


def everything(store):
    """Return all rows, in order."""
    return list(store.scan(b"\x00", b"\xff"))


class StoreContract:
    """Cases for one backend: subclass with a `store` fixture, an open, empty store."""

    def test_absent_key_is_none(self, store):
        assert store.get(b"k") is None

    def test_put_is_read_back(self, store):
        put_all(store, {b"k": b"v"})
        assert store.get(b"k") == b"v"

    def test_put_replaces(self, store):
        put_all(store, {b"k": b"v1"})
        put_all(store, {b"k": b"v2"})
        assert everything(store) == [(b"k", b"v2")]

    @pytest.mark.parametrize("value", [b"", b"\x00", b"0", b"null"])
    def test_falsy_values_are_values(self, store, value):
        put_all(store, {b"k": value})
        assert store.get(b"k") == value
        assert store.get_many([b"k"]) == [value]
        assert everything(store) == [(b"k", value)]

    def test_keys_and_values_are_any_bytes(self, store):
        rows = {bytes([byte]) + b"\x00\xff": bytes(range(256)) for byte in range(255)}
        put_all(store, rows)
        assert everything(store) == sorted(rows.items())

    def test_unwritten_batch_is_invisible(self, store):
        batch = store.batch()
        batch.put(b"k", b"v")
        assert store.get(b"k") is None
        store.write(batch)
        assert store.get(b"k") == b"v"

    def test_empty_batch_changes_nothing(self, store):
        put_all(store, {b"k": b"v"})
        store.write(store.batch())
        assert everything(store) == [(b"k", b"v")]

    def test_batch_keeps_the_order_of_its_calls(self, store):
        write(
            store,
            ("put", b"a", b"1"),
            ("delete", b"a"),
            ("delete", b"b"),
            ("put", b"b", b"2"),
            ("put", b"c", b"3"),
            ("put", b"c", b"4"),
            ("put", b"d1", b"5"),
            ("delete_range", b"d", b"e"),
            ("put", b"d2", b"6"),
        )
        assert everything(store) == [(b"b", b"2"), (b"c", b"4"), (b"d2", b"6")]

    def test_delete_of_an_absent_key_is_fine(self, store):
        write(store, ("delete", b"k"))
        assert store.get(b"k") is None

    def test_delete_then_falsy_put(self, store):
        put_all(store, {b"k": b"v"})
        write(store, ("delete", b"k"))
        put_all(store, {b"k": b""})
        assert store.get(b"k") == b""

    def test_delete_range_keeps_its_end(self, store):
        put_all(store, dict.fromkeys([b"a", b"b", b"b\x00", b"c"], b"v"))
        write(store, ("delete_range", b"b", b"c"))
        assert everything(store) == [(b"a", b"v"), (b"c", b"v")]

    def test_empty_delete_range_removes_nothing(self, store):
        put_all(store, {b"b": b"v"})
        write(store, ("delete_range", b"b", b"b"))
        assert store.get(b"b") == b"v"

    def test_backward_delete_range_is_refused_and_harms_nothing(self, store):
        batch = store.batch()
        batch.put(b"a", b"v")
        with pytest.raises(ValueError, match="range"):
            batch.delete_range(b"c", b"b")
        store.write(batch)
        assert everything(store) == [(b"a", b"v")]

    def test_range_delete_hides_rows_from_all_reads(self, store):
        put_all(store, {b"r%03d" % number: b"v" for number in range(100)})
        write(store, ("delete_range", b"r010", b"r090"))
        assert store.get(b"r010") is None
        assert store.get_many([b"r009", b"r010", b"r089", b"r090"]) == [
            b"v",
            None,
            None,
            b"v",
        ]
        assert len(everything(store)) == 20

    def test_batch_is_written_once(self, store):
        batch = store.batch()
        batch.put(b"k", b"v1")
        store.write(batch)
        put_all(store, {b"k": b"v2"})
        with pytest.raises(Exception, match="batch"):
            store.write(batch)
        assert store.get(b"k") == b"v2"

    def test_foreign_batch_is_refused(self, store):
        with pytest.raises(TypeError):
            store.write(object())

    def test_get_many_keeps_order_duplicates_and_gaps(self, store):
        put_all(store, {b"a": b"1", b"c": b"", b"b": b"2"})
        wanted = (b"c", b"x", b"a", b"c", b"a", b"y", b"b")
        assert store.get_many(wanted) == [b"", None, b"1", b"", b"1", None, b"2"]

    def test_get_many_of_none_and_of_thousands(self, store):
        assert store.get_many([]) == []
        rows = {b"%05d" % number: b"%d" % number for number in range(3_000)}
        put_all(store, rows)
        wanted = [b"%05d" % number for number in range(2_999, -1, -1)]
        assert store.get_many(wanted) == [rows[key] for key in wanted]

    def test_scan_is_half_open_and_in_order(self, store):
        put_all(store, {key: key for key in [b"c", b"a", b"b", b"b\x00", b"b\xff"]})
        assert [key for key, _ in store.scan(b"a", b"c")] == [
            b"a",
            b"b",
            b"b\x00",
            b"b\xff",
        ]
        assert list(store.scan(b"b\x00", b"b\x01")) == [(b"b\x00", b"b\x00")]

    def test_scan_of_nothing(self, store):
        put_all(store, {b"b": b"v"})
        assert list(store.scan(b"c", b"d")) == []
        assert list(store.scan(b"b", b"b")) == []
        assert list(store.scan(b"c", b"a")) == []

    def test_scan_limit(self, store):
        put_all(store, {b"%d" % number: b"v" for number in range(9)})
        assert [key for key, _ in store.scan(b"2", b"7", limit=3)] == [b"2", b"3", b"4"]
        assert len(list(store.scan(b"2", b"7", limit=5))) == 5
        assert len(list(store.scan(b"2", b"7", limit=99))) == 5
        assert list(store.scan(b"2", b"7", limit=0)) == []

    def test_scan_sees_the_moment_of_its_call(self, store):
        put_all(store, {b"%d" % number: b"old" for number in range(5)})
        rows = store.scan(b"0", b"9")
        first = next(rows)
        put_all(store, {b"%d" % number: b"new" for number in range(9)})
        write(store, ("delete", b"3"))
        assert [first, *rows] == [(b"%d" % number, b"old") for number in range(5)]

    def test_big_batch(self, store):
        rows = {b"%06d" % number: b"x" * 500 for number in range(20_000)}
        put_all(store, rows)
        assert sum(1 for _ in store.scan(b"0", b":")) == 20_000
        assert store.get(b"019999") == b"x" * 500

    def test_big_value(self, store):
        value = bytes(range(256)) * 16_384
        put_all(store, {b"k": value})
        assert store.get(b"k") == value

    def test_flush_keeps_rows(self, store):
        put_all(store, {b"k": b"v"})
        store.flush()
        assert store.get(b"k") == b"v"

    def test_closed_store_refuses_everything(self, store):
        batch = store.batch()
        batch.put(b"k", b"v")
        store.close()
        store.close()
        for call in (
            lambda: store.get(b"k"),
            lambda: store.get_many([b"k"]),
            lambda: list(store.scan(b"a", b"z")),
            store.batch,
            lambda: store.write(batch),
            store.flush,
        ):
            with pytest.raises(StoreClosed):
                call()
