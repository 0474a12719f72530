"""Faust transport over the embedded log, for ``sqlite://`` broker URLs.

The app carries the log (`app.message_log`) and may say where each partition is to be
read from (`app.machine_positions`, the offset after the last applied one). There is one
worker in the group, so the assignment is everything; Faust's own assignor still makes
it, because agents and tables look it up there. A worker of several processes divides it
among them by partition number (`app.share`).

Faust's base classes do the rest. What is ours, and why:
- `perform_seek` holds off delivery while it moves positions: records delivered from an
  old batch would otherwise be lost after a rewind (faust issue of recovery and seek).
- one wait per fetched batch instead of one per message: 21 us an event and not 57.
- a partition is read from where its machine stands, while its committed offset stays
  the group's.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

from faust.transport import base
from faust.transport.consumer import Consumer as BaseConsumer
from faust.types import TP, ConsumerMessage
from mode import Service

from streams.log import Record
from streams.sqlite_log import SqliteLog
from streams.transports.sqlite_producer import (
    STAMPED_BY_LOG,
    Producer,
    partition_of_key,
)
from streams.wakeup import POLL_SECONDS

FETCH_RECORDS_MAX: Final = 500
"""Records of one partition in one fetched batch (and about 4 MB, see `Log.read`)."""
FETCH_BYTES_MAX: Final = 8_000_000
"""A batch takes in no further partition beyond this."""
YIELD_EVERY: Final = 100
"""Messages delivered before other tasks get their turn."""


class _Cluster:
    """What the assignor asks of a cluster."""

    def __init__(self, log: SqliteLog) -> None:
        self._log = log

    def partitions_for_topic(self, topic: str) -> set[int]:
        """Return the partitions of a topic."""
        return set(range(self._log.partitions(topic)))


class Consumer(BaseConsumer):  # type: ignore[misc]  # Faust is untyped here
    """Reads the assigned partitions in order and delivers them to Faust."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin without an assignment; Faust passes the arguments."""
        super().__init__(*args, **kwargs)
        self._log: SqliteLog = self.app.message_log
        self._group: str = self.app.conf.id
        self._share: tuple[int, int] = getattr(self.app, "share", (0, 1))
        self._assigned: set[TP] = set()
        self._positions: dict[TP, int] = {}
        self._rebalancing = asyncio.Lock()
        self._delivering = asyncio.Lock()
        self._woken = asyncio.Event()
        self._receiver = self._log.receiver()
        self._turn = 0

    async def on_start(self) -> None:
        """Listen for wake-ups from whoever appends."""
        await super().on_start()
        fd = self._receiver.fileno()
        if fd is not None:
            asyncio.get_running_loop().add_reader(fd, self._wake)

    async def on_shutdown(self) -> None:
        """Stop listening."""
        fd = self._receiver.fileno()
        if fd is not None:
            asyncio.get_running_loop().remove_reader(fd)
        self._receiver.close()
        await super().on_shutdown()

    def _wake(self) -> None:
        self._receiver.drain()
        self._woken.set()

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Take all partitions of some topics."""
        # Not awaited: assignment waits for the subscription, which ends with this call.
        self.add_future(self._rebalance(set(topics)))

    async def _rebalance(self, topics: set[str]) -> None:
        """Give everything back, then take everything: two generations never overlap."""
        async with self._rebalancing:
            app = self.app
            app.on_rebalance_start()
            await self.on_partitions_revoked(set(self._assigned))
            app.consumer_generation_id += 1
            member = app.conf.id
            assignments = app.assignor.assign(
                _Cluster(self._log), {member: app.assignor.metadata(topics)}
            )
            app.assignor.on_assignment(assignments[member])
            index, count = self._share
            self._assigned = {
                TP(*tp)
                for tp in app.assignor.assigned_actives()
                if tp.partition % count == index
            }
            self._positions = dict.fromkeys(self._assigned, 0)
            await self.on_partitions_assigned(
                set(self._assigned), app.consumer_generation_id
            )

    async def perform_seek(self) -> None:
        """Set every partition to where it is read from, with delivery at rest."""
        self.stop_flow()
        async with self._delivering:
            positions = await self.seek_to_committed()
            ahead: dict[TP, int] = {}
            for tp, position in positions.items():
                committed = self._log.committed(self._group, *tp)
                if committed is not None and position > committed:
                    # Stored, and so published, but not committed before a crash. Faust
                    # would wait for ever for the acks of what is not read again.
                    ahead[tp] = committed = position
                self._read_offset[tp] = position or None
                self._committed_offset[tp] = committed
            if ahead:
                await self._commit(ahead)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek each partition to its machine's place, else to the committed offset."""
        where = getattr(self.app, "machine_positions", None)
        for tp in self._assigned:
            position = where(tp) if where is not None else None
            if position is None:
                position = self._log.committed(self._group, *tp) or 0
            self._positions[tp] = position
        return dict(self._positions)

    def on_buffer_full(self, tp: TP) -> None:
        """Do nothing: delivery waits for room, which is all the back-pressure needed.

        Faust's way takes the partition out and, with all of them out, sleeps a second.
        """

    def on_buffer_drop(self, tp: TP) -> None:
        """Do nothing; see `on_buffer_full`."""

    async def _drain_messages(self, fetcher: Service) -> None:
        """Fetch and deliver until stopped; what Faust's fetcher runs."""
        while not (self.should_stop or fetcher.should_stop):
            if not self.flow_active:
                await self.wait(self.can_resume_flow, timeout=1.0)
                continue
            self._woken.clear()
            async with self._delivering:
                batch = self._fetch(self._get_active_partitions())
                if batch:
                    await self._deliver_unless_suspended(batch)
            if not batch:
                await self._idle()

    async def _deliver_unless_suspended(self, batch: Mapping[TP, list[Record]]) -> None:
        """Deliver a batch; where the flow stops, break off and wait for the end."""
        delivery = asyncio.ensure_future(self._deliver(batch))
        suspended = asyncio.ensure_future(self.suspend_flow.wait())
        try:
            await asyncio.wait(
                {delivery, suspended}, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            suspended.cancel()
            delivery.cancel()
            await asyncio.wait({delivery})
        if not delivery.cancelled():
            delivery.result()

    async def _idle(self) -> None:
        """Sleep until somebody appends, or a poll is due."""
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._woken.wait()
        except TimeoutError:
            return

    def _fetch(self, active: set[TP]) -> dict[TP, list[Record]]:
        """Read the next records of the partitions, beginning with another each time."""
        tps = sorted(tp for tp in active if tp in self._assigned)
        batch: dict[TP, list[Record]] = {}
        room = FETCH_BYTES_MAX
        self._turn += 1
        for place in range(len(tps)):
            tp = tps[(place + self._turn) % len(tps)]
            records = self._log.read(
                tp.topic,
                tp.partition,
                self._positions[tp],
                records_max=FETCH_RECORDS_MAX,
            )
            if records:
                batch[tp] = records
                room -= sum(len(record.value) for record in records)
            if room < 0:
                break
        return batch

    async def _deliver(self, batch: Mapping[TP, list[Record]]) -> None:
        """Hand a batch to the streams, partitions taking turns."""
        callback = self.callback
        generation = self.app.consumer_generation_id
        for count, (tp, record) in enumerate(self.scheduler.iterate(batch), 1):
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return
            if record.offset > self._positions[tp]:
                # A hole: it parks the partition, or was skipped and needs no ack.
                await self._add_gap(tp, self._positions[tp], record.offset - 1)
            await callback(self._to_message(tp, record))
            # Only now: what is cut off half-way is read again.
            self._positions[tp] = record.offset + 1
            self._read_offset[tp] = record.offset
            if count % YIELD_EVERY == 0:
                await asyncio.sleep(0)

    def _to_message(self, tp: TP, record: Record) -> ConsumerMessage:
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            record.offset,
            record.stamp_ms / 1_000,
            STAMPED_BY_LOG,
            [],
            record.key,
            record.value,
            None,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    async def _getmany(
        self, active_partitions: set[TP] | None, timeout: float
    ) -> Mapping[TP, list[Record]]:
        return self._fetch(active_partitions or self._assigned)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        by_place = {(tp.topic, tp.partition): at for tp, at in offsets.items()}
        await asyncio.get_running_loop().run_in_executor(
            None, self._log.commit, self._group, by_place
        )
        return True

    async def _seek(self, partition: TP, offset: int) -> None:
        self._positions[partition] = offset

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Seek partitions to offsets."""
        for tp, offset in partitions.items():
            self._positions[tp] = offset
            self._read_offset[tp] = offset or None

    async def position(self, tp: TP) -> int | None:
        """Return the next offset that is read."""
        return self._positions.get(tp)

    def highwater(self, tp: TP) -> int:
        """Return the offset that the next record will get."""
        return self._log.end_offset(tp.topic, tp.partition)

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the offsets that the next records will get."""
        return {tp: self.highwater(tp) for tp in partitions}

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the oldest offsets kept."""
        return {tp: self._log.first_offset(tp.topic, tp.partition) for tp in partitions}

    def assignment(self) -> set[TP]:
        """Return the partitions that this process reads."""
        return self._assigned

    def topic_partitions(self, topic: str) -> int | None:
        """Return how many partitions a topic has."""
        return self._log.partitions(topic)

    def key_partition(
        self, topic: str, key: bytes | None, partition: int | None = None
    ) -> int | None:
        """Return the partition of a key."""
        if partition is not None:
            return partition
        return partition_of_key(self._log, topic, key)

    async def create_topic(self, topic: str, *_: Any, **__: Any) -> None:
        """Check that a topic is there; only `plaudit init` makes topics."""
        self._log.partitions(topic)

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)


class Transport(base.Transport):  # type: ignore[misc]  # Faust is untyped here
    """The embedded log as Faust's broker."""

    Consumer: ClassVar[type] = Consumer
    Producer: ClassVar[type] = Producer
    default_port = 0
    driver_version = "sqlite"
