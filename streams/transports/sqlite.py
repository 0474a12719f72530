"""Faust transport over the embedded log, for ``sqlite://`` broker URLs.

There is one worker in the group, so the assignment is everything; Faust's own assignor
still makes it, because agents and tables look it up there. A worker of several
processes divides it among them by partition number (`app.share`). How records are
delivered: streams/transports/positions.py.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Final

from faust.transport import base
from faust.transport.consumer import Consumer as BaseConsumer
from faust.types import TP, ConsumerMessage

from streams.log import Record
from streams.sqlite_log import SqliteLog
from streams.transports.heard import Heard
from streams.transports.positions import Positions
from streams.transports.producer import STAMPED_BY_LOG, Producer
from streams.wakeup import POLL_SECONDS
from tables.clock import monotonic_ms

FETCH_RECORDS_MAX: Final = 500
"""Records of one partition in one fetched batch (and about 4 MB, see `Log.read`)."""
FETCH_BYTES_MAX: Final = 8_000_000
"""A batch takes in no further partition beyond this."""


class _Cluster:
    """What the assignor asks of a cluster."""

    def __init__(self, log: SqliteLog) -> None:
        self._log = log

    def partitions_for_topic(self, topic: str) -> set[int]:
        """Return the partitions of a topic."""
        return set(range(self._log.partitions(topic)))


class Consumer(Positions, BaseConsumer):  # type: ignore[misc]  # Faust is untyped here
    """Reads the assigned partitions in order and delivers them to Faust."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin without an assignment; Faust passes the arguments."""
        super().__init__(*args, **kwargs)
        self._log: SqliteLog = self.app.message_log
        self._share: tuple[int, int] = getattr(self.app, "share", (0, 1))
        self._rebalancing = asyncio.Lock()
        self._woken = asyncio.Event()
        self._receiver = self._log.receiver()
        self._first_of_fetch = 0
        self._heard = Heard()

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
            self._heard = Heard()
            await self.on_partitions_assigned(
                set(self._assigned), app.consumer_generation_id
            )

    def age_ms(self, tp: TP, next_offset: int) -> int | None:
        """See Positions; a file is asked when somebody wants to know."""
        asked_ms = monotonic_ms()
        self._heard.note(tp, asked_ms, self.highwater(tp))
        return self._heard.age_ms(tp, next_offset)

    def _begin_fetch(self) -> None:
        """See Positions."""
        self._woken.clear()

    async def _idle(self) -> None:
        """Sleep until somebody appends, or a poll is due."""
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._woken.wait()
        except TimeoutError:
            return

    async def _fetch(self, active: set[TP]) -> dict[TP, list[Record]]:
        """Read the next records of the partitions, beginning with another each time."""
        tps = sorted(tp for tp in active if tp in self._assigned)
        batch: dict[TP, list[Record]] = {}
        room = FETCH_BYTES_MAX
        self._first_of_fetch += 1
        for place in range(len(tps)):
            tp = tps[(place + self._first_of_fetch) % len(tps)]
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
        return await self._fetch(active_partitions or self._assigned)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        by_place = {(tp.topic, tp.partition): at for tp, at in offsets.items()}
        await asyncio.get_running_loop().run_in_executor(
            None, self._log.commit, self._group, by_place
        )
        return True

    def highwater(self, tp: TP) -> int:
        """Return the offset that the next record will get."""
        return self._log.end_offset(tp.topic, tp.partition)

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the offsets that the next records will get."""
        return {tp: self.highwater(tp) for tp in partitions}

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the oldest offsets kept."""
        return {tp: self._log.first_offset(tp.topic, tp.partition) for tp in partitions}

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)


class Transport(base.Transport):  # type: ignore[misc]  # Faust is untyped here
    """The embedded log as Faust's broker."""

    Consumer: ClassVar[type] = Consumer
    Producer: ClassVar[type] = Producer
    default_port = 0
    driver_version = "sqlite"
