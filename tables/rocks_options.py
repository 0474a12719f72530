"""RocksDB's settings, and the memory that all partitions of a process share.

bytes in memory <= block cache (indexes and filters included) + write buffers
"""

from functools import cache

from rocksdict import (
    BlockBasedIndexType,
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    DBRecoveryMode,
    Options,
    WriteBufferManager,
)

BLOCK_CACHE_BYTES = 32 << 20
"""Of all partitions of a process together; it fills within some million actions."""
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
    # Indexes and filters live in the cache, so that memory is bounded, and in pieces:
    # a whole filter is larger than a shard of the cache, is never kept there, and each
    # get reads it anew (300 us instead of 6).
    blocks.set_cache_index_and_filter_blocks(True)
    blocks.set_partition_filters(True)
    blocks.set_index_type(BlockBasedIndexType.two_level_index_search())
    blocks.set_pin_top_level_index_and_filter(True)
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
