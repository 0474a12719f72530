"""New epochs of a slot: when one is written, by whom, and what is put in force."""

import random

import pytest

from tables import codec, keys
from tables.mirror import DELTAS_MAX
from tests.mirrored import slot_rows
from tests.partition import purchase
from tests.property.mirror_owner import Lasting, Owner, check, records, settled


def assert_follows_by_a_new_epoch(owner, redis_client):
    """Fold the rest; let the mirror follow and see that it wrote a new epoch."""
    while not owner.done:
        owner.fold(1)
    with redis_client.calling() as raw:
        epoch = raw.hget(owner.slot.name, "epoch")
        owner.advance()
        check(owner)
        assert raw.hget(owner.slot.name, "epoch") != epoch


def test_a_slot_too_far_behind_gets_a_new_epoch(redis_client, redis):
    partition = records(random.Random(2), 5)
    owner = Owner(partition.records, Lasting(), redis_client)
    owner.fold(3)
    owner.advance()
    for _ in range(DELTAS_MAX + 1):
        partition.append([purchase()])
    assert_follows_by_a_new_epoch(owner, redis_client)
    assert len(owner.store.deltas()) == DELTAS_MAX


@pytest.mark.parametrize("bound", ["REPLAY_ROWS_MAX", "REPLAY_BYTES_MAX"])
def test_a_replay_that_is_too_large_becomes_a_new_epoch(
    redis_client, redis, monkeypatch, bound
):
    owner = Owner(records(random.Random(2), 8).records, Lasting(), redis_client)
    owner.fold(3)
    owner.advance()
    monkeypatch.setattr(f"tables.redis_mirror.{bound}", 1)
    assert_follows_by_a_new_epoch(owner, redis_client)


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


def test_epochs_whose_names_were_lost_are_removed(redis_client, redis):
    owner, _base = settled(redis_client)
    others = [f"{owner.slot.name}5:ab:rows", f"x{owner.slot.name}:ab:rows", "users:1"]
    with redis_client.calling() as raw:
        for other in others:
            raw.set(other, "somebody's")
        for _ in range(3):
            # As an eviction does.
            raw.delete(owner.slot.name)
            owner.beat()
            owner.settle()
            assert raw.exists(*others) == len(others)
            # It looks like a stray of the slot to who compares.
            raw.delete(others[0])
            check(owner)
            raw.set(others[0], "somebody's")


def test_a_zombie_removes_no_draft_of_its_successor(redis_client, redis):
    owner, _base = settled(redis_client)
    assert owner.slot.begin("ab" * 8, owner.store.applied)
    owner.slot.sweep()
    rows = {b"k": b"v"}
    assert owner.slot.fill("ab" * 8, owner.store.applied, 1, rows)
