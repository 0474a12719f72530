"""The store on RocksDB: one database per partition, its memory shared by the process.

Writes go to the write-ahead log without a sync, so that they survive `kill -9`;
`flush` syncs it. After a crash RocksDB recovers to a prefix of what was written, and
the machine folds the rest of the log again. rocksdict runs in raw mode: bytes stay
bytes.

    bytes in memory  = block cache (indexes and filters included) + write buffers
    bytes on disk    = D/state/<topic>-<partition>/<epoch>/ (tables/epoch.py)
"""

import threading
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path

from rocksdict import (
    AccessType,
    BlockBasedOptions,
    Cache,
    DbClosedError,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    Rdict,
    RdictIter,
    ReadOptions,
    WriteBatch,
    WriteBufferManager,
)

from tables.errors import StoreClosed, StoreCorrupt, StoreFailed, TableError
from tables.store import Batch

BLOCK_CACHE_BYTES = 64 << 20
"""Of all partitions of a process together."""
WRITE_BUFFER_BYTES = 8 << 20
"""Of one partition; a full one is flushed to a file in the background."""
WRITE_BUFFERS_PER_PARTITION = 3
"""One being filled, the others on their way to files; then writes wait."""
WRITE_BUFFERS_BYTES_MAX = 64 << 20
"""Of all partitions of a process together; beyond it the largest is flushed early."""
BLOOM_BITS_PER_KEY = 10
MEMTABLE_BLOOM_RATIO = 0.05
"""Share of a write buffer spent on a filter that makes misses cheap."""
BACKGROUND_JOBS = 2
INFO_LOG_BYTES_MAX = 1 << 20
INFO_LOGS_MAX = 2


class SharedResources:
    """The memory that all databases of a process share."""

    def __init__(self, cache_bytes: int = BLOCK_CACHE_BYTES) -> None:
        """Reserve nothing yet; the figures are upper bounds.

        Args:
          cache_bytes: Block cache of all databases together, indexes and filters
            included.
        """
        self.cache = Cache(cache_bytes)
        self.write_buffers = WriteBufferManager(WRITE_BUFFERS_BYTES_MAX, False)


@cache
def process_resources() -> SharedResources:
    """Return the one `SharedResources` of this process."""
    return SharedResources()


def database_options(resources: SharedResources) -> Options:
    """Return the options of a partition's database, for its owner and its readers."""
    blocks = BlockBasedOptions()
    blocks.set_block_cache(resources.cache)
    blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, False)
    blocks.set_cache_index_and_filter_blocks(True)
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(True)
    options = Options(raw_mode=True)
    options.set_block_based_table_factory(blocks)
    options.set_compression_type(DBCompressionType.lz4())
    options.set_write_buffer_manager(resources.write_buffers)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(WRITE_BUFFERS_PER_PARTITION)
    options.set_memtable_prefix_bloom_ratio(MEMTABLE_BLOOM_RATIO)
    options.set_memtable_whole_key_filtering(True)
    options.set_wal_recovery_mode(DBRecoveryMode.point_in_time())
    # A reader in another process must hold every file: the owner deletes them.
    options.set_max_open_files(-1)
    options.set_max_background_jobs(BACKGROUND_JOBS)
    options.set_stats_dump_period_sec(0)
    options.set_stats_persist_period_sec(0)
    options.set_max_log_file_size(INFO_LOG_BYTES_MAX)
    options.set_keep_log_file_num(INFO_LOGS_MAX)
    return options


def failure(error: Exception) -> TableError:
    """Return our error for one of rocksdict's, which tells them apart by words only."""
    text = str(error)
    if isinstance(error, DbClosedError):
        return StoreClosed("the store is closed")
    if text.startswith("Corruption"):
        return StoreCorrupt(text)
    return StoreFailed(text)


class RocksReader:
    """Reads of one open database; the base of the owner's store and of readers.

    Every `except Exception` here translates and raises: rocksdict's own errors are
    plain `Exception`.
    """

    def __init__(self, database: Rdict) -> None:
        """Wrap an open database."""
        self._database = database

    def get(self, key: bytes) -> bytes | None:
        """Return a value, or None."""
        try:
            value: bytes | None = self._database.get(key)
        except Exception as error:
            raise failure(error) from error
        return value

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values of many keys, in their order."""
        try:
            values: list[bytes | None] = self._database.get(list(keys))
        except Exception as error:
            raise failure(error) from error
        return values

    def scan(
        self, begin: bytes, end: bytes, *, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Return (key, value) of [begin, end) in key order, at most `limit`.

        The rows are those of the moment of the call. An iterator that is neither
        finished nor dropped keeps the files open beyond `close`.
        """
        if begin >= end:
            return iter(())
        bounds = ReadOptions()
        bounds.set_iterate_upper_bound(end)
        try:
            cursor = self._database.iter(bounds)
            cursor.seek(begin)
        except Exception as error:
            raise failure(error) from error
        return islice(_rows(cursor), limit)


def _rows(cursor: RdictIter) -> Iterator[tuple[bytes, bytes]]:
    """Yield what a cursor meets up to its bound.

    Raises:
      StoreCorrupt: The rows end early because RocksDB cannot read on. rocksdict's own
        `items` would end quietly.
    """
    while cursor.valid():
        yield cursor.key(), cursor.value()
        cursor.next()
    try:
        cursor.status()
    except Exception as error:
        raise failure(error) from error


class RocksSecondary(RocksReader):
    """A database that another process writes (tables/secondary.py follows it)."""

    def __init__(self, path: Path, scratch: Path, resources: SharedResources) -> None:
        """Open what the owner has written so far.

        Args:
          path: The owner's folder. It must hold a database: rocksdict would create the
            folder of one that does not exist.
          scratch: A folder of this reader's own.
          resources: Memory to share.

        Raises:
          StoreFailed: The owner deleted files meanwhile. Try again.
          StoreCorrupt: The files cannot be read.
        """
        scratch.mkdir(parents=True, exist_ok=True)
        options = database_options(resources)
        access = AccessType.secondary(str(scratch))
        try:
            super().__init__(Rdict(str(path), options, access_type=access))
        except Exception as error:
            raise failure(error) from error

    def catch_up(self) -> None:
        """See what the owner wrote before this call.

        Raises:
          StoreFailed: Files that it needs are gone. Open anew.
        """
        try:
            self._database.try_catch_up_with_primary()
        except Exception as error:
            raise failure(error) from error


class RocksBatch:
    """Writes that land together; `put` and `delete` are rocksdict's own."""

    __slots__ = ("delete", "put", "raw")

    def __init__(self) -> None:
        """Begin empty."""
        self.raw = WriteBatch(raw_mode=True)
        self.put = self.raw.put
        self.delete = self.raw.delete

    def delete_range(self, begin: bytes, end: bytes) -> None:
        """Remove all keys in [begin, end).

        Raises:
          ValueError: `begin` is greater than `end`. RocksDB would notice only in the
            middle of the write, keep one half and refuse every write after it.
        """
        if begin > end:
            raise ValueError("a range ends before it begins")
        self.raw.delete_range(begin, end)


class RocksStore(RocksReader):
    """One partition's rows, owned by this process; one thread writes at a time."""

    def __init__(self, path: Path, resources: SharedResources | None = None) -> None:
        """Open a database, creating it where there is none.

        Args:
          path: Its folder; the parent exists or is created.
          resources: Memory to share; None: what the process shares.

        Raises:
          StoreCorrupt: The files cannot be read.
          StoreFailed: Another process holds it, or the disk refuses.
        """
        self._closing = threading.Lock()
        self._closed = False
        path.mkdir(parents=True, exist_ok=True)
        options = database_options(resources or process_resources())
        try:
            super().__init__(Rdict(str(path), options))
        except Exception as error:
            raise failure(error) from error

    def batch(self) -> Batch:
        """Return an empty batch."""
        if self._closed:
            raise StoreClosed("the store is closed")
        return RocksBatch()

    def write(self, batch: Batch) -> None:
        """Store a batch atomically, in order of its calls; survives kill -9.

        A batch can be written once.

        Raises:
          StoreFailed: The disk is full or refuses; nothing can be written until the
            store is opened again.
        """
        if not isinstance(batch, RocksBatch):
            raise TypeError("the batch comes from another store")
        try:
            self._database.write(batch.raw)
        except Exception as error:
            raise failure(error) from error

    def flush(self) -> None:
        """Make what was written survive power loss: sync the write-ahead log."""
        try:
            self._database.flush_wal(True)
        except Exception as error:
            raise failure(error) from error

    def close(self) -> None:
        """Close; later calls raise `StoreClosed`. Idempotent."""
        with self._closing:
            if self._closed:
                return
            self._closed = True
            try:
                self._database.close()
            except Exception as error:
                raise failure(error) from error
