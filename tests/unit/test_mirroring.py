"""The machine and its mirror, on a real log and a real Redis."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from faust.types import TP

from plaudit.errors import FAILED, exit_code
from streams.faults import Faults
from streams.log import Append
from streams.machine import Delivery, Machine
from streams.mirroring import Mirroring
from streams.silent import SilentFold
from streams.stepper import Stepper
from streams.topics import USERS
from streams.transports.heard import Heard
from tables import codec, keys
from tables.clock import monotonic_ms
from tables.errors import MirrorUnavailable, MirrorUnusable
from tables.memory import MemoryStore
from tables.redis_client import RedisClient
from tables.redis_mirrors import RedisMirrors
from tables.redis_slot import UNKNOWN_AGE_MS
from tables.redis_view import RedisView
from tests.machines import LastingStore, fill
from tests.mirrored import all_rows, assert_mirrored, slot_rows
from tests.partition import LOG_ID, T0, TZDATA, org_created, purchase

DEADLINE_S = 30


class Bench:
    """One mirrored machine over partition 0 of users, and what it acknowledged."""

    def __init__(
        self, log, url, *, rows=None, readable_from=0, wait_max_s=60.0, answer_s=1.0
    ):
        self.log = log
        self.client = RedisClient(url, answer_timeout_s=answer_s)
        self.rows = rows or MemoryStore()
        mirrors = RedisMirrors(self.client, LOG_ID)
        self.slot = mirrors.slot(USERS, 0)
        log_end = partial(log.end_offset, USERS, 0)
        self.heard = Heard()
        store, mirror = mirrors.of(USERS, 0, self.rows, log_end, self.age_ms)
        self.store = store
        self.acked = []
        self.now_ms = T0
        self.executor = ThreadPoolExecutor(2)
        stepper = Stepper(store, USERS, 0, TZDATA, lambda: T0)
        self.machine = Machine(
            stepper=stepper,
            store=store,
            log=log,
            topic=USERS,
            partition=0,
            silent=SilentFold(log, USERS, 0, 0),
            faults=Faults(None),
            executor=self.executor,
            wall_ms=self.clock_ms,
            caught_up=lambda: None,
            readable_from=readable_from,
            mirroring=Mirroring(mirror, "users/0", wait_max_s=wait_max_s),
        )

    def clock_ms(self):
        self.now_ms += 1_000
        return self.now_ms

    def age_ms(self, next_offset):
        place = TP(USERS, 0)
        self.heard.note(place, monotonic_ms(), self.log.end_offset(*place))
        return self.heard.age_ms(place, next_offset)

    async def feed(self):
        for record in self.log.read(USERS, 0, self.machine.next_offset):
            offset = record.offset
            ack = lambda offset=offset: self.acked.append(offset)  # noqa: E731
            await self.machine.offer(Delivery(record, ack))

    async def until(self, task, done):
        async with asyncio.timeout(DEADLINE_S):
            while not done() and not task.done():
                await asyncio.sleep(0.005)
        if task.done():
            task.result()

    def run(self, *phases):
        """Run the machine; after each phase's action, until its condition holds."""

        async def scenario():
            task = asyncio.create_task(self.machine.run())
            try:
                for act, done in phases:
                    act()
                    await self.feed()
                    await self.until(task, done)
            finally:
                task.cancel()
                await asyncio.wait([task])
                self.executor.shutdown()
                self.client.close()

        asyncio.run(scenario())

    def offset(self):
        try:
            return self.slot.state().offset
        except MirrorUnavailable:
            return None

    def check(self, server):
        with RedisClient(server.url).calling() as raw:
            assert_mirrored(raw, self.slot.name, all_rows(self.store), USERS)
            raw.close()


def nothing():
    pass


def test_an_acknowledgement_follows_the_mirror(log, redis):
    fill(log, [org_created(), purchase()], [purchase()])
    bench = Bench(log, redis.url)
    order = []
    real_step = bench.slot.__class__.step

    def step(slot, first, last, writes, **options):
        order.append(("mirror", last, list(bench.acked)))
        return real_step(slot, first, last, writes, **options)

    bench.machine._mirroring._mirror._slot.step = partial(
        step, bench.machine._mirroring._mirror._slot
    )
    bench.run((nothing, lambda: 2 in bench.acked))
    assert order == [("mirror", 2, [])]
    bench.check(redis)


def test_redis_away_makes_the_partition_wait_and_then_go_on(log, own_redis, caplog):
    fill(log, [org_created(), purchase()])
    bench = Bench(log, own_redis.url)
    waits = lambda: "users/0 waits for its mirror" in caplog.text  # noqa: E731

    def stop_and_fill():
        own_redis.stop()
        fill(log, [purchase()])

    def start():
        assert bench.acked == [0, 1]
        fill(log, [purchase()])
        own_redis.start()

    bench.run(
        (nothing, lambda: 1 in bench.acked),
        (stop_and_fill, waits),
        (start, lambda: 3 in bench.acked and bench.offset() == 3),
    )
    bench.check(own_redis)


def test_after_the_limit_the_worker_stops_and_says_what_to_do(log, own_redis):
    fill(log, [org_created(), purchase()])
    own_redis.stop()
    bench = Bench(log, own_redis.url, wait_max_s=0.2)
    with pytest.raises(
        MirrorUnavailable, match="mend that, then start the worker"
    ) as said:
        bench.run((nothing, lambda: False))
    assert f"127.0.0.1:{own_redis.port}" in str(said.value)
    assert exit_code(said.value) == FAILED
    assert bench.acked == []
    # What was stored stays; the next owner mirrors it and acknowledges.
    assert bench.rows.get(keys.PARTITION) is not None


def test_a_machine_that_waits_for_redis_ends_at_once_when_it_is_revoked(log, own_redis):
    fill(log, [org_created(), purchase()])
    own_redis.stop()
    bench = Bench(log, own_redis.url)
    bench.run((nothing, lambda: bench.store.applied == 1))
    assert bench.acked == []


def test_redis_that_may_evict_stops_the_worker(log, own_redis):
    own_redis.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    fill(log, [org_created(), purchase()])
    bench = Bench(log, own_redis.url)
    with pytest.raises(MirrorUnusable, match="noeviction"):
        bench.run((nothing, lambda: False))


@pytest.mark.parametrize("evicted", ["rows", "order"])
def test_what_was_evicted_is_written_anew(log, redis, evicted):
    fill(log, [org_created(), purchase()])
    bench = Bench(log, redis.url)

    def evict():
        (key,) = redis.ask("KEYS", f"{bench.slot.name}:*:{evicted}")
        redis.ask("DEL", key)

    def is_whole():
        return bench.slot.read([]) is not None

    bench.run((nothing, is_whole), (evict, is_whole))
    bench.check(redis)


def test_what_somebody_else_wrote_over_is_written_anew_with_one_warning(
    log, redis, caplog
):
    fill(log, [org_created(), purchase()])
    bench = Bench(log, redis.url)

    def spoil():
        redis.ask("DEL", bench.slot.name)
        redis.ask("SET", bench.slot.name, "x")
        fill(log, [purchase()])

    bench.run((nothing, lambda: bench.offset() == 1), (spoil, lambda: 2 in bench.acked))
    [said] = [line for line in caplog.messages if "users/0 waits" in line]
    assert "holds what somebody else wrote" in said
    assert "does not answer" not in said
    bench.check(redis)


def test_redis_that_begins_to_evict_stops_the_worker(log, own_redis):
    fill(log, [org_created(), purchase()])
    bench = Bench(log, own_redis.url)

    def evict():
        own_redis.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        own_redis.ask("FLUSHALL")

    with pytest.raises(MirrorUnusable, match="set maxmemory-policy"):
        bench.run((nothing, lambda: bench.offset() == 1), (evict, lambda: False))


def test_redis_that_is_full_makes_the_partition_wait(log, own_redis):
    fill(log, [org_created(), purchase()])
    own_redis.ask("CONFIG", "SET", "maxmemory", "1")
    bench = Bench(log, own_redis.url, wait_max_s=0.2)
    with pytest.raises(MirrorUnavailable, match="maxmemory"):
        bench.run((nothing, lambda: False))
    assert redis_is_empty(own_redis)


def redis_is_empty(server):
    return server.ask("DBSIZE") == 0


def test_an_idle_owner_keeps_its_slot_young_and_mends_it(log, redis):
    fill(log, [org_created(), purchase()])
    bench = Bench(log, redis.url)

    def beats():
        with bench.client.calling() as raw:
            rows = slot_rows(raw, bench.slot.name) or {}
        value = rows.get(keys.HEARTBEAT)
        return value and codec.heartbeats.decode(value).beat

    bench.run(
        (nothing, lambda: 1 in bench.acked),
        (nothing, lambda: (beats() or 0) >= 2),
        (lambda: redis.ask("FLUSHALL"), lambda: bench.offset() == 1),
    )
    bench.check(redis)


def test_an_idle_owner_does_what_is_asked_for(log, redis):
    fill(log, [org_created(), purchase()])
    bench = Bench(log, redis.url)
    epochs = []

    def epoch():
        return redis.ask("HGET", bench.slot.name, "epoch")

    def ask():
        epochs.append(epoch())
        bench.slot.request()

    bench.run(
        (nothing, lambda: bench.offset() == 1),
        (ask, lambda: epoch() != epochs[0]),
    )
    bench.check(redis)


def test_a_parked_partition_says_so_in_the_mirror(log, redis):
    fill(log, [org_created(), purchase()])
    log.append_many([Append(USERS, 0, None, b"[7,[]]")])
    bench = Bench(log, redis.url)

    def parked():
        with bench.client.calling() as raw:
            rows = slot_rows(raw, bench.slot.name) or {}
        value = rows.get(keys.HEARTBEAT)
        return value and codec.heartbeats.decode(value).parked_offset == 2

    bench.run((nothing, parked))
    bench.check(redis)
    # They were never all that the log held.
    view = RedisView(RedisClient(redis.url), LOG_ID, 1)
    view.position(USERS, 0)
    assert view.age_ms() >= UNKNOWN_AGE_MS
    view.close()


def test_rows_that_are_made_anew_are_mirrored_when_they_are_complete(log, redis):
    fill(log, [org_created(), purchase()])
    end = 4
    bench = Bench(log, redis.url, readable_from=end)

    def building():
        row, _beat, _age_ms = bench.slot.draft_rows()
        return row is not None

    bench.run(
        (nothing, building),
        (lambda: fill(log, [purchase()], [purchase()]), lambda: bench.offset() == 3),
    )
    bench.check(redis)


def test_rows_that_wait_for_their_first_records_are_not_called_fresh(log, redis):
    fill(log, [org_created(), purchase()])
    first = Bench(log, redis.url, rows=LastingStore())
    first.run((nothing, lambda: first.offset() == 1))
    fill(log, [purchase()])
    second = Bench(log, redis.url, rows=first.rows, readable_from=3)
    view = RedisView(RedisClient(redis.url), LOG_ID, 1)

    async def feed_nothing():
        pass

    def age_ms():
        view.position(USERS, 0)
        return view.age_ms()

    assert age_ms() < 1_000
    second.feed = feed_nothing
    second.run((nothing, lambda: age_ms() >= 1_000))
    third = Bench(log, redis.url, rows=first.rows, readable_from=3)
    third.run((nothing, lambda: third.offset() == 2 and age_ms() < 1_000))
    view.close()


def test_without_a_mirror_nothing_of_it_is_stored(log):
    fill(log, [org_created(), purchase()])
    store = MemoryStore()
    stepper = Stepper(store, USERS, 0, TZDATA, lambda: T0)
    stepper.store(stepper.step(log.read(USERS, 0, 0)))
    kinds = {key[0] for key, _value in store.scan(b"", b"\xff")}
    assert keys.delta(0)[0] not in kinds


def test_a_wait_is_not_for_ever(log, own_redis):
    """Redis hangs instead of being away: the same bound holds."""
    fill(log, [org_created(), purchase()])
    bench = Bench(log, own_redis.url, wait_max_s=0.1, answer_s=0.2)
    own_redis.ask("CLIENT", "PAUSE", "60000", "ALL")
    began = time.monotonic()
    with pytest.raises(MirrorUnavailable):
        bench.run((nothing, lambda: False))
    assert time.monotonic() - began < DEADLINE_S
