"""Topics of the log, and which partition decides about whom.

The partitioner is that of Kafka's Java clients, so that producers of theirs and ours
agree: murmur2 of the key ``org/user``, sign bit cleared, modulo the partitions.
Source: org.apache.kafka.common.utils.Utils.murmur2.
"""

from functools import lru_cache
from typing import Final

USERS: Final = "users"
ORGS: Final = "orgs"
LEDGER: Final = "ledger"
DEAD: Final = "dead"
TOPICS: Final = (USERS, ORGS, LEDGER, DEAD)
GROUP: Final = "plaudit"
"""The consumer group of the workers, and the Faust app's id."""

DEAD_LETTERS: Final = 0
"""Partition of `dead` that holds refused messages."""
SKIPS: Final = 1
"""Partition of `dead` that holds what `plaudit skip` decided."""

RECORD_BYTES_MAX: Final = 900_000
"""Upper bound of a record that Plaudit writes; brokers refuse from 1 MB on."""
MESSAGES_MAX: Final = 1_000
"""Upper bound of messages in an envelope that Plaudit writes."""
PARTITIONS_MAX: Final = 1_024
PARTITION_CACHE_MAX: Final = 65_536

_MASK: Final = 0xFFFFFFFF
_M: Final = 0x5BD1E995
_SEED: Final = 0x9747B28C


def partition_counts(partitions: int) -> dict[str, int]:
    """Return how many partitions each topic has.

    Args:
      partitions: Number of `users` partitions, 1..`PARTITIONS_MAX`.

    Raises:
      ValueError: Out of bounds.
    """
    if not 1 <= partitions <= PARTITIONS_MAX:
        raise ValueError(f"partitions must be 1..{PARTITIONS_MAX}, not {partitions}")
    return {USERS: partitions, ORGS: 1, LEDGER: partitions, DEAD: 2}


def murmur2(data: bytes) -> int:
    """Return Kafka's 32-bit murmur2 of some bytes, as an unsigned number."""
    length = len(data)
    h = (_SEED ^ length) & _MASK
    whole = length & ~3
    for start in range(0, whole, 4):
        k = int.from_bytes(data[start : start + 4], "little") * _M & _MASK
        k = (k ^ (k >> 24)) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    tail = data[whole:]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * _M & _MASK
    h = (h ^ (h >> 13)) * _M & _MASK
    return h ^ (h >> 15)


@lru_cache(maxsize=PARTITION_CACHE_MAX)
def partition_of(org: str, user: str, partitions: int) -> int:
    """Return the partition of `users` that decides about a user.

    Args:
      org: Org id.
      user: User id, encodable as UTF-8.
      partitions: Number of `users` partitions, >= 1.
    """
    return (murmur2(f"{org}/{user}".encode()) & 0x7FFFFFFF) % partitions
