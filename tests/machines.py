"""Machines and hubs over partition 0 of a real log, for tests."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from streams.faults import Faults
from streams.hub import Hub, HubConfig
from streams.log import Append
from streams.machine import Delivery, Machine
from streams.messages import encode_envelope
from streams.silent import SilentFold
from streams.sqlite_log import SqliteLog
from streams.stepper import Stepper
from streams.topics import GROUP, LEDGER, ORGS, USERS
from tables import codec, keys
from tables.memory import MemoryStore
from tests.partition import LOG_ID, T0, TZDATA


class SpyLog:
    """The real log, with a note of what was appended when."""

    def __init__(self, log):
        self._log = log
        self.appended = []

    def append_many(self, appends):
        self.appended.append([append.topic for append in appends])
        return self._log.append_many(appends)

    def __getattr__(self, name):
        return getattr(self._log, name)


class SpyStore(MemoryStore):
    """A store that notes when it is written and closed."""

    def __init__(self, notes):
        super().__init__()
        self.notes = notes

    def write(self, batch):
        super().write(batch)
        self.notes.append("write")

    def close(self):
        self.notes.append("close")


def make_log(folder):
    SqliteLog.create(folder, LOG_ID, 1, tzdata_version=TZDATA, clock_ms=lambda: T0)
    return SqliteLog(folder, clock_ms=lambda: T0)


def fill(log, *envelopes):
    for messages in envelopes:
        log.append_many([Append(USERS, 0, None, encode_envelope(messages))])


class Bench:
    """One machine over partition 0 of users, and what it acknowledged."""

    def __init__(self, log, store=None, committed=0, wall_ms=lambda: T0):
        self.notes = []
        self.log = SpyLog(log)
        self.store = store or SpyStore(self.notes)
        self.acked = []
        self.executor = ThreadPoolExecutor(2)
        self.stepper = Stepper(self.store, USERS, 0, TZDATA, wall_ms)
        self.machine = Machine(
            stepper=self.stepper,
            store=self.store,
            log=self.log,
            topic=USERS,
            partition=0,
            silent=SilentFold(self.log, USERS, 0, committed),
            faults=Faults(None),
            executor=self.executor,
            wall_ms=wall_ms,
        )

    async def feed(self):
        for record in self.log.read(USERS, 0, self.machine.next_offset):
            offset = record.offset
            ack = lambda offset=offset: self.acked.append(offset)  # noqa: E731
            await self.machine.offer(Delivery(record, ack))

    async def run_until(self, done):
        task = asyncio.create_task(self.machine.run())
        await self.feed()
        async with asyncio.timeout(10):
            while not done() and not task.done():
                await asyncio.sleep(0.001)
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.wait([task])
        return None


def points(store, user="alice"):
    value = store.get(keys.user("acme", user))
    return None if value is None else codec.states.decode(value).points


def ledger(log):
    return log.end_offset(LEDGER, 0) - 1


class LastingStore(MemoryStore):
    """Rows that outlive their owner, as files do."""

    def close(self):
        pass


class Hubs:
    """Hubs over one log and one set of stores, as worker after worker has them."""

    def __init__(self, log):
        self.log = log
        self.stores = {}
        self.failures = []

    def open_store(self, topic, partition):
        return self.stores.setdefault((topic, partition), LastingStore())

    async def fold(self, partitions=((USERS, 0), (ORGS, 0)), until_acked=()):
        hub = Hub(HubConfig(GROUP, TZDATA), self.log, self.open_store, lambda: T0)
        hub.on_fatal = self.failures.append
        await hub.assign(partitions)
        acked = []
        for topic, partition in partitions:
            offset = hub.next_offset(topic, partition)
            for record in self.log.read(topic, partition, offset):
                await hub.offer(event(topic, partition, record, acked))
        async with asyncio.timeout(10):
            while not self.failures and (
                any(
                    hub.next_offset(*place) < self.log.end_offset(*place)
                    for place in partitions
                )
                or not set(until_acked) <= set(acked)
            ):
                # A record is acknowledged after it is stored.
                await asyncio.sleep(0.001)
        await hub.stop()
        if self.failures:
            raise self.failures.pop()
        return acked


def event(topic, partition, record, acked):
    class Message:
        pass

    message = Message()
    message.topic, message.partition = topic, partition
    message.offset, message.timestamp = record.offset, record.stamp_ms / 1_000
    message.key, message.value = record.key, record.value

    class Event:
        pass

    made = Event()
    made.message = message
    made.ack = lambda: acked.append((topic, record.offset))
    return made


def commit_zero(log):
    log.commit(GROUP, {(USERS, 0): 0, (ORGS, 0): 0})
