"""Storage: row keys, codecs, the RocksDB store, read views."""
