"""Slots that somebody else wrote over: 503 for readers, written anew by their owner."""

import contextlib

import pytest

from tables import codec, keys
from tables.codec import Heartbeat
from tables.errors import MirrorSpoiled, ViewUnavailable
from tables.redis_client import RedisClient
from tables.redis_mirrors import RedisMirrors
from tables.redis_slot import UNKNOWN_AGE_MS
from tables.redis_view import RedisView
from tests.mirrored import slot_rows
from tests.partition import LOG_ID
from tests.property.mirror_owner import Lasting, Owner, check, settled

STRAY = b"\x7fnot ours"
"""A row that only a new epoch does not have."""


def of_another_type(name, *command):
    """Return what puts a key of another type in the place of one of the slot's."""

    def spoil(raw, slot, base):
        key = {"slot": slot, "rows": f"{base}:rows", "order": f"{base}:order"}[name]
        raw.delete(key)
        raw.execute_command(command[0], key, *command[1:])

    return spoil


def with_field(name, value):
    """Return what sets a field of the slot's hash."""
    return lambda raw, slot, _base: raw.hset(slot, name, value)


def without(name):
    """Return what removes a field of the slot's hash."""
    return lambda raw, slot, _base: raw.hdel(slot, name)


UNREADABLE = {
    "slot is a string": of_another_type("slot", "SET", "x"),
    "slot is a list": of_another_type("slot", "LPUSH", "x"),
    "rows are a string": of_another_type("rows", "SET", "x"),
    "order is a hash": of_another_type("order", "HSET", "x", "y"),
    "order is a list": of_another_type("order", "LPUSH", "x"),
    "no time": without("at"),
    "odd time": with_field("at", "noon"),
    "empty time": with_field("at", ""),
    # Lua takes the next ones for numbers.
    "time that is no number": with_field("at", "nan"),
    "huge time": with_field("at", "1e300"),
    "no offset": without("offset"),
    "odd offset": with_field("offset", "far"),
    "offset that is no number": with_field("offset", "nan"),
    "hexadecimal offset": with_field("offset", "0x2"),
    "huge offset": with_field("offset", "1e300"),
    "long offset": with_field("offset", "9" * 5_000),
    "half an offset": with_field("offset", "12.5"),
    "no epoch": without("epoch"),
    "odd epoch": with_field("epoch", b"\xff\xfe"),
}


def draft_of(**fields):
    """Return what leaves a draft of nobody, and asks for a new epoch."""
    wrong = {"draft": "ab", "request": "1", **fields}
    return lambda raw, slot, _base: raw.hset(slot, mapping=wrong)


READABLE = {
    "odd draft": draft_of(draft_offset="far", copied=0),
    "draft without a position": draft_of(copied=0),
    "offset far ahead": with_field("offset", 10**9),
}
SPOIL = UNREADABLE | READABLE


def spoiled(redis_client, spoil):
    """Return the owner of a slot that was written over."""
    owner, base = settled(redis_client)
    with redis_client.calling() as raw:
        raw.hset(f"{base}:rows", STRAY, "x")
        spoil(raw, owner.slot.name, base)
    return owner


@pytest.fixture
def view(redis):
    view = RedisView(RedisClient(redis.url), LOG_ID, 1)
    yield view
    view.close()


@pytest.mark.parametrize("spoil", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_readers_get_no_answer(redis_client, redis, view, spoil):
    spoiled(redis_client, spoil)
    for ask in (
        lambda: view.position("users", 0),
        lambda: view.users(0, "acme", ["alice"]),
        lambda: view.entries(0, "acme", "alice", below=None, limit=1),
        lambda: view.tally("acme", "b1"),
    ):
        with pytest.raises(ViewUnavailable):
            ask()


@pytest.mark.parametrize("spoil", SPOIL.values(), ids=SPOIL.keys())
@pytest.mark.parametrize("asked", [False, True], ids=["", "and a request"])
def test_its_owner_writes_it_anew_at_once(redis_client, redis, view, spoil, asked):
    owner = spoiled(redis_client, spoil)
    if asked:
        # As `plaudit mirror rebuild` does, which then watches.
        owner.slot.request()
        owner.slot.state()
    owner.beat()
    # It fails once, and says so; what is tried again is well.
    with contextlib.suppress(MirrorSpoiled):
        owner.advance()
    owner.advance()
    owner.settle()
    check_anew(owner)
    assert view.position("users", 0).offset == owner.store.applied


def check_anew(owner):
    """Fail unless the slot is of a new epoch and holds its owner's rows alone."""
    with owner.slot.client.calling() as raw:
        assert STRAY not in slot_rows(raw, owner.slot.name)
    check(owner)
    state = owner.slot.state()
    assert (state.offset, state.requested) == (owner.store.applied, False)


FIELDS_OF_A_DRAFT = {
    "odd position": {"draft_offset": "far"},
    "odd count": {"copied": "many"},
}


@pytest.mark.parametrize("fields", FIELDS_OF_A_DRAFT.values(), ids=FIELDS_OF_A_DRAFT)
def test_a_draft_that_is_spoiled_is_begun_anew(
    redis_client, redis, monkeypatch, fields
):
    monkeypatch.setattr("tables.redis_mirror.COPY_ROWS_MAX", 3)
    owner, _base = settled(redis_client)
    owner.slot.request()
    owner.beat()
    owner.advance(2)
    assert owner.mirror.copying
    with redis_client.calling() as raw:
        raw.hset(owner.slot.name, mapping=fields)
    with pytest.raises(MirrorSpoiled):
        owner.advance()
    owner.settle()
    check(owner)


def test_who_clears_late_clears_nothing_that_was_mended(redis_client, redis):
    """A zombie found it spoiled; its successor mends it before the zombie clears."""
    owner = spoiled(redis_client, UNREADABLE["odd offset"])
    zombie = Owner(owner.log, Lasting(), redis_client)
    owner.beat()
    with pytest.raises(MirrorSpoiled):
        owner.advance()
    owner.settle()
    assert owner.slot.begin("ab" * 8, owner.store.applied)
    with redis_client.calling() as raw:
        before = raw.hgetall(owner.slot.name)
        zombie.slot.clear()
        assert raw.hgetall(owner.slot.name) == before
    assert owner.slot.fill("ab" * 8, owner.store.applied, 0, {})


def test_a_zombie_that_mends_is_harmless(redis_client, redis):
    """It is behind: what it writes is replaced as soon as its successor is heard of."""
    owner = spoiled(redis_client, UNREADABLE["slot is a string"])
    zombie = Owner(owner.log, Lasting(), redis_client)
    zombie.fold(3)
    with pytest.raises(MirrorSpoiled):
        zombie.advance()
    zombie.advance()
    assert zombie.slot.state().offset == zombie.store.applied < owner.store.applied
    owner.settle()
    zombie.beat()
    zombie.advance()
    check(owner)


@pytest.mark.parametrize("value", [b"", b"zz", b"\x01["])
def test_a_row_that_cannot_be_read_is_unavailable(redis_client, redis, view, value):
    _owner, base = settled(redis_client)
    with redis_client.calling() as raw:
        for key in raw.hkeys(f"{base}:rows"):
            raw.hset(f"{base}:rows", key, value)
    for ask in (
        lambda: view.position("users", 0),
        lambda: view.counters("users", 0),
        lambda: view.users(0, "acme", ["alice", "bob", "carol"]),
        lambda: view.entries(0, "acme", "alice", below=None, limit=9),
        lambda: view.tally("acme", "b1"),
    ):
        with pytest.raises(ViewUnavailable, match="users-0"):
            ask()


def test_a_draft_whose_rows_cannot_be_read_is_unavailable(redis_client, redis, view):
    slot = RedisMirrors(redis_client, LOG_ID).slot("users", 0)
    slot.beat(0, b"odd", b"odd")
    with pytest.raises(ViewUnavailable):
        view.draft("users", 0)


def test_a_time_that_is_to_come_does_not_call_old_rows_fresh(redis_client, redis, view):
    """As after a failover to a Redis whose clock is behind."""
    owner, _base = settled(redis_client)
    seconds, _micros = redis.ask("TIME")

    def put_ahead():
        redis.ask("HSET", owner.slot.name, "at", (int(seconds) + 3_600) * 1_000)

    def is_now():
        at = int(redis.ask("HGET", owner.slot.name, "at"))
        return at < (int(seconds) + 60) * 1_000

    beat = codec.heartbeats.encode(Heartbeat(1, 2))
    row, applied = owner.store.get(keys.PARTITION), owner.store.applied
    put_ahead()
    assert owner.slot.read([]).age_ms == UNKNOWN_AGE_MS
    # What lies ahead says nothing of what is older than the owner knows.
    assert owner.slot.beat(applied, row, beat, 60_000).verdict == "OK"
    assert 60_000 <= owner.slot.read([]).age_ms < 90_000
    put_ahead()
    assert owner.slot.beat(applied, row, beat).verdict == "OK"
    assert is_now()
    put_ahead()
    step = owner.slot.step(applied + 1, applied + 1, {keys.PARTITION: row})
    assert step.verdict == "OK"
    assert is_now()
