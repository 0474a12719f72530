"""Slots of the mirror that a test fills itself."""

from tables import codec, keys
from tables.codec import PartitionRow
from tables.redis_mirrors import RedisMirrors

LOG_ID = "ab" * 16
ROW = codec.partition_rows.encode(PartitionRow(LOG_ID, 0, "", 1, 0, "", 1, 1, "x"))


class Slots:
    """Writes rows into slots without a store, as a new epoch with steps after it."""

    def __init__(self, client):
        self._slots = RedisMirrors(client, LOG_ID)
        self._offsets = {}

    def begin(self, topic, partition, rows=()):
        slot = self._slots.slot(topic, partition)
        assert slot.begin("first", 0)
        # A slot without a single row is no epoch; an owner writes its position first.
        assert slot.fill("first", 0, 0, dict(rows) or {keys.result("x"): b"\x01"})
        assert slot.swap("first", 0, force=False)
        self._offsets[topic, partition] = 0

    def put(self, topic, partition, rows, deletes=()):
        offset = self._offsets[topic, partition] + 1
        self._offsets[topic, partition] = offset
        slot = self._slots.slot(topic, partition)
        writes = rows | dict.fromkeys(deletes)
        assert slot.step(offset, offset, writes).verdict == "OK"
