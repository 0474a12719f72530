"""The machine: order of phases, silent folds, parking, revocation; on the real log."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from streams.faults import POINTS, Faults, parse_fault
from streams.hub import Hub, HubConfig
from streams.log import Append
from streams.machine import Delivery, Machine, StartAgain
from streams.messages import encode_envelope
from streams.skips import Skip, append_skip
from streams.sqlite_log import SqliteLog
from streams.stepper import Stepper, WrongLog
from streams.topics import GROUP, LEDGER, ORGS, USERS
from tables import codec, keys
from tables.memory import MemoryStore
from tests.partition import LOG_ID, T0, TZDATA, org_created, purchase


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


@pytest.fixture
def log(tmp_path):
    opened = make_log(tmp_path)
    yield opened
    opened.close()


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
            committed=committed,
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


def test_a_step_is_published_then_stored_then_acknowledged(log):
    fill(log, [org_created(), purchase("alice")], [purchase(org="nobody")])
    bench = Bench(log)
    order = []
    bench.log.append_many = lambda appends: order.append(appends[0].topic) or []
    real_store = bench.stepper.store
    bench.stepper.store = lambda step: (order.append("store"), real_store(step))
    bench.acked = order
    asyncio.run(bench.run_until(lambda: 2 in order))
    assert order == ["dead", "ledger", "store", 0, 1, 2]
    assert points(bench.store) == 10


def test_below_the_committed_offset_the_fold_is_silent_and_acks_nothing(log):
    fill(log, [org_created(), purchase()], [purchase()], [purchase()])
    bench = Bench(log, committed=3)
    asyncio.run(bench.run_until(lambda: bench.acked))
    assert bench.acked == [3]
    assert points(bench.store) == 30
    assert ledger(log) == 1


def test_a_silent_fold_never_stores_a_position_past_the_committed_offset(log):
    fill(log, [org_created(), purchase()], [purchase()], [purchase()])
    bench = Bench(log, committed=3)
    stored = []

    def note(step):
        stored.append(step.row.offset)

    real_store = bench.stepper.store
    bench.stepper.store = lambda step: (
        stored.append(step.row.offset),
        real_store(step),
    )
    asyncio.run(bench.run_until(lambda: bench.acked))
    assert stored == [2, 3]


def test_a_parked_partition_says_why_and_takes_no_more(log):
    fill(log, [org_created(), purchase()])
    log.append_many([Append(USERS, 0, None, b"[7,[]]")])
    fill(log, [purchase()])
    bench = Bench(log)

    def parked():
        value = bench.store.get(keys.HEARTBEAT)
        return value and codec.heartbeats.decode(value).parked_offset is not None

    asyncio.run(bench.run_until(parked))
    beat = codec.heartbeats.decode(bench.store.get(keys.HEARTBEAT))
    assert beat.parked_offset == 2
    assert "newer Plaudit" in beat.parked_reason
    assert bench.acked == [0, 1]
    assert points(bench.store) == 10


def test_a_skip_lets_a_parked_partition_start_again(log):
    fill(log, [org_created(), purchase()])
    log.append_many([Append(USERS, 0, None, b"[7,[]]")])
    fill(log, [purchase()])
    append_skip(log, Skip(USERS, 0, 2, "a test"))
    bench = Bench(log)
    with pytest.raises(StartAgain):
        asyncio.run(bench.run_until(lambda: False))
    again = Bench(log, bench.store)
    again.stepper.skipped = {2}
    asyncio.run(again.run_until(lambda: 3 in again.acked))
    assert points(bench.store) == 20


def test_a_machine_that_is_cancelled_ends_its_write_first(log):
    fill(log, [org_created(), purchase()])
    bench = Bench(log)
    started = asyncio.Event()
    real_store = bench.stepper.store
    finished = []

    async def scenario():
        loop = asyncio.get_running_loop()

        def slow_store(step):
            loop.call_soon_threadsafe(started.set)
            real_store(step)
            finished.append(True)

        bench.stepper.store = slow_store
        task = asyncio.create_task(bench.machine.run())
        await bench.feed()
        await started.wait()
        task.cancel()
        await asyncio.wait([task])
        assert finished == [True]

    asyncio.run(scenario())


def test_a_step_that_is_revoked_while_it_publishes_is_the_next_owners(log):
    fill(log, [org_created(), purchase()])
    zombie = Bench(log)
    real_append = zombie.log.append_many
    entered, healed = threading.Event(), threading.Event()

    def late(appends):
        entered.set()
        assert healed.wait(10)
        return real_append(appends)

    zombie.log.append_many = late

    async def scenario():
        revoked = asyncio.create_task(zombie.machine.run())
        await zombie.feed()
        await asyncio.to_thread(entered.wait, 10)
        revoked.cancel()
        # Its successor has other rows, and does the step meanwhile.
        successor = Bench(log)
        await successor.run_until(lambda: 1 in successor.acked)
        healed.set()
        await asyncio.wait([revoked])
        return successor

    successor = asyncio.run(scenario())
    # What it still published is what its successor did, id for id; it went no further.
    first, second = (one.value for one in log.read(LEDGER, 0, 1))
    assert first == second
    assert (zombie.acked, zombie.machine.next_offset) == ([], 0)
    assert points(zombie.store) is None
    assert points(successor.store) == 10


def test_a_partition_that_is_no_longer_assigned_takes_nothing(log):
    fill(log, [org_created(), purchase()])
    bench = Bench(log)

    async def scenario():
        task = asyncio.create_task(bench.machine.run())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        async with asyncio.timeout(5):
            await bench.feed()

    asyncio.run(scenario())
    assert bench.acked == []
    assert bench.machine.next_offset == 0


def test_a_park_for_a_stamp_from_the_future_ends_with_the_clock(log):
    fill(log, [org_created(), purchase()])
    now_ms = [T0 - 400_000]
    bench = Bench(log, wall_ms=lambda: now_ms[0])
    with pytest.raises(StartAgain, match="clock"):
        asyncio.run(bench.run_until(lambda: now_ms.append(now_ms.pop() + 1_000)))


def test_tables_that_are_gone_from_the_disk_start_the_worker_again(log):
    fill(log, [org_created(), purchase()])
    bench = Bench(log)
    bench.store.is_there = lambda: False
    with pytest.raises(StartAgain, match="gone"):
        asyncio.run(bench.run_until(lambda: False))


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
            while any(
                hub.next_offset(*place) < self.log.end_offset(*place)
                for place in partitions
            ) or not set(until_acked) <= set(acked):
                # A record is acknowledged after it is stored.
                await asyncio.sleep(0.001)
        await hub.stop()
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


def test_a_hub_goes_on_where_the_rows_are(log):
    commit_zero(log)
    fill(log, [org_created(), purchase()])
    hubs = Hubs(log)
    asyncio.run(hubs.fold())
    fill(log, [purchase()])
    asyncio.run(hubs.fold(until_acked=[(USERS, 2)]))
    assert points(hubs.stores[USERS, 0]) == 20
    assert hubs.failures == []


def test_rows_beyond_the_end_of_the_log_stop_the_worker(log, tmp_path):
    commit_zero(log)
    fill(log, [org_created(), purchase()])
    hubs = Hubs(log)
    asyncio.run(hubs.fold())
    SqliteLog.create(
        tmp_path / "cut", LOG_ID, 1, tzdata_version=TZDATA, clock_ms=lambda: T0
    )
    shorter = SqliteLog(tmp_path / "cut", clock_ms=lambda: T0)
    commit_zero(shorter)
    hubs.log = shorter
    with pytest.raises(WrongLog, match="lost its tail"):
        asyncio.run(hubs.fold())
    shorter.close()


def test_a_record_that_changed_since_it_was_folded_stops_the_worker(log, tmp_path):
    commit_zero(log)
    fill(log, [org_created(), purchase()])
    hubs = Hubs(log)
    asyncio.run(hubs.fold())
    SqliteLog.create(
        tmp_path / "other", LOG_ID, 1, tzdata_version=TZDATA, clock_ms=lambda: T0
    )
    other = SqliteLog(tmp_path / "other", clock_ms=lambda: T0)
    commit_zero(other)
    fill(other, [org_created(), purchase("mallory")])
    hubs.log = other
    with pytest.raises(WrongLog, match="not the record that was folded"):
        asyncio.run(hubs.fold())
    other.close()


def test_no_rows_and_no_committed_offset_stop_the_worker(log):
    hubs = Hubs(log)
    hubs.log = SpyLog(log)
    hubs.log.committed = lambda *_place: None
    with pytest.raises(WrongLog, match="plaudit init"):
        asyncio.run(hubs.fold())


def test_lost_rows_are_rebuilt_from_the_log_without_publishing_again(log):
    commit_zero(log)
    fill(log, [org_created(), purchase()], [purchase()])
    hubs = Hubs(log)
    asyncio.run(hubs.fold())
    before = dict(hubs.stores[USERS, 0].scan(b"", b"\xff"))
    published = log.end_offset(LEDGER, 0)
    log.commit(GROUP, {(USERS, 0): 3})
    hubs.stores.clear()
    asyncio.run(hubs.fold())
    after = dict(hubs.stores[USERS, 0].scan(b"", b"\xff"))
    for rows in (before, after):
        rows.pop(keys.HEARTBEAT, None)
    assert after == before
    assert log.end_offset(LEDGER, 0) == published


def test_entries_published_twice_have_the_same_ids(log):
    commit_zero(log)
    fill(log, [org_created(), purchase()], [purchase()])
    asyncio.run(Hubs(log).fold())
    asyncio.run(Hubs(log).fold())
    ids = []
    for record in log.read(LEDGER, 0, 1):
        ids.append([entry[0] for entry in msgspec.json.decode(record.value)[2]])
    flat = [entry_id for run in ids for entry_id in run]
    assert len(flat) == 4
    assert len(set(flat)) == 2


def test_a_fault_point_is_named_and_counted():
    assert parse_fault(None) is None
    assert parse_fault("after_write:3") == ("after_write", 3)
    assert parse_fault("after_write") == ("after_write", 1)
    for text in ("nowhere:1", "after_write:0", "after_write:x"):
        with pytest.raises(ValueError, match="PLAUDIT_FAULT"):
            parse_fault(text)
    assert len(set(POINTS)) == len(POINTS)
