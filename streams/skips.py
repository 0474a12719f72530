"""What the operator decided to skip: records of `dead`, partition SKIPS.

A skip is stored in the log, so every replay honours it:
``{"topic":"users","partition":2,"offset":1234,"reason":"..."}``.
"""

from collections.abc import Collection, Iterator, Sequence

import msgspec

from streams.log import Append, Log, Record
from streams.topics import DEAD, SKIPS
from tables.codec import encode_json


class Skip(msgspec.Struct, frozen=True):
    """One record that is folded as nothing: it counts as one message."""

    topic: str
    partition: int
    offset: int
    reason: str = ""


def append_skip(log: Log, skip: Skip) -> None:
    """Store a skip, durably."""
    log.append_many([Append(DEAD, SKIPS, None, encode_json(skip))])


def read_skips(log: Log) -> Iterator[Skip]:
    """Yield every skip of the log."""
    offset = log.first_offset(DEAD, SKIPS)
    while records := log.read(DEAD, SKIPS, offset):
        for record in records:
            offset = record.offset + 1
            try:
                skip = msgspec.json.decode(record.value, type=Skip)
            except msgspec.DecodeError:
                continue  # The genesis record.
            yield skip


def skipped_offsets(log: Log, topic: str, partition: int) -> set[int]:
    """Return the offsets of one partition that are skipped."""
    return {
        skip.offset
        for skip in read_skips(log)
        # Nothing can stand in for a genesis record.
        if (skip.topic, skip.partition) == (topic, partition) and skip.offset > 0
    }


def with_skips(
    records: Sequence[Record], next_offset: int, skipped: Collection[int]
) -> list[Record]:
    """Return a run of records as the fold is to see it.

    A skipped record's stamp does not move the clock. A skipped offset where nothing
    stands (a hole) is an empty record.

    Args:
      records: What the log holds from `next_offset` on.
      next_offset: Where the fold goes on.
      skipped: Offsets that the operator skipped.
    """
    seen: list[Record] = []
    for record in records:
        while next_offset < record.offset and next_offset in skipped:
            seen.append(Record(next_offset, 0, None, b""))
            next_offset += 1
        seen.append(record._replace(stamp_ms=0) if record.offset in skipped else record)
        next_offset = record.offset + 1
    return seen
