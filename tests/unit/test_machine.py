"""The machine: order of phases, silent folds, parking, revocation; on the real log."""

import asyncio
import threading

import pytest

from streams.faults import POINTS, parse_fault
from streams.log import Append
from streams.machine import StartAgain
from streams.skips import Skip, append_skip
from streams.topics import LEDGER, USERS
from tables import codec, keys
from tests.machines import Bench, fill, ledger, points
from tests.partition import T0, org_created, purchase


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


def folded_up_to(log, offset, *envelopes):
    """Let a machine publish what some envelopes make; the last stands at `offset`."""
    fill(log, *envelopes)
    bench = Bench(log)
    asyncio.run(bench.run_until(lambda: offset in bench.acked))


def test_below_the_committed_offset_the_fold_is_silent_and_acks_nothing(log):
    folded_up_to(log, 2, [org_created(), purchase()], [purchase()])
    published = ledger(log)
    fill(log, [purchase()])
    bench = Bench(log, committed=3)
    asyncio.run(bench.run_until(lambda: bench.acked))
    assert bench.acked == [3]
    assert points(bench.store) == 30
    assert ledger(log) == published + 1


def test_a_silent_fold_never_stores_a_position_past_the_committed_offset(log):
    folded_up_to(log, 2, [org_created(), purchase()], [purchase()])
    fill(log, [purchase()])
    bench = Bench(log, committed=3)
    stored = []
    real_store = bench.stepper.store
    bench.stepper.store = lambda step: (
        stored.append(step.row.offset),
        real_store(step),
    )
    asyncio.run(bench.run_until(lambda: bench.acked))
    assert stored == [2, 3]


def run_until_parked(bench):
    """Run a machine until it is parked; return what its heartbeat says."""

    def parked():
        value = bench.store.get(keys.HEARTBEAT)
        return value and codec.heartbeats.decode(value).parked_offset is not None

    asyncio.run(bench.run_until(parked))
    return codec.heartbeats.decode(bench.store.get(keys.HEARTBEAT))


def test_a_parked_partition_says_why_and_takes_no_more(log):
    fill(log, [org_created(), purchase()])
    log.append_many([Append(USERS, 0, None, b"[7,[]]")])
    fill(log, [purchase()])
    bench = Bench(log)

    beat = run_until_parked(bench)
    assert beat.parked_offset == 2
    assert "newer Plaudit. If that cannot be mended" in beat.parked_reason
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


def test_a_slow_clock_is_no_reason_to_skip(log):
    fill(log, [org_created(), purchase()])
    beat = run_until_parked(Bench(log, wall_ms=lambda: T0 - 3_600_000))
    assert beat.parked_offset == 0
    assert beat.parked_reason == (
        "the log's stamp is 60 minutes ahead of this machine's clock: set the clocks "
        "right, and the partition goes on by itself. Only if the stamp's time will "
        "never come, `plaudit skip users/0@0` goes on without the record"
    )


def test_the_heartbeat_notes_the_manifest(log):
    bench = Bench(log)
    bench.store.manifest = lambda: (5, 224)
    asyncio.run(bench.run_until(lambda: bench.store.get(keys.HEARTBEAT) is not None))
    beat = codec.heartbeats.decode(bench.store.get(keys.HEARTBEAT))
    assert beat.manifest == (5, 224)


def test_tables_that_are_gone_from_the_disk_start_the_worker_again(log):
    fill(log, [org_created(), purchase()])
    bench = Bench(log)
    bench.store.is_there = lambda: False
    with pytest.raises(StartAgain, match="gone"):
        asyncio.run(bench.run_until(lambda: False))


def test_a_fault_point_is_named_and_counted():
    assert parse_fault(None) is None
    assert parse_fault("after_write:3") == ("after_write", 3)
    assert parse_fault("after_write") == ("after_write", 1)
    for text in ("nowhere:1", "after_write:0", "after_write:x"):
        with pytest.raises(ValueError, match="PLAUDIT_FAULT"):
            parse_fault(text)
    assert len(set(POINTS)) == len(POINTS)
