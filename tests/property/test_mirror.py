"""However steps are cut, repeated, lost or late: the slot becomes what the rows are."""

import copy
import random

import pytest

from rules.message import Command
from tables import codec, keys
from tables.codec import Heartbeat
from tables.memory import MemoryStore
from tables.mirror import DELTAS_MAX
from tables.redis_mirrors import RedisMirrors
from tables.redis_slot import parts
from tests.mirrored import all_rows, assert_mirrored, slot_rows
from tests.partition import (
    LOG_ID,
    T0,
    Partition,
    campaign_row,
    config_change,
    org_created,
    purchase,
)

DAY_MS = 86_400_000
EXPIRING = [
    {"type": "add_points", "config": {"amount": 10, "expiresInDays": 3}},
    {"type": "deduct_points", "config": {"amount": 4}},
    {"type": "send_notification", "config": {"title": "t", "message": "m"}},
]


class Lasting(MemoryStore):
    """Rows that outlive their owner, as files do."""

    def close(self):
        pass


def records(rng, count):
    """Return a partition whose log holds users, lots, results, tallies and ids."""
    partition = Partition()
    partition.append([org_created()])
    changed = campaign_row("camp_2", effects=EXPIRING)
    partition.append([config_change(2, [("campaign", "camp_2", changed)])])
    for number in range(count):
        # Now and then weeks pass, so that whole buckets of ids go.
        partition.now_ms += rng.choice([10, 1_000, DAY_MS, 9 * DAY_MS])
        messages = []
        for place in range(rng.randrange(1, 6)):
            user = rng.choice(["alice", "bob", "carol"])
            if rng.random() < 0.2:
                command_id = f"cmd_{number}_{place}"
                name = rng.choice(["profile.update", "unknown"])
                body = {"displayName": f"{user} {number}"}
                messages.append(Command("acme", user, command_id, name, None, body))
                continue
            event_id = f"e{rng.randrange(count)}"
            batch = rng.choice([None, "b1", "b2"])
            messages.append(purchase(user, event_id, batch=batch))
        partition.append(messages)
    return partition


class Owner:
    """One owner of the partition: a stepper over mirrored rows, and their mirror."""

    def __init__(self, log, store, client, now_ms=T0 + 10_000 * DAY_MS):
        self.log = log
        mirrors = RedisMirrors(client, LOG_ID)
        self.store, self.mirror = mirrors.of("users", 0, store, lambda: len(log))
        self.slot = mirrors.slot("users", 0)
        self.partition = Partition.__new__(Partition)
        self.partition.topic = "users"
        self.partition.store = self.store
        self.partition.now_ms = now_ms
        self.stepper = self.partition.open()

    @property
    def done(self):
        return self.stepper.next_offset >= len(self.log)

    def fold(self, records_max):
        """Fold and store one step; nothing is mirrored yet."""
        first = self.stepper.next_offset
        step = self.stepper.step(self.log[first : first + records_max])
        self.stepper.store(step)

    def advance(self, pieces=1_000):
        """Mirror what is pending, in at most so many pieces."""
        while self.mirror.pending and pieces:
            self.mirror.advance(readable=True)
            pieces -= 1

    def beat(self):
        batch = self.store.batch()
        batch.put(keys.HEARTBEAT, codec.heartbeats.encode(Heartbeat(1, 2)))
        self.store.write(batch)

    def settle(self):
        """Fold all, and beat until the slot says that it is all right."""
        while not self.done:
            self.fold(5)
            self.advance()
        for _ in range(3):
            self.beat()
            self.advance()


def check(owner, **options):
    with owner.slot.client.calling() as raw:
        assert_mirrored(raw, owner.slot.name, all_rows(owner.store), "users", **options)


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


def test_a_slot_too_far_behind_gets_a_new_epoch(redis_client, redis):
    partition = records(random.Random(2), 5)
    owner = Owner(partition.records, Lasting(), redis_client)
    owner.fold(3)
    owner.advance()
    for _ in range(DELTAS_MAX + 1):
        partition.append([purchase()])
    while not owner.done:
        owner.fold(1)
    with redis_client.calling() as raw:
        epoch = raw.hget(owner.slot.name, "epoch")
        owner.advance()
        check(owner)
        assert raw.hget(owner.slot.name, "epoch") != epoch
    assert len(owner.store.deltas()) == DELTAS_MAX


@pytest.mark.parametrize("bound", ["REPLAY_ROWS_MAX", "REPLAY_BYTES_MAX"])
def test_a_replay_that_is_too_large_becomes_a_new_epoch(
    redis_client, redis, monkeypatch, bound
):
    owner = Owner(records(random.Random(2), 8).records, Lasting(), redis_client)
    owner.fold(3)
    owner.advance()
    monkeypatch.setattr(f"tables.redis_mirror.{bound}", 1)
    while not owner.done:
        owner.fold(1)
    with redis_client.calling() as raw:
        epoch = raw.hget(owner.slot.name, "epoch")
        owner.advance()
        check(owner)
        assert raw.hget(owner.slot.name, "epoch") != epoch


def test_steps_go_to_what_is_in_force_while_a_new_epoch_is_written(
    redis_client, redis, monkeypatch
):
    log = records(random.Random(3), 60).records
    owner = Owner(log, Lasting(), redis_client)
    owner.fold(30)
    rows_now = len(list(owner.store.scan(b"", b"\xff")))
    monkeypatch.setattr("tables.redis_mirror.COPY_ROWS_MAX", rows_now // 8)
    owner.advance()
    owner.slot.request()
    with redis_client.calling() as raw:
        epoch = raw.hget(owner.slot.name, "epoch")
        pieces = 0
        while raw.hget(owner.slot.name, "epoch") == epoch:
            pieces += 1
            owner.fold(1)
            owner.advance(1)
            rows = slot_rows(raw, owner.slot.name)
            assert rows[keys.PARTITION] == owner.store.get(keys.PARTITION)
        assert pieces > 3
        # At once, before a later answer could have led to another epoch.
        check(owner)
    owner.settle()
    check(owner)
    assert not owner.slot.state().requested


def test_rows_that_may_not_be_read_yet_make_no_epoch(redis_client, redis):
    owner = Owner(records(random.Random(4), 5).records, Lasting(), redis_client)
    owner.fold(2)
    owner.beat()
    owner.mirror.advance(readable=False)
    assert owner.slot.state().offset is None
    assert owner.slot.draft_rows()[0] == owner.store.get(keys.PARTITION)
    owner.beat()
    owner.advance()
    check(owner)


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


def test_a_slot_beyond_the_log_is_of_a_history_that_is_gone(redis_client, redis):
    log = records(random.Random(6), 40).records
    Owner(log, Lasting(), redis_client).settle()
    shorter = Owner(log[:20], Lasting(), redis_client)
    shorter.settle()
    check(shorter)
    assert shorter.slot.state().offset == 19


def test_a_slot_folded_otherwise_is_written_anew(redis_client, redis):
    log = records(random.Random(7), 10).records
    owner = Owner(log, Lasting(), redis_client)
    owner.settle()
    row = codec.partition_rows.decode(owner.store.get(keys.PARTITION))
    row.digest = "ff" * 16
    with redis_client.calling() as raw:
        epoch = raw.hget(owner.slot.name, "epoch").decode()
        other = codec.partition_rows.encode(row)
        raw.hset(f"{owner.slot.name}:{epoch}:rows", keys.PARTITION, other)
    owner.settle()
    check(owner)


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
    owner.mirror.advance(readable=True, behind_ms=3_600_000)
    assert 3_600_000 <= age_ms() < 3_660_000
    # What the step before said holds of the later one, too: it does not grow older.
    owner.fold(2)
    owner.mirror.advance(readable=True, behind_ms=7_200_000)
    assert 3_600_000 <= age_ms() < 3_660_000
    owner.fold(2)
    owner.mirror.advance(readable=True)
    assert age_ms() < 60_000


def test_a_draft_that_its_owner_left_is_taken_over(redis_client, redis, monkeypatch):
    monkeypatch.setattr("tables.redis_mirror.COPY_ROWS_MAX", 3)
    log = records(random.Random(9), 20).records
    store = Lasting()
    dead = Owner(log, store, redis_client)
    dead.fold(30)
    dead.advance(3)
    assert dead.mirror.copying
    owner = Owner(log, store, redis_client)
    owner.settle()
    check(owner)
    dead.advance(1)
    assert not dead.mirror.copying
    check(owner)


def test_an_epoch_that_is_behind_is_not_put_in_force_unless_asked_for(
    redis_client, redis
):
    log = records(random.Random(10), 20).records
    owner = Owner(log, Lasting(), redis_client)
    owner.settle()
    slot = owner.slot
    rows = {keys.PARTITION: b"\x01old"}
    assert slot.begin("late", 5)
    assert slot.fill("late", 5, 1, rows)
    assert not slot.swap("late", 5, force=False)
    check(owner)
    assert slot.begin("late", 5)
    assert not slot.begin("later", 4)
    assert slot.begin("other", 5)
    assert not slot.fill("late", 5, 1, rows)
    assert not slot.swap("late", 5, force=True)
    slot.request()
    assert slot.fill("other", 5, 1, rows)
    assert slot.swap("other", 5, force=False)
    assert slot.state() == slot.state()._replace(offset=5, requested=False, rows=1)


def test_what_comes_again_and_late_does_not_spoil_a_draft(redis_client, redis):
    owner = Owner(records(random.Random(10), 20).records, Lasting(), redis_client)
    slot = owner.slot
    user, other = keys.user("a", "u"), keys.user("a", "v")
    assert slot.begin("one", 5)
    assert slot.fill("one", 5, 2, {user: b"at 5", other: b"at 5"})
    # A step of the owner, to the draft; then what a cut connection held back.
    assert slot.fill("one", 6, 0, {user: b"at 6", keys.PARTITION: b"6"})
    assert slot.fill("one", 5, 2, {user: b"at 5", other: b"at 5"})
    assert slot.begin("one", 5)
    assert slot.swap("one", 6, force=False)
    assert slot.read([user, other]).values == [b"at 6", b"at 5"]


def test_a_draft_of_a_history_that_is_gone_blocks_nobody(redis_client, redis):
    owner = Owner(records(random.Random(10), 20).records, Lasting(), redis_client)
    slot = owner.slot
    assert slot.begin("gone", 1_000)
    assert not slot.begin("late", 5)
    assert slot.begin("forced", 5, force=True)
    assert slot.begin("gone", 1_000)
    slot.request()
    assert slot.begin("asked for", 5)


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
