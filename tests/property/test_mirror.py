"""However steps are cut, repeated, lost or late: the slot becomes what the rows are."""

import copy
import random

import pytest

from tables import keys
from tables.mirror import DELTAS_MAX
from tables.redis_slot import parts
from tests.property.mirror_owner import Lasting, Owner, check, records


@pytest.mark.parametrize("seed", range(25))
def test_any_cut_and_any_fate_of_steps(seed, redis, redis_client, monkeypatch):
    rng = random.Random(seed)
    monkeypatch.setattr("tables.redis_mirror.COPY_ROWS_MAX", rng.choice([3, 20, 5_000]))
    log = records(rng, 40).records
    store = Lasting()
    owner = Owner(log, store, redis_client)
    late = []
    real_step = type(owner.slot).step

    def say_again():
        if late and rng.random() < 0.5:
            real_step(owner.slot, *rng.choice(late))

    while not owner.done:
        owner.fold(rng.randrange(1, 6))
        pending = owner.mirror._step
        call = pending.first, pending.last, pending.writes
        late.append(call)
        say_again()
        fate = rng.random()
        if fate < 0.6:
            owner.advance(rng.choice([1, 2, 1_000]))
        elif fate < 0.8:
            # kill -9 between the store and the mirror.
            owner = Owner(log, store, redis_client)
        elif fate < 0.85:
            redis.ask("FLUSHALL")
        elif fate < 0.9:
            owner.slot.request()
        if rng.random() < 0.3:
            owner.beat()
            owner.advance(rng.choice([1, 1_000]))
        say_again()
    owner.settle()
    check(owner)
    for call in rng.sample(late, len(late)):
        assert real_step(owner.slot, *call).verdict == "KNOWN"
    check(owner)


@pytest.mark.parametrize("seed", range(10))
def test_a_zombie_with_other_cuts_is_harmless(seed, redis_client, redis):
    rng = random.Random(1_000 + seed)
    log = records(rng, 40).records
    first = Owner(log, Lasting(), redis_client)
    for _ in range(3):
        first.fold(3)
        first.advance()
    # From here on both believe that the partition is theirs.
    store = copy.deepcopy(first.store._store)
    other = Owner(log, store, redis_client)
    while not (first.done and other.done):
        owner = rng.choice([first, other])
        if owner.done:
            continue
        owner.fold(rng.randrange(1, 9))
        if rng.random() < 0.7:
            owner.advance(rng.choice([1, 1_000]))
        if rng.random() < 0.2:
            owner.beat()
            owner.advance()
        if rng.random() < 0.1:
            owner.slot.request()
    other.settle()
    check(other, zombies=True)
    first.beat()
    first.advance()
    check(other, zombies=True)
    other.slot.request()
    other.settle()
    check(other)


def test_a_slot_some_steps_behind_gets_the_rows_without_a_new_epoch(
    redis_client, redis
):
    log = records(random.Random(1), 60).records
    owner = Owner(log, Lasting(), redis_client)
    owner.fold(3)
    owner.advance()
    with redis_client.calling() as raw:
        epoch = raw.hget(owner.slot.name, "epoch")
        before = owner.slot.state().offset
        for _ in range(DELTAS_MAX - 20):
            owner.fold(1)
        assert owner.slot.state().offset == before
        owner.advance()
        check(owner)
        assert raw.hget(owner.slot.name, "epoch") == epoch


def test_older_rows_of_the_same_history_wait_for_the_slot(redis_client, redis):
    log = records(random.Random(5), 40).records
    ahead = Owner(log, Lasting(), redis_client)
    ahead.settle()
    # Another disk, restored from nothing: the slot stays as it is.
    behind = Owner(log, Lasting(), redis_client)
    with redis_client.calling() as raw:
        epoch = raw.hget(behind.slot.name, "epoch")
        while not behind.done:
            behind.fold(3)
            behind.beat()
            behind.advance()
            assert behind.slot.state().offset == len(log) - 1
        assert raw.hget(behind.slot.name, "epoch") == epoch
    check(behind)


def test_a_large_step_is_one_call_which_nobody_comes_between(
    redis_client, redis, monkeypatch
):
    log = records(random.Random(8), 40).records
    owner = Owner(log, Lasting(), redis_client)
    owner.fold(2)
    owner.advance()
    monkeypatch.setattr("tables.redis_slot.PART_ROWS_MAX", 4)
    while not owner.done:
        owner.fold(50)
    slot = owner.mirror._slot
    real_call = slot._call
    calls = []

    def count(script, arguments):
        calls.append(script)
        return real_call(script, arguments)

    slot._call = count
    owner.mirror.advance(readable=True)
    assert calls[0] is slot._step
    assert slot.state().offset == owner.store.applied
    check(owner)


def test_rows_that_wait_for_older_records_are_as_old_as_those(redis_client):
    log = records(random.Random(9), 12).records
    owner = Owner(log, Lasting(), redis_client)
    owner.fold(2)
    owner.advance()
    slot = owner.slot

    def age_ms():
        return slot.read([keys.PARTITION]).age_ms

    assert age_ms() < 60_000
    with redis_client.calling() as raw:
        raw.hset(slot.name, "at", "0")
    owner.fold(2)
    owner.age_ms = 3_600_000
    owner.mirror.advance(readable=True)
    assert 3_600_000 <= age_ms() < 3_660_000
    # What the step before said holds of the later one, too: it does not grow older.
    owner.fold(2)
    owner.age_ms = None  # It does not know.
    owner.mirror.advance(readable=True)
    assert 3_600_000 <= age_ms() < 3_660_000
    owner.fold(2)
    owner.age_ms = 0
    owner.mirror.advance(readable=True)
    assert age_ms() < 60_000


def test_parts_are_bounded(monkeypatch):
    monkeypatch.setattr("tables.redis_slot.PART_ROWS_MAX", 4)
    monkeypatch.setattr("tables.redis_slot.PART_BYTES_MAX", 50)
    names = [keys.result(f"r{number}") for number in range(10)]
    writes = {name: bytes(number * 5) for number, name in enumerate(names)}
    cut = list(parts(writes))
    assert [is_last for _, is_last in cut] == [False] * (len(cut) - 1) + [True]
    assert {key: part[key] for part, _ in cut for key in part} == writes
    assert all(len(part) <= 4 for part, _ in cut)
    assert list(parts({})) == [({}, True)]
