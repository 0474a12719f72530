"""The machine: one assignment of one partition, one step in flight.

    take the run of records already read -> fold -> publish, each phase acked
    -> store in one batch -> mirror, if there is one -> ack to Faust

A crash between any two of these repeats the step: the state is either before it (folded
again to the same outputs with the same ids) or after it (the outputs were acked
before). Below the group's committed offset the fold is silent: its outputs are in the
log already, so it neither publishes nor acks (docs/architecture.md).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar

from rules.errors import PlauditError
from streams.faults import AMID_EPOCH, Faults
from streams.log import Log, Record
from streams.mirroring import Mirroring
from streams.publish import publications, rounds
from streams.silent import SilentFold
from streams.skips import skipped_offsets, with_skips
from streams.snapshotter import SnapshotStatus, Snapshotter
from streams.stepper import Parked, Step, Stepper
from tables import codec, keys
from tables.store import Store

T = TypeVar("T")
logger = logging.getLogger("plaudit")

INBOX_RECORDS_MAX: Final = 1_000
INBOX_BYTES_MAX: Final = 8_000_000
"""Read ahead of the fold, per partition; a single larger record is let in alone."""
HEARTBEAT_S: Final = 0.5
"""How often the owner rewrites its heartbeat row; readers rely on it."""


class StartAgain(PlauditError):
    """The worker starts again and goes on; the supervisor sees to it.

    What a partition stood parked for is over (skipped, or a clock set right), or its
    tables are gone and are to be made again. Nothing to do.
    """


class Delivery(NamedTuple):
    """A record as the stream delivered it, with the call that acknowledges it."""

    record: Record
    ack: Callable[[], Any]


class Machine:
    """Folds one partition for as long as it is assigned."""

    def __init__(  # noqa: PLR0913 - the partition's whole world, wired in one place
        self,
        *,
        stepper: Stepper,
        store: Store,
        log: Log,
        topic: str,
        partition: int,
        silent: SilentFold,
        faults: Faults,
        executor: Executor,
        wall_ms: Callable[[], int],
        caught_up: Callable[[], None] | None = None,
        readable_from: int = 0,
        snapshotter: Snapshotter | None = None,
        mirroring: Mirroring | None = None,
    ) -> None:
        """Bind an assignment; `run` does the work.

        Args:
          stepper: Owns the rows.
          store: The same rows, for the heartbeat; closed by `close`.
          log: Takes what steps publish.
          topic: ``users`` or ``orgs``.
          partition: Its number.
          silent: What of the partition is folded silently.
          faults: Named fault points.
          executor: Threads for the log's and the store's waits.
          wall_ms: Wall clock for the heartbeat.
          caught_up: Called once, when the rows have reached `readable_from`, or a
            partition parks before it.
          readable_from: Offset that the rows must reach before readers may see them.
          snapshotter: Takes snapshots of the rows; None: nobody does.
          mirroring: Keeps the rows' mirror; None: there is none.
        """
        self.topic = topic
        self.partition = partition
        self._stepper = stepper
        self._store = store
        self._log = log
        self._silent = silent
        self._faults = faults
        self._executor = executor
        self._wall_ms = wall_ms
        self._caught_up = caught_up
        self._readable_from = readable_from
        self._snapshotter = snapshotter
        self._mirroring = mirroring
        self._inbox: deque[Delivery] = deque()
        self._inbox_bytes = 0
        self._changed = asyncio.Condition()
        self._parked: Parked | None = None
        self._ended = False
        self._beat = 0
        self._beat_at_ms = 0

    @property
    def next_offset(self) -> int:
        """The offset to read on from: applied + 1."""
        return self._stepper.next_offset

    async def offer(self, delivery: Delivery) -> None:
        """Hand over the next record; waits while too much is read ahead.

        A partition that is parked, or no longer assigned, takes nothing: its records
        stay unacknowledged in the log.
        """
        async with self._changed:
            await self._changed.wait_for(self._has_room)
            if self._parked is None and not self._ended:
                self._inbox.append(delivery)
                self._inbox_bytes += len(delivery.record.value)
                self._changed.notify_all()

    async def run(self) -> None:
        """Fold until cancelled.

        Raises:
          StartAgain: A parked partition may go on after a restart.
          PlauditError: A local fault; the worker stops.
        """
        try:
            while True:
                if await self._wait_for_records():
                    try:
                        await self._step()
                    except Parked as fault:
                        await self._park(fault)
                await self._snapshot()
                self._heartbeat()
                await self._mirror()
                if self._parked is not None:
                    await self._uninterrupted(partial(self._look_again, self._parked))
        finally:
            async with self._changed:
                self._ended = True
                self._changed.notify_all()

    def close(self) -> None:
        """Close the rows; the assignment is over."""
        self._store.close()

    def _has_room(self) -> bool:
        return (
            self._ended
            or self._parked is not None
            or not self._inbox
            or (
                len(self._inbox) < INBOX_RECORDS_MAX
                and self._inbox_bytes < INBOX_BYTES_MAX
            )
        )

    async def _wait_for_records(self) -> bool:
        """Return whether there are records; False when a heartbeat is due instead."""
        copying = self._mirroring is not None and self._mirroring.copying
        async with self._changed:
            try:
                async with asyncio.timeout(0 if copying else HEARTBEAT_S):
                    await self._changed.wait_for(lambda: bool(self._inbox))
            except TimeoutError:
                return False
            return True

    async def _step(self) -> None:
        """Do one step, start to end."""
        records = [delivery.record for delivery in self._inbox]
        first = self._stepper.next_offset
        if self._stepper.skipped:
            records = with_skips(records, first, self._stepper.skipped)
        silent = self._silent.covers(first)
        if silent:
            take = partial(self._silent.take, first, records)
            records = list(await self._uninterrupted(take))
        faults = self._faults
        faults.reach("before_fold")
        step = self._stepper.step(records)
        faults.reach("after_fold")
        if not silent:
            await self._publish(step)
        else:
            self._silent.check(first, step)
        # In no thread: RocksDB's binding keeps the interpreter's lock while it writes.
        self._stepper.store(step)
        faults.reach("after_write")
        if not self._is_behind():
            await self._let_read()
        await self._mirror()
        faults.reach("after_mirror")
        await self._release(step.row.offset, acked=not silent)
        faults.reach("after_ack")

    async def _publish(self, step: Step) -> None:
        for point, records in publications(step):
            for appends in rounds(records):
                await self._uninterrupted(
                    lambda batch=appends: self._log.append_many(batch)  # type: ignore[misc]
                )
            self._faults.reach(point)

    async def _mirror(self) -> None:
        """Mirror what was stored, if there is a mirror; waits for it."""
        if self._mirroring is not None:
            readable = not self._is_behind() or self._caught_up is None
            await self._mirroring.follow(self._uninterrupted, readable=readable)
            if self._mirroring.copying:
                self._faults.reach(AMID_EPOCH)

    def _is_behind(self) -> bool:
        """Return whether the rows lack what the log held at the assignment."""
        return self._stepper.next_offset < self._readable_from

    async def _release(self, applied: int, *, acked: bool) -> None:
        async with self._changed:
            while self._inbox and self._inbox[0].record.offset <= applied:
                delivery = self._inbox.popleft()
                self._inbox_bytes -= len(delivery.record.value)
                if acked:
                    delivery.ack()
            self._changed.notify_all()

    async def _let_read(self) -> None:
        """Let readers see the rows, if they do not yet."""
        if self._caught_up is not None:
            await self._uninterrupted(self._caught_up)
            self._caught_up = None

    async def _park(self, fault: Parked) -> None:
        place = f"{self.topic}/{self.partition}"
        if fault.skippable:
            when = "If that cannot be mended"
            if fault.retry_at_ms is not None:
                # A clock that is slow finds the next record early, too.
                when = "Only if the stamp's time will never come"
            fault = Parked(
                fault.offset,
                f"{fault}. {when}, `plaudit skip {place}@{fault.offset}` goes on "
                "without the record",
                retry_at_ms=fault.retry_at_ms,
            )
        logger.error("%s is parked at offset %d: %s", place, fault.offset, fault)
        if self._stepper.next_offset >= self._silent.committed:
            # They go no further, and nobody has seen more of them.
            await self._let_read()
        async with self._changed:
            self._parked = fault
            self._inbox.clear()
            self._inbox_bytes = 0
            self._changed.notify_all()
        self._beat_at_ms = 0

    def _look_again(self, parked: Parked) -> None:
        """Start again if what the partition stands parked for is over."""
        place = f"{self.topic}/{self.partition}@{parked.offset}"
        if parked.retry_at_ms is not None and self._wall_ms() >= parked.retry_at_ms:
            raise StartAgain(f"{place}: the clock has reached the record's stamp")
        # One that was skipped before and parks all the same would start for ever.
        if parked.offset not in self._stepper.skipped and parked.offset in (
            skipped_offsets(self._log, self.topic, self.partition)
        ):
            raise StartAgain(f"{place} is skipped")

    async def _snapshot(self) -> None:
        """Let a snapshot of the rows be taken, if one is due.

        A fold that does not publish takes none: its rows might come to stand past what
        was committed.
        """
        snapshotter, row = self._snapshotter, self._stepper.row
        if snapshotter is None or row is None:
            return
        if row.offset + 1 < self._silent.committed:
            return
        place = self.topic, self.partition
        if snapshotter.is_due(place, row.offset):
            await self._uninterrupted(partial(snapshotter.take, place, row))
            # A checkpoint flushes; readers see on with the next write.
            self._beat_at_ms = 0

    def _heartbeat(self) -> None:
        """Rewrite the heartbeat row, if it is due."""
        now_ms = self._wall_ms()
        if abs(now_ms - self._beat_at_ms) < HEARTBEAT_S * 1_000:
            return
        if not self._store.is_there():
            raise StartAgain(
                f"the tables of {self.topic}/{self.partition} are gone from the disk; "
                "a new start makes them again, or says what is left of them"
            )
        self._beat += 1
        self._beat_at_ms = now_ms
        parked = self._parked
        snapshot = SnapshotStatus()
        if self._snapshotter is not None:
            snapshot = self._snapshotter.status((self.topic, self.partition))
        beat = codec.Heartbeat(
            self._beat,
            now_ms,
            None if parked is None else parked.offset,
            None if parked is None else str(parked),
            *snapshot,
            self._store.manifest(),
        )
        batch = self._store.batch()
        batch.put(keys.HEARTBEAT, codec.heartbeats.encode(beat))
        self._store.write(batch)

    async def _uninterrupted(self, work: Callable[[], T]) -> T:
        """Run a blocking call in a thread; a cancellation waits for its end.

        The rows must not be closed, nor the log left, under a call in flight.
        """
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._executor, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            # Looked at, or asyncio tells everybody that nobody did.
            future.exception()
            raise
