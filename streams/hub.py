"""The hub: which machine folds which partition, from assignment to revocation.

`assign` opens the rows and checks them against the log before the stream reads a
single record; `revoke` ends a machine, waits for its end and closes its rows. A later
assignment of the same partition is a new machine.
"""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

import msgspec

from streams.faults import Faults
from streams.log import Log, Record
from streams.machine import Delivery, Machine
from streams.messages import decode_record
from streams.skips import skipped_offsets
from streams.stepper import Stepper, WrongLog, record_hash
from streams.topics import ORGS, USERS
from tables.store import Store

THREADS_MAX: Final = 8
"""Threads that wait for the log and the store, over all partitions."""


class GroupLog(Log, Protocol):
    """A log that keeps a group's committed offsets."""

    def committed(self, group: str, topic: str, partition: int) -> int | None:
        """Return the next offset the group has to process, or None."""


class HubConfig(msgspec.Struct, frozen=True):
    """What a hub is told at the start.

    Attributes:
      group: Consumer group whose committed offsets count.
      tzdata_version: Time-zone data that this program carries.
      fault: Armed fault point, for tests.
    """

    group: str
    tzdata_version: str
    fault: tuple[str, int] | None = None


class Hub:
    """Holds the machines of this worker."""

    def __init__(
        self,
        config: HubConfig,
        log: GroupLog,
        open_store: Callable[[str, int], Store],
        wall_ms: Callable[[], int],
    ) -> None:
        """Hold nothing yet.

        Args:
          config: See HubConfig.
          log: The log.
          open_store: Opens the rows of (topic, partition) for writing.
          wall_ms: The wall clock, ms since the epoch.
        """
        self._config = config
        self._log = log
        self._open_store = open_store
        self._wall_ms = wall_ms
        self._faults = Faults(config.fault)
        self._executor = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="step")
        self._machines: dict[tuple[str, int], Machine] = {}
        self._tasks: dict[tuple[str, int], asyncio.Task[None]] = {}
        self.on_fatal: Callable[[BaseException], None] | None = None

    async def assign(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Start a machine for each newly assigned partition of `users` and `orgs`.

        Raises:
          WrongLog: The rows do not belong to this log.
          TableError: The rows cannot be opened.
        """
        for topic, partition in sorted(partitions):
            if topic not in (USERS, ORGS) or (topic, partition) in self._machines:
                continue
            machine = self._open(topic, partition)
            self._machines[topic, partition] = machine
            task = asyncio.create_task(machine.run(), name=f"{topic}/{partition}")
            task.add_done_callback(self._ended)
            self._tasks[topic, partition] = task

    async def revoke(self, partitions: Iterable[tuple[str, int]]) -> None:
        """End the machines of partitions, wait for their end, close their rows."""
        for place in list(partitions):
            task = self._tasks.pop(place, None)
            machine = self._machines.pop(place, None)
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
            if machine is not None:
                machine.close()

    async def stop(self) -> None:
        """End every machine."""
        await self.revoke(list(self._machines))
        self._executor.shutdown(wait=True)

    def next_offset(self, topic: str, partition: int) -> int | None:
        """Return where to read on, or None where no machine has the partition."""
        machine = self._machines.get((topic, partition))
        return None if machine is None else machine.next_offset

    async def offer(self, event: Any) -> None:
        """Hand a Faust event to its machine; waits while that has enough to do.

        An event of a partition that is no longer assigned is dropped: it is not
        acknowledged, its next owner reads it again.
        """
        message = event.message
        machine = self._machines.get((message.topic, message.partition))
        if machine is None:
            return
        record = Record(
            message.offset,
            round(message.timestamp * 1_000),
            message.key,
            message.value or b"",
        )
        await machine.offer(Delivery(record, event.ack))

    def _open(self, topic: str, partition: int) -> Machine:
        store = self._open_store(topic, partition)
        try:
            stepper = Stepper(
                store, topic, partition, self._config.tzdata_version, self._wall_ms
            )
            committed = self._log.committed(self._config.group, topic, partition)
            self._check(stepper, topic, partition, committed)
            stepper.skipped = skipped_offsets(self._log, topic, partition)
        except BaseException:
            store.close()
            raise
        return Machine(
            stepper=stepper,
            store=store,
            log=self._log,
            topic=topic,
            partition=partition,
            committed=committed or 0,
            faults=self._faults,
            executor=self._executor,
            wall_ms=self._wall_ms,
        )

    def _check(
        self, stepper: Stepper, topic: str, partition: int, committed: int | None
    ) -> None:
        """Refuse rows of another log, and rows folded from more log than is left."""
        name = f"{topic}/{partition}"
        row = stepper.row
        if row is None:
            if committed is None:
                raise WrongLog(
                    f"{name} has no rows and no committed offset: run `plaudit init`"
                )
            return
        end = self._log.end_offset(topic, partition)
        if row.offset >= end:
            raise WrongLog(
                f"{name} is folded up to offset {row.offset}, its log ends at {end}: "
                "the log lost its tail. Restore it, or run `plaudit rebuild`"
            )
        (applied,) = self._log.read(topic, partition, row.offset, records_max=1)
        if record_hash(applied.value) != row.record_hash:
            raise WrongLog(
                f"{name}@{row.offset} is not the record that was folded: the tables "
                "belong to another log. Restore theirs, or run `plaudit rebuild`"
            )
        genesis = self._log.read(topic, partition, 0, records_max=1)
        if genesis:
            (first, *_rest) = decode_record(genesis[0].key, genesis[0].value)
            if getattr(first, "log_id", None) != row.log_id:
                raise WrongLog(f"{name}: the tables belong to another log")

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """Pass on why a machine stopped by itself: the worker stops, too."""
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and self.on_fatal is not None:
            self.on_fatal(error)
