"""The hub: which machine folds which partition, from assignment to revocation.

`assign` opens the rows and checks them against the log before the stream reads a
single record; `revoke` ends a machine, waits for its end and closes its rows. A later
assignment of the same partition is a new machine.
"""

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from streams.checks import check_kept, check_log, check_row
from streams.faults import Faults
from streams.log import GroupLog, Record
from streams.machine import Delivery, Machine
from streams.mirroring import Mirroring
from streams.restorer import GivenUp, Restore, Restorer
from streams.silent import SilentFold
from streams.skips import skipped_offsets
from streams.snapshotter import Snapshotter
from streams.stepper import Stepper
from streams.topics import ORGS, USERS
from tables.errors import TableError
from tables.store import Store

if TYPE_CHECKING:
    from tables.redis_mirrors import RedisMirrors

THREADS_MAX: Final = 8
"""Threads that wait for the log and the store, over all partitions."""

BEHIND_RECORDS_MAX: Final = 10_000
"""Records behind the committed offset up to which rows are folded on: some seconds.
Further behind, a snapshot that is nearer takes their place."""


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


class _Rows(NamedTuple):
    """The rows of a partition, opened: who folds them, who mirrors them."""

    store: Store
    stepper: Stepper
    mirroring: Mirroring | None


def _already_in_force(_topic: str, _partition: int) -> None:
    """Do nothing: readers see the rows from the beginning."""


def _always_current(_topic: str, _partition: int, _next_offset: int) -> int:
    """Return 0: rows lack nothing of the log."""
    return 0


class Hub:
    """Holds the machines of this worker.

    Attributes:
      on_fatal: Told why a machine stopped by itself.
      put_in_force: Lets readers see the rows of (topic, partition); called when they
        hold all that the log held at the assignment. Idempotent.
      age_ms: Returns how long ago rows of (topic, partition) were all that the log
        held, given their next offset; None: not since the assignment.
      restorer: Puts snapshots in the place of rows; None: there are none.
      snapshotter: Takes snapshots; None: nobody does.
    """

    def __init__(
        self,
        config: HubConfig,
        log: GroupLog,
        open_store: Callable[[str, int], Store],
        wall_ms: Callable[[], int],
        mirrors: "RedisMirrors | None" = None,
    ) -> None:
        """Hold nothing yet.

        Args:
          config: See HubConfig.
          log: The log.
          open_store: Opens the rows of (topic, partition) for writing.
          wall_ms: The wall clock, ms since the epoch.
          mirrors: Makes the mirror of a partition; None: readers need none.
        """
        self._config = config
        self._log = log
        self._open_store = open_store
        self._wall_ms = wall_ms
        self._mirrors = mirrors
        self._faults = Faults(config.fault)
        self._executor = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="step")
        self._machines: dict[tuple[str, int], Machine] = {}
        self._tasks: dict[tuple[str, int], asyncio.Task[None]] = {}
        self.on_fatal: Callable[[BaseException], None] | None = None
        self.put_in_force: Callable[[str, int], None] = _already_in_force
        self.age_ms: Callable[[str, int, int], int | None] = _always_current
        self.restorer: Restorer | None = None
        self.snapshotter: Snapshotter | None = None

    async def assign(self, partitions: Iterable[tuple[str, int]]) -> None:
        """Start a machine for each newly assigned partition of `users` and `orgs`.

        Raises:
          WrongLog: The rows do not belong to this log.
          TableError: The rows cannot be opened.
        """
        new = [
            place
            for place in sorted(partitions)
            if place[0] in (USERS, ORGS) and place not in self._machines
        ]
        # As of now: of many partitions some wait for a thread, and must not restore
        # when they have been given away meanwhile.
        restore = None if self.restorer is None else self.restorer.as_of_now()
        # Each asks the log a few things, and what is restored comes over the network;
        # the loop goes on meanwhile.
        opening = [
            asyncio.get_running_loop().run_in_executor(
                self._executor, self._open, *place, restore
            )
            for place in new
        ]
        # All of them, also where one fails: what is open must be closed again.
        opened = await asyncio.gather(*opening, return_exceptions=True)
        for place, machine in zip(new, opened, strict=True):
            if isinstance(machine, Machine):
                self._machines[place] = machine
        errors = [one for one in opened if isinstance(one, BaseException)]
        for error in errors:
            if not isinstance(error, GivenUp):
                raise error
        if errors:
            await self.revoke(new)
            return
        for place in new:
            task = asyncio.create_task(
                self._machines[place].run(), name=f"{place[0]}/{place[1]}"
            )
            task.add_done_callback(self._ended)
            self._tasks[place] = task

    async def revoke(self, partitions: Iterable[tuple[str, int]]) -> None:
        """End the machines of partitions, wait for their end, close their rows.

        Raises:
          TableError: Some rows do not close; all the others are closed all the same.
        """
        errors: list[TableError] = []
        for place in list(partitions):
            task = self._tasks.pop(place, None)
            machine = self._machines.pop(place, None)
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
            if machine is not None:
                try:
                    machine.close()
                except TableError as error:
                    errors.append(error)
        if errors:
            raise errors[0]

    def interrupt(self) -> None:
        """Let no snapshot that is restored hold up that partitions are given away."""
        if self.restorer is not None:
            self.restorer.interrupt()

    def give_up(self) -> None:
        """Let no snapshot, taken or restored, hold up the end that is coming."""
        for work in (self.restorer, self.snapshotter):
            if work is not None:
                work.give_up()

    async def stop(self) -> None:
        """End every machine.

        Raises:
          TableError: As `revoke`.
        """
        try:
            await self.revoke(list(self._machines))
        finally:
            if self.snapshotter is not None:
                closing = self.snapshotter.close
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._executor, closing)
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

    def _open_rows(self, topic: str, partition: int) -> _Rows:
        """Open the rows that there are, and check that they are of this log."""
        store = self._open_store(topic, partition)
        mirroring: Mirroring | None = None
        try:
            if self._mirrors is not None:
                log_end = partial(self._log.end_offset, topic, partition)
                store, mirror = self._mirrors.of(
                    topic,
                    partition,
                    store,
                    log_end,
                    lambda next_offset: self.age_ms(topic, partition, next_offset),
                )
                mirroring = Mirroring(mirror, f"{topic}/{partition}")
            stepper = Stepper(
                store, topic, partition, self._config.tzdata_version, self._wall_ms
            )
            if stepper.row is not None:
                check_row(self._log, topic, partition, stepper.row)
        except BaseException:
            store.close()
            raise
        return _Rows(store, stepper, mirroring)

    def _open(self, topic: str, partition: int, restore: Restore | None) -> Machine:
        committed = check_log(self._log, self._config.group, topic, partition)
        store, stepper, mirroring = self._open_rows(topic, partition)
        applied = stepper.next_offset - 1
        first = self._log.first_offset(topic, partition)
        usable = applied >= max(first, 0)
        near = committed - (applied + 1) <= BEHIND_RECORDS_MAX
        if restore is not None and not (usable and near):
            above = max(applied, first - 1)
            restore(topic, partition, above, needed=not usable)
            store, stepper, mirroring = self._open_rows(topic, partition)
        try:
            check_kept(self._log, topic, partition, stepper.next_offset - 1)
            stepper.skipped = skipped_offsets(self._log, topic, partition)
            put_in_force = partial(self.put_in_force, topic, partition)
            # Not only up to the committed offset: that lags behind what was readable.
            readable_from = self._log.end_offset(topic, partition)
            if stepper.next_offset >= readable_from:
                put_in_force()
        except BaseException:
            store.close()
            raise
        return Machine(
            stepper=stepper,
            store=store,
            log=self._log,
            topic=topic,
            partition=partition,
            silent=SilentFold(self._log, topic, partition, committed),
            faults=self._faults,
            executor=self._executor,
            wall_ms=self._wall_ms,
            caught_up=put_in_force,
            readable_from=readable_from,
            snapshotter=self.snapshotter,
            mirroring=mirroring,
        )

    def _ended(self, task: "asyncio.Task[None]") -> None:
        """Pass on why a machine stopped by itself: the worker stops, too."""
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and self.on_fatal is not None:
            self.on_fatal(error)
