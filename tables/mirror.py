"""What a mirror needs of a store: each step's changes, and which steps were the last.

A `MirroredStore` stands in front of a partition's store where a mirror is configured;
elsewhere nobody pays for it. Its batches note what they change in rows that readers ask
for. With each step it stores a delta in the same batch: the keys that the step changed,
for the last `DELTAS_MAX` steps. Values need not be kept: they stand in the rows, and
the rows of now are what a slot that is some steps behind is to be brought to.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import msgspec

from tables import codec, keys
from tables.codec import Delta
from tables.store import Batch, Store

DELTAS_MAX: Final = 64
"""Steps kept: what a failover or a restart of Redis may lose without a new epoch."""
DELTAS_BYTES_MAX: Final = 16_000_000
"""Size of their deltas together; the last one is kept whatever its size."""


class StepWrites(msgspec.Struct, frozen=True):
    """What a step changed.

    Attributes:
      first: First offset of the step.
      last: Last offset of the step.
      writes: Row key -> value; None: deleted.
    """

    first: int
    last: int
    writes: dict[bytes, bytes | None]


class RecordingBatch:
    """A batch that notes its changes of the kinds of rows that are mirrored.

    Attributes:
      inner: The store's own batch.
      writes: Row key -> value; None: deleted.
    """

    __slots__ = ("_kinds", "inner", "writes")

    def __init__(self, inner: Batch, kinds: frozenset[int]) -> None:
        """Begin empty."""
        self.inner = inner
        self._kinds = kinds
        self.writes: dict[bytes, bytes | None] = {}

    def put(self, key: bytes, value: bytes) -> None:
        """Set a key."""
        self.inner.put(key, value)
        if key[0] in self._kinds:
            self.writes[key] = value

    def delete(self, key: bytes) -> None:
        """Remove a key; absent is fine."""
        self.inner.delete(key)
        if key[0] in self._kinds:
            self.writes[key] = None

    def delete_range(self, begin: bytes, end: bytes) -> None:
        """Remove all keys in [begin, end).

        Raises:
          ValueError: They may be of mirrored kinds.
        """
        if any(kind in self._kinds for kind in range(begin[0], end[0] + 1)):
            raise ValueError("the mirror cannot drop a range of rows")
        self.inner.delete_range(begin, end)


class StepTaker(Protocol):
    """Who is told of what was stored (tables/redis_mirror.py)."""

    def take_step(self, step: StepWrites) -> None:
        """Take note of a step that is stored."""

    def take_beat(self, heartbeat: bytes) -> None:
        """Take note of a heartbeat row that is stored."""


class MirroredStore:
    """A store whose steps are to be mirrored; see `tables.store.Store`.

    Attributes:
      applied: Last offset that the rows hold; -1: none.
    """

    def __init__(self, store: Store, kinds: frozenset[int]) -> None:
        """Take over a partition where its rows are.

        Args:
          store: Its rows.
          kinds: Kinds of rows that are mirrored.
        """
        self._store = store
        self._kinds = kinds
        self._taker: StepTaker | None = None
        stored = store.get(keys.PARTITION)
        self.applied = (
            -1 if stored is None else codec.partition_rows.decode(stored).offset
        )
        # Last offset and size of each delta that is kept, oldest first.
        self._kept = deque(
            (delta.last, len(value)) for delta, value in self._stored_deltas()
        )
        self._kept_bytes = sum(size for _last, size in self._kept)

    def tell(self, taker: StepTaker) -> None:
        """Tell somebody of all that is stored from now on."""
        self._taker = taker

    def get(self, key: bytes) -> bytes | None:
        """Return a value, or None."""
        return self._store.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of many keys, in their order."""
        return self._store.get_many(keys)

    def scan(
        self, begin: bytes, end: bytes, *, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) of [begin, end) in key order, at most `limit`."""
        return self._store.scan(begin, end, limit=limit)

    def batch(self) -> Batch:
        """Return an empty batch."""
        return RecordingBatch(self._store.batch(), self._kinds)

    def write(self, batch: Batch) -> None:
        """Store a batch atomically; that of a step together with its delta."""
        if not isinstance(batch, RecordingBatch):
            raise TypeError("the batch comes from another store")
        row = batch.writes.get(keys.PARTITION)
        if row is None:
            self._store.write(batch.inner)
            beat = batch.writes.get(keys.HEARTBEAT)
            if beat is not None and self._taker is not None:
                self._taker.take_beat(beat)
            return
        last = codec.partition_rows.decode(row).offset
        step = StepWrites(self.applied + 1, last, batch.writes)
        self._put_delta(batch.inner, step)
        self._store.write(batch.inner)
        self.applied = last
        if self._taker is not None:
            self._taker.take_step(step)

    def deltas(self) -> list[Delta]:
        """Return the deltas that lead to the applied position, oldest first."""
        chain: list[Delta] = []
        for delta, _value in self._stored_deltas():
            if chain and chain[-1].last + 1 != delta.first:
                # Between the two the rows were folded without a mirror.
                chain.clear()
            chain.append(delta)
        return chain if chain and chain[-1].last == self.applied else []

    def is_there(self) -> bool:
        """Return whether the rows still have a place on the disk."""
        return self._store.is_there()

    def manifest(self) -> tuple[int, int] | None:
        """Return how far the list of the rows' files goes; None: there are no files."""
        return self._store.manifest()

    def flush(self) -> None:
        """Make what was written survive power loss."""
        self._store.flush()

    def close(self) -> None:
        """Close; later calls raise `StoreClosed`. Idempotent."""
        self._store.close()

    def _put_delta(self, batch: Batch, step: StepWrites) -> None:
        """Add a step's delta to its batch, and drop those that are too old."""
        delta = Delta(step.first, step.last, list(step.writes))
        value = codec.encode_delta(delta)
        batch.put(keys.delta(step.last), value)
        self._kept.append((step.last, len(value)))
        self._kept_bytes += len(value)
        while len(self._kept) > DELTAS_MAX or (
            self._kept_bytes > DELTAS_BYTES_MAX and len(self._kept) > 1
        ):
            last, size = self._kept.popleft()
            self._kept_bytes -= size
            batch.delete(keys.delta(last))

    def _stored_deltas(self) -> Iterator[tuple[Delta, bytes]]:
        first = keys.delta(0)
        rows = self._store.scan(first, keys.prefix_end(first[:1]))
        for _key, value in rows:
            yield codec.decode_delta(value), value
