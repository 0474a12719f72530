"""Topics of the log, and which partition decides about whom.

The partitioner is that of Kafka's Java clients, so that producers of theirs and ours
agree: murmur2 of the key ``org/user``, sign bit cleared, modulo the partitions.
Source: org.apache.kafka.common.utils.Utils.murmur2.
"""

from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache
from struct import unpack_from
from sys import byteorder
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
LANES_MIN: Final = 8
"""So many names of one length are worth being hashed together."""
LANES_CACHED_MAX: Final = 64

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
    words = length >> 2
    h = _SEED ^ length
    for word in unpack_from(f"<{words}I", data):
        k = word * _M & _MASK
        h = (h * _M ^ (k ^ (k >> 24)) * _M) & _MASK
    tail = data[words << 2 :]
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


def partitions_of(org: str, users: Sequence[str], partitions: int) -> list[int]:
    """Return the partitions of many users of one org, in order; see `partition_of`.

    Names of one length are hashed together, which takes a tenth of the time and no
    memory of who was where.
    """
    lengths = list(map(len, users))
    if len(set(lengths)) == 1:
        return _partitions_of_alike(org, users, partitions)
    groups: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        groups.setdefault(length, []).append(index)
    found = [0] * len(users)
    for indexes in groups.values():
        alike = [users[index] for index in indexes]
        numbers = _partitions_of_alike(org, alike, partitions)
        for index, number in zip(indexes, numbers, strict=True):
            found[index] = number
    return found


def _partitions_of_alike(org: str, users: Sequence[str], partitions: int) -> list[int]:
    """Return the partitions of users whose names have one length."""
    size = len(org) + 1 + len(users[0])
    pad = "\0" * (-size % 4)
    text = f"{org}/" + f"{pad}{org}/".join(users) + pad
    if len(users) < LANES_MIN or not text.isascii() or byteorder != "little":
        return [partition_of(org, user, partitions) for user in users]
    hashes = _murmur2_many(text.encode(), size, len(users))
    return [(unsigned & 0x7FFFFFFF) % partitions for unsigned in hashes]


def _murmur2_many(text: bytes, size: int, count: int) -> Iterable[int]:
    """Return `murmur2` of many keys at once, computed in one wide integer.

    Each key has a lane of 64 bits with its hash in the lower half: a product of two
    numbers of 32 bits fits, and what a shift brings in from the next lane is masked.

    Args:
      text: The keys, each filled up with zeros to a multiple of four bytes.
      size: Bytes of each key without those.
      count: How many keys.
    """
    words = array("I", text)
    stride = len(words) // count
    lane = array("I", bytes(8 * count))
    low, ones = _lanes(count)
    h = (_SEED ^ size) * ones
    for place in range(size >> 2):
        lane[::2] = words[place::stride]
        k = int.from_bytes(lane, "little") * _M & low
        h = (h * _M ^ (k ^ (k >> 24 & low)) * _M) & low
    if size & 3:
        lane[::2] = words[stride - 1 :: stride]
        h = (h ^ int.from_bytes(lane, "little")) * _M & low
    h = (h ^ (h >> 13 & low)) * _M & low
    h ^= h >> 15 & low
    return array("I", h.to_bytes(8 * count, "little"))[::2]


@lru_cache(maxsize=LANES_CACHED_MAX)
def _lanes(count: int) -> tuple[int, int]:
    """Return the lower halves of some lanes, and a one in each."""
    halves = b"\xff\xff\xff\xff\0\0\0\0", b"\1\0\0\0\0\0\0\0"
    low, ones = (int.from_bytes(half * count, "little") for half in halves)
    return low, ones
