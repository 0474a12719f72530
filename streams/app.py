"""The Faust app: topics, agents, and who says when about partitions.

On an assignment, in this order (all but the second is Faust's own doing):
 1. delivery is stopped, queues are cleared, `on_partitions_revoked` is sent: the hub
    ends its machines and waits for them, then their rows are closed;
 2. `on_rebalance_complete` is sent: the hub begins machines for the assignment;
 3. positions are set: each partition is read from where its machine stands;
 4. delivery begins.
"""

import asyncio
import logging
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import faust
import msgspec
from faust.tables.manager import TableManager as FaustTableManager
from faust.types import TP
from mode import CrashingSupervisor

from rules.errors import PlauditError, one_line
from streams.agents import Hub, add_agents
from streams.kafka_config import KafkaConfig, calm
from streams.log import GroupLog
from streams.topics import GROUP, ORGS, USERS
from tables.store import Store

if TYPE_CHECKING:
    from streams.transports.homes import Home

STREAM_BUFFER_RECORDS: Final = 128
"""Records between the transport and an agent; each is below 1 MB."""
STOP_TIMEOUT_S: Final = 30.0
ALIVE_EVERY_S: Final = 5.0
"""How often a worker's process touches its file, to show that its loop runs."""

OpenStore: TypeAlias = Callable[[str, int], Store]


class WorkerConfig(msgspec.Struct, frozen=True):
    """What the worker is told at the start.

    Attributes:
      data_dir: The data folder.
      commit_interval_s: How often the group's offsets are committed.
      share: (index, count): on the embedded log this process folds the partitions
        whose number modulo `count` is `index`; on Kafka the group decides.
      kafka: The cluster; None: the log is embedded.
      name: On Kafka, this process's name in the group; the same after a restart.
    """

    data_dir: Path
    commit_interval_s: float = 1.0
    share: tuple[int, int] = (0, 1)
    kafka: KafkaConfig | None = None
    name: str = ""

    @property
    def alive(self) -> Path:
        """The file that this process touches as long as its loop runs."""
        return self.data_dir / f"worker-{self.share[0]}.alive"


class TableManager(FaustTableManager):  # type: ignore[misc]  # Faust is untyped here
    """Faust's, without its second of waiting for tables: none is handed to it."""

    async def on_start(self) -> None:
        """Go on at once."""
        await self._update_channels()
        await self.recovery.start()


class App(faust.App):  # type: ignore[misc]  # Faust is untyped here
    """The Faust app with the log it runs on, the hub and the tables."""

    message_log: GroupLog
    share: tuple[int, int]
    hub: Hub
    stores: dict[str, Any]
    crash_reason: BaseException | None

    def bind(self, log: GroupLog, config: WorkerConfig) -> None:
        """Give the app its log and its tables, before it starts."""
        self.message_log = log
        self.share = config.share
        self._config = config
        url = f"plaudit-rocksdb://{config.data_dir.absolute()}"
        # Not app.Table: that would hand them to the table manager, for a changelog.
        self.stores = {
            topic: faust.Table(self, name=topic, store=url).data
            for topic in (USERS, ORGS)
        }
        self._turn = asyncio.Lock()
        self._held: set[TP] = set()
        self.on_partitions_revoked.connect(self._revoke)
        self.on_rebalance_complete.connect(self._assign)

    def open_store(self, topic: str, partition: int) -> Store:
        """Return the rows of an assigned partition."""
        rows: Store = self.stores[topic].store_for(partition)
        return rows

    def put_in_force(self, topic: str, partition: int) -> None:
        """Let readers see the rows of an assigned partition."""
        self.stores[topic].put_in_force(partition)

    def close_rows(self, topic: str, partition: int) -> Path:
        """Close the rows of a partition; return the folder of all its epochs."""
        folder: Path = self.stores[topic].close_rows(partition)
        return folder

    def checkpoint(self, topic: str, partition: int) -> Path:
        """Return a folder with the rows of an assigned partition as they are now."""
        folder: Path = self.stores[topic].checkpoint(partition)
        return folder

    def machine_positions(self, tp: TP) -> int | None:
        """Return where a partition is to be read from; None: the committed offset."""
        return self.hub.next_offset(tp.topic, tp.partition)

    def age_ms(self, topic: str, partition: int, next_offset: int) -> int | None:
        """Return how long ago rows up to `next_offset` were all that the log held."""
        age_ms: int | None = self.consumer.age_ms(TP(topic, partition), next_offset)
        return age_ms

    def home(self) -> "Home":
        """Return what this process tells the group: whose rows its folder holds."""
        state = self._config.data_dir / "state"
        found = (path.name.rpartition("-") for path in state.glob("*-*"))
        holds = {f"{topic}/{partition}" for topic, _dash, partition in found}
        from streams.transports.homes import Home  # noqa: PLC0415 - as below

        return Home(self._config.name, frozenset(holds))

    async def _revoke(self, _app: Any, revoked: set[TP], **_: Any) -> None:
        await self.let_go(revoked)

    async def let_go(self, revoked: set[TP]) -> None:
        """End the machines of partitions and close their rows; idempotent.

        Rows that do not close stop the worker.
        """
        # A restore of minutes must not make the group wait, and expel this member.
        self.hub.interrupt()
        async with self._turn:
            self._held -= revoked
            try:
                await self.hub.revoke({(tp.topic, tp.partition) for tp in revoked})
            except PlauditError as error:
                # Who calls is a library: it would print the error and go on.
                self.fail(error)
            for store in self.stores.values():
                await store.on_rebalance(set(), revoked, set())

    async def _assign(self, _app: Any, **_: Any) -> None:
        async with self._turn:
            self._held = self.consumer.held()
            await self.hub.assign({(tp.topic, tp.partition) for tp in self._held})

    async def on_first_start(self) -> None:
        """Make no folders: Faust keeps nothing of its own here."""

    async def on_stop(self) -> None:
        """Stop reading, then the machines, so that their last acks are committed."""
        self.hub.give_up()
        await super().on_stop()
        await self.let_go(set(self._held))
        await self.hub.stop()

    async def tell_alive(self) -> None:
        """Touch this process's file for ever: who looks sees that the loop runs."""
        while True:
            self._config.alive.touch()
            await asyncio.sleep(ALIVE_EVERY_S)

    def fail(self, error: BaseException) -> None:
        """Stop the worker because of an error; of several, the first says why."""
        if self.crash_reason is None:
            # At once: what it brings down with it fails in its turn, maybe before.
            self.crash_reason = error
            self.add_future(self.crash(error))

    def _crash(self, reason: BaseException) -> None:
        """Keep the first reason: agents that are cancelled in the end crash, too."""
        super()._crash(self.crash_reason or reason)


def build_app(
    config: WorkerConfig, log: GroupLog, hub_of: Callable[[OpenStore], Hub]
) -> App:
    """Return the app, ready for `run_worker`.

    Args:
      config: See WorkerConfig.
      log: The log it runs on; the caller closes it.
      hub_of: Makes the hub, given what opens the rows of (topic, partition).
    """
    app = App(
        GROUP,
        **_broker(config),
        autodiscover=False,
        processing_guarantee="at_least_once",
        agent_supervisor=CrashingSupervisor,
        TableManager=TableManager,
        broker_commit_interval=config.commit_interval_s,
        stream_buffer_maxsize=STREAM_BUFFER_RECORDS,
        # Parked records are never acked: waiting for them would be for ever.
        stream_wait_empty=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        reply_create_topic=False,
        table_standby_replicas=0,
        web_enabled=False,
    )
    app.bind(log, config)
    app.hub = hub_of(app.open_store)
    add_agents(app, app.hub)
    return app


def _broker(config: WorkerConfig) -> dict[str, Any]:
    """Return the app's settings that name the log."""
    if config.kafka is None:
        return {"broker": f"sqlite://{config.data_dir.absolute()}"}
    # An embedded log needs no client of Kafka.
    from streams.transports.kafka import faust_options  # noqa: PLC0415

    return faust_options(config.kafka)


class _Worker(faust.Worker):  # type: ignore[misc]  # Faust is untyped here
    """Faust's worker inside a loop that is ours, as are signals and logging."""

    def install_signal_handlers(self) -> None:
        """Leave signals to `run_worker`."""

    def _setproctitle(self, *_: Any, **__: Any) -> None:
        """Leave the process's title alone."""


def run_worker(app: App) -> int:
    """Run the app until SIGINT or SIGTERM, or until it fails.

    Returns:
      The exit code: 0 stopped by a signal, 1 failed; then stderr says why.
    """
    # Faust logs a failure once per service that it passes through.
    for name in ("faust", "mode", "streams.transports", __name__):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    # That a group rebalances is no news; that a broker is away is, once.
    logging.getLogger("aiokafka").setLevel(logging.ERROR)
    calm("aiokafka")
    error = asyncio.run(_serve(app))
    if error is None:
        return 0
    if not isinstance(error, PlauditError):
        traceback.print_exception(error, file=sys.stderr)
    sys.stderr.write(f"{last_line(error)}\n")
    return 1


def last_line(error: BaseException) -> str:
    """Return what a worker says when it ends because of an error."""
    return one_line(f"plaudit worker: {type(error).__name__}: {error}")


async def _serve(app: App) -> BaseException | None:
    """Run the worker; return what it failed of, or None."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    worker = _Worker(
        app, loop=loop, override_logging=False, redirect_stdouts=False, quiet=True
    )
    worker.spinner = None
    running = asyncio.create_task(worker.start())
    stopping = asyncio.create_task(stop.wait())
    alive = asyncio.create_task(app.tell_alive())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    alive.cancel()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await worker.stop()
            await asyncio.wait({running})
    except TimeoutError as error:
        # Why it stops says more than that it takes long.
        return app.crash_reason or error
    # What it failed of while it started is no crash to Faust.
    failed = None if running.cancelled() else running.exception()
    crash: BaseException | None = app.crash_reason or worker.crash_reason or failed
    return crash
