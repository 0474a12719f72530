"""What the operator decided to skip: records of `dead`, partition SKIPS.

A skip is stored in the log, so every replay honours it:
``{"topic":"users","partition":2,"offset":1234,"reason":"..."}``.
"""

from collections.abc import Iterator

import msgspec

from streams.log import Append, Log
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
        if (skip.topic, skip.partition) == (topic, partition)
    }
