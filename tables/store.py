"""The store: ordered bytes to bytes, one database per partition. A port.

Keys come from tables/keys.py, values from tables/codec.py.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol


class Batch(Protocol):
    """Writes that land together or not at all (rocksdict's WriteBatch fits)."""

    def put(self, key: bytes, value: bytes) -> None:
        """Set a key."""

    def delete(self, key: bytes) -> None:
        """Remove a key; absent is fine."""

    def delete_range(self, begin: bytes, end: bytes) -> None:
        """Remove all keys in [begin, end)."""


class Reader(Protocol):
    """What a reader of one partition's rows may do."""

    def get(self, key: bytes) -> bytes | None:
        """Return a value, or None."""

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of many keys, in their order."""

    def scan(
        self, begin: bytes, end: bytes, *, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) of [begin, end) in key order, at most `limit`."""


class Store(Reader, Protocol):
    """One partition's rows, owned by the machine that writes them."""

    def batch(self) -> Batch:
        """Return an empty batch."""

    def write(self, batch: Batch) -> None:
        """Store a batch atomically, in order of its calls; survives kill -9."""

    def is_there(self) -> bool:
        """Return whether the rows still have a place on the disk."""

    def manifest(self) -> tuple[int, int] | None:
        """Return how far the list of the rows' files goes; None: there are no files."""

    def flush(self) -> None:
        """Make what was written survive power loss."""

    def close(self) -> None:
        """Close; later calls raise `StoreClosed`. Idempotent."""
