"""The store in memory: sorted keys in a list, for tests and dry runs.

Same contract as RocksDB's (tests/contract/store_contract.py); nothing outlives `close`.
A put of a new key moves the keys behind it, so it suits up to about 100,000 rows.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypeAlias

from tables.errors import StoreClosed
from tables.store import Batch

Operation: TypeAlias = tuple[str, bytes, bytes]


class MemoryBatch:
    """Writes in order: (``put`` | ``delete`` | ``range``, key, value or end)."""

    def __init__(self) -> None:
        """Begin empty."""
        self.operations: list[Operation] = []
        self.written = False

    def put(self, key: bytes, value: bytes) -> None:
        """Set a key."""
        self.operations.append(("put", key, value))

    def delete(self, key: bytes) -> None:
        """Remove a key; absent is fine."""
        self.operations.append(("delete", key, b""))

    def delete_range(self, begin: bytes, end: bytes) -> None:
        """Remove all keys in [begin, end).

        Raises:
          ValueError: `begin` is greater than `end`.
        """
        if begin > end:
            raise ValueError("a range ends before it begins")
        self.operations.append(("range", begin, end))


class MemoryStore:
    """One partition's rows. Not safe for threads."""

    def __init__(self) -> None:
        """Begin empty."""
        self._keys: list[bytes] = []
        self._values: dict[bytes, bytes] = {}
        self._closed = False

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed("the store is closed")

    def get(self, key: bytes) -> bytes | None:
        """Return a value, or None."""
        self._check_open()
        return self._values.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of many keys, in their order."""
        self._check_open()
        return [self._values.get(key) for key in keys]

    def scan(
        self, begin: bytes, end: bytes, *, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Return (key, value) of [begin, end) in key order, at most `limit`.

        The rows are those of the moment of the call.
        """
        self._check_open()
        first, last = bisect_left(self._keys, begin), bisect_left(self._keys, end)
        rows = [(key, self._values[key]) for key in self._keys[first:last]]
        return islice(iter(rows), limit)

    def batch(self) -> Batch:
        """Return an empty batch."""
        self._check_open()
        return MemoryBatch()

    def write(self, batch: Batch) -> None:
        """Store a batch, in order of its calls. A batch can be written once."""
        self._check_open()
        if not isinstance(batch, MemoryBatch):
            raise TypeError("the batch comes from another store")
        if batch.written:
            raise ValueError("the batch was written already")
        batch.written = True
        for kind, key, value in batch.operations:
            if kind == "put":
                self._put(key, value)
            else:
                self._delete_range(key, key + b"\0" if kind == "delete" else value)

    def _put(self, key: bytes, value: bytes) -> None:
        if key not in self._values:
            insort(self._keys, key)
        self._values[key] = value

    def _delete_range(self, begin: bytes, end: bytes) -> None:
        first, last = bisect_left(self._keys, begin), bisect_left(self._keys, end)
        for key in self._keys[first:last]:
            del self._values[key]
        del self._keys[first:last]

    def is_there(self) -> bool:
        """Return True: rows in memory need no place."""
        return True

    def manifest(self) -> None:
        """Return None: there are no files."""

    def flush(self) -> None:
        """Do nothing: there is no disk."""
        self._check_open()

    def close(self) -> None:
        """Forget everything; later calls raise `StoreClosed`. Idempotent."""
        self._closed = True
        self._keys, self._values = [], {}
