"""Faust transport over Kafka brokers, for ``plaudit-kafka://host:port`` broker URLs.

Faust's aiokafka driver with our way of delivering (streams/transports/positions.py) and
of assigning (streams/transports/homes.py). What is ours besides, and why:
- a partition is given away only when its machine has ended, its rows are closed and
  what it did is committed;
- the consumer is sent back wherever it stands elsewhere than the machines do, so what
  was cut off half-way is read again;
- a commit is given up after a while;
- what Faust itself sends goes through the log (streams/transports/producer.py).
"""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final, NoReturn

import aiokafka
from aiokafka.errors import (
    IllegalStateError,
    KafkaConnectionError,
    OffsetOutOfRangeError,
)
from faust.auth import SASLCredentials, SSLCredentials
from faust.transport import base
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode import Service

from streams.checks import out_of_range
from streams.kafka_config import KafkaConfig
from streams.log import LogUnavailable
from streams.topics import RECORD_BYTES_MAX
from streams.transports.heard import Heard
from streams.transports.homes import HomeAssignor
from streams.transports.positions import Positions
from streams.transports.producer import Producer

SESSION_TIMEOUT_S: Final = 10.0
"""A worker that was not heard for so long is lost: others take its partitions. With a
heartbeat to tell them and the joining it is below 15 seconds."""
HEARTBEAT_S: Final = 1.0
REBALANCE_TIMEOUT_S: Final = 40.0
"""How long a worker may take to end its machines; an append may take 30."""
REQUEST_TIMEOUT_S: Final = 50.0
COMMIT_TIMEOUT_S: Final = 60.0
"""How long a commit may take; one whose request got lost is sent once more."""
POLL_INTERVAL_MAX_S: Final = 86_400.0
"""Delivery may wait long for a machine that has enough to do: no reason to leave."""
FETCH_RECORDS_MAX: Final = 500
FETCH_PARTITION_BYTES: Final = 2 * RECORD_BYTES_MAX
FETCH_WAIT_MS: Final = 200
"""How long a broker holds back an answer that is empty, and so a seek."""
FETCH_TIMEOUT_S: Final = 0.2
METADATA_MAX_AGE_MS: Final = 30_000


def faust_options(config: KafkaConfig) -> dict[str, Any]:
    """Return the settings of a Faust app on a cluster."""
    return {
        "broker": [f"plaudit-kafka://{one}" for one in config.brokers.split(",")],
        "broker_credentials": _credentials(config),
        "broker_session_timeout": SESSION_TIMEOUT_S,
        "broker_heartbeat_interval": HEARTBEAT_S,
        "broker_rebalance_timeout": REBALANCE_TIMEOUT_S,
        "broker_request_timeout": REQUEST_TIMEOUT_S,
        "broker_max_poll_interval": POLL_INTERVAL_MAX_S,
        "broker_max_poll_records": FETCH_RECORDS_MAX,
        "broker_client_id": "plaudit-worker",
    }


def _credentials(config: KafkaConfig) -> Any:
    context = None
    if config.has_tls:
        context = ssl.create_default_context(cafile=config.ca_file or None)
    if config.has_sasl:
        return SASLCredentials(
            username=config.sasl_username,
            password=config.sasl_password,
            ssl_context=context,
            mechanism=config.sasl_mechanism,
        )
    return None if context is None else SSLCredentials(context)


class BoundedConsumer(aiokafka.AIOKafkaConsumer):  # type: ignore[misc]  # untyped
    """aiokafka's consumer with a bound on a commit, and an end where it is stopped.

    aiokafka's own tries for ever while no broker answers for the group, and whoever
    waits for a commit (a stop, a rebalance) with it.
    """

    async def start(self) -> None:
        """Connect; see aiokafka.

        Raises:
          LogUnavailable: No broker answers.
        """
        try:
            await super().start()
        except KafkaConnectionError as error:
            raise LogUnavailable(
                f"no broker answers: {error}. Check the brokers"
            ) from error

    async def stop(self) -> None:
        """Close; see aiokafka.

        With brokers away, what aiokafka cancels in itself comes out as if whoever
        waits here had been cancelled, and nothing after it would be closed.
        """
        try:
            await super().stop()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            await self._client.close()

    async def commit(self, offsets: Any = None) -> None:
        """Store offsets of the group; see aiokafka.

        Raises:
          LogUnavailable: Not stored within `COMMIT_TIMEOUT_S`. Faust's driver stops the
            worker, as it does where a commit fails.
        """
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await super().commit(offsets)
        except TimeoutError as error:
            raise LogUnavailable(
                f"the group's offsets are not stored in {COMMIT_TIMEOUT_S:.0f} s. "
                "Check the brokers"
            ) from error


class ConsumerThread(driver.AIOKafkaConsumerThread):  # type: ignore[misc]  # untyped
    """aiokafka's consumer in a thread of its own.

    Attributes:
      heard: How far each partition went, and when; of the assignment.
    """

    heard: Heard

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        self._assignor = HomeAssignor(self.app.home)
        self.heard = Heard()
        return BoundedConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            # Never asked for: positions are set before anything is fetched.
            auto_offset_reset="none",
            max_poll_records=conf.broker_max_poll_records,
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1_000),
            max_partition_fetch_bytes=FETCH_PARTITION_BYTES,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            request_timeout_ms=int(conf.broker_request_timeout * 1_000),
            session_timeout_ms=int(conf.broker_session_timeout * 1_000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1_000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1_000),
            metadata_max_age_ms=METADATA_MAX_AGE_MS,
            isolation_level="read_uncommitted",
            **driver.credentials_to_aiokafka_auth(
                conf.broker_credentials, conf.ssl_context
            ),
        )

    async def fetch(
        self, seeks: Mapping[TP, int], active: set[TP]
    ) -> Mapping[TP, Sequence[Any]]:
        """Move to some positions, then return what came in for active partitions."""
        return await self.call_thread(self._fetch_from, seeks, active)  # type: ignore[no-any-return]

    async def _fetch_from(
        self, seeks: Mapping[TP, int], active: set[TP]
    ) -> Mapping[TP, Sequence[Any]]:
        consumer = self._ensure_consumer()
        try:
            for tp, offset in seeks.items():
                consumer.seek(driver.ensure_aiokafka_TP(tp), offset)
        except IllegalStateError:
            # Just taken away; the main thread hears of it in a moment.
            return {}
        self.heard.look(_answers(consumer))
        return await self._fetch_records(  # type: ignore[no-any-return]
            consumer, active, timeout=FETCH_TIMEOUT_S, max_records=FETCH_RECORDS_MAX
        )

    def on_crash(self, *_: Any, **__: Any) -> None:
        """Print nothing: the app is told what the thread fails of."""

    def _start_thread(self) -> None:
        with contextlib.suppress(Exception):  # As above: a thread would print it.
            super()._start_thread()

    def set_shutdown(self) -> None:
        """Tell the main thread's loop, unless that was closed first: after a crash."""
        with contextlib.suppress(RuntimeError):
            super().set_shutdown()

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Look for nothing: a partition that is parked reports itself."""

    def close(self) -> None:
        """Do nothing: stopping closes the consumer, when the machines have ended."""


def _answers(consumer: aiokafka.AIOKafkaConsumer) -> dict[TP, tuple[int, int]]:
    """Return when each partition was last answered for, and where it then ended."""
    found = {}
    for tp in consumer.assignment():
        stamp_ms = consumer.last_poll_timestamp(tp)
        if stamp_ms is not None:
            found[TP(*tp)] = stamp_ms, consumer.highwater(tp)
    return found


class Consumer(Positions, driver.Consumer):  # type: ignore[misc]  # Faust is untyped
    """Reads the assigned partitions in order and delivers them to Faust."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin without an assignment; Faust passes the arguments."""
        super().__init__(*args, **kwargs)
        self._leaving: set[TP] = set()
        self._fetched_to: dict[TP, int] = {}
        """Where aiokafka's consumer stands; missing: it was never sent anywhere."""

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def held(self) -> set[TP]:
        """Return the partitions that machines may have: those not being given away."""
        return self._assigned - self._leaving

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """End the machines, commit what they did, then let Faust forget."""
        self._leaving |= revoked
        self.stop_flow()
        await self.app.let_go(revoked)
        # Faust forgets acks before anybody is told; the next owner would do it again.
        await self.maybe_wait_for_commit_to_finish()
        await self.commit()
        self._assigned -= revoked
        self._leaving -= revoked
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(
        self, assigned: set[TP], generation_id: int = 0
    ) -> None:
        """Take an assignment; machines and positions follow."""
        self._assigned = {TP(*tp) for tp in assigned}
        self._positions = dict.fromkeys(self._assigned, 0)
        # A new one: a fetch that is under way notes where it was in the old one.
        self._fetched_to = {}
        self._thread.heard = Heard()
        await super().on_partitions_assigned(self._assigned, generation_id)

    def age_ms(self, tp: TP, next_offset: int) -> int | None:
        """See Positions."""
        heard: Heard = self._thread.heard
        return heard.age_ms(tp, next_offset)

    async def _fetch(self, active: set[TP]) -> Mapping[TP, Sequence[Any]]:
        mine = {TP(*tp) for tp in active} & self.held()
        seeks = {
            tp: self._positions[tp]
            for tp in mine
            if self._fetched_to.get(tp) != self._positions[tp]
        }
        if not mine:
            return {}
        fetched_to = self._fetched_to
        try:
            batch = await self._thread.fetch(seeks, mine)
        except OffsetOutOfRangeError as error:
            await self._explain(error)
        fetched_to |= seeks
        found = {TP(*tp): records for tp, records in batch.items()}
        for tp, records in found.items():
            fetched_to[tp] = records[-1].offset + 1
        return found

    async def _explain(self, error: OffsetOutOfRangeError) -> NoReturn:
        """Say what it means that the brokers have no such offset."""
        ((tp, offset),) = error.args[0].items()
        ask = partial(out_of_range, self._log, tp.topic, tp.partition, offset)
        raise await asyncio.get_running_loop().run_in_executor(None, ask) from error

    async def _idle(self) -> None:
        """Wait only where the fetch has not: with nothing to fetch from."""
        if not self.held():
            await self.sleep(FETCH_TIMEOUT_S)
        await asyncio.sleep(0)


class Fetcher(base.Fetcher):  # type: ignore[misc]  # Faust is untyped here
    """Runs the consumer's loop of fetching and delivering."""

    @Service.task  # type: ignore[untyped-decorator]
    async def _fetcher(self) -> None:
        # Faust's takes the end of a worker during a rebalance for a crash.
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await self.app.consumer._drain_messages(self)
        finally:
            self.set_shutdown()


class Transport(driver.Transport):  # type: ignore[misc]  # Faust is untyped here
    """Kafka brokers as Faust's brokers."""

    Consumer: ClassVar[type] = Consumer
    Fetcher: ClassVar[type] = Fetcher
    Producer: ClassVar[type] = Producer
