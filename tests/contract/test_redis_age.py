"""How old the mirror's answers are, and when an owner was heard of."""

import os
import signal
import threading
import time

import pytest

from tables import codec, keys
from tables.clock import monotonic_ms, wall_clock_ms
from tables.codec import Heartbeat
from tables.errors import MirrorUnavailable
from tables.redis_client import RedisClient
from tables.redis_slot import UNKNOWN_AGE_MS, RedisSlot
from tables.redis_view import RedisView
from tests.contract.redis_slots import LOG_ID, ROW, Slots
from tests.contract.view_contract import PARTITIONS

DEADLINE_S = 20.0


@pytest.fixture
def slots(redis_client):
    return Slots(redis_client)


@pytest.fixture
def view(redis):
    view = RedisView(RedisClient(redis.url), LOG_ID, PARTITIONS)
    yield view
    view.close()


def test_an_owner_is_heard_of_by_the_clock_of_redis(slots, view, redis_client, redis):
    slot = RedisSlot(redis_client, LOG_ID, "users", 0)

    def is_now(beat):
        return abs(wall_clock_ms() - beat.wall_ms) < 5_000

    for hours_off in (-1, 1):
        its_ms = wall_clock_ms() + hours_off * 3_600_000
        row = codec.heartbeats.encode(Heartbeat(1, its_ms))
        slot.beat(0, ROW, row)
        assert is_now(view.draft("users", 0).heartbeat)
        # Behind what is in force, the owner lives all the same.
        slots.begin("users", 0, {keys.PARTITION: ROW, keys.HEARTBEAT: row})
        assert slot.beat(-1, ROW, row).verdict == "AHEAD"
        assert is_now(view.heartbeat("users", 0))
        seconds, _micros = redis.ask("TIME")
        redis.ask("HSET", slot.name, "beat_at", (int(seconds) - 60) * 1_000)
        silent_ms = wall_clock_ms() - view.heartbeat("users", 0).wall_ms
        assert 60_000 <= silent_ms < 90_000
        redis.ask("DEL", slot.name)


def test_an_owner_that_catches_up_is_heard_of(slots, redis, redis_client):
    slots.begin("users", 0, {keys.PARTITION: ROW})
    slot = RedisSlot(redis_client, LOG_ID, "users", 0)
    beat = codec.heartbeats.encode(Heartbeat(1, 2))
    signs = set()
    for _ in range(3):
        assert slot.beat(0, ROW, beat, UNKNOWN_AGE_MS).verdict == "OK"
        signs.add(slot.state().sign)
        at = int(redis.ask("HGET", slot.name, "beat_at"))
        redis.ask("HSET", slot.name, "beat_at", at - 1_000 * len(signs))
    assert len(signs) == 3


def test_the_age_is_that_of_the_oldest_answer(redis, slots, view, redis_client):
    slots.begin("users", 0)
    slots.begin("users", 1)
    slots.put("users", 1, {keys.PARTITION: ROW})
    slot = RedisSlot(redis_client, LOG_ID, "users", 0)
    view.users(0, "acme", ["alice"])
    assert view.age_ms() < 5_000
    seconds, _micros = redis.ask("TIME")
    redis.ask("HSET", slot.name, "at", (int(seconds) - 60) * 1_000)
    view.users(0, "acme", ["alice"])
    view.position("users", 1)
    assert 60_000 <= view.age_ms() < 90_000
    assert view.age_ms() == 0
    view.position("users", 1)
    assert view.age_ms() < 5_000


def test_an_owner_that_the_log_does_not_reach_lets_its_rows_grow_old(
    redis, slots, view, redis_client
):
    slots.begin("users", 0)
    slots.put("users", 0, {keys.PARTITION: ROW})
    slot = RedisSlot(redis_client, LOG_ID, "users", 0)
    offset = int(redis.ask("HGET", slot.name, "offset"))
    beat = codec.heartbeats.encode(Heartbeat(1, 2))
    seconds, _micros = redis.ask("TIME")
    redis.ask("HSET", slot.name, "at", (int(seconds) - 60) * 1_000)
    assert slot.beat(offset, ROW, beat, 90_000).verdict == "OK"
    view.position("users", 0)
    assert 60_000 <= view.age_ms() < 90_000
    assert slot.beat(offset, ROW, beat, 30_000).verdict == "OK"
    view.position("users", 0)
    assert 30_000 <= view.age_ms() < 60_000
    assert slot.beat(offset, ROW, beat).verdict == "OK"
    view.position("users", 0)
    assert view.age_ms() < 5_000


def test_what_waited_in_a_redis_that_hangs_is_as_old_as_when_it_was_sent(own_redis):
    client = RedisClient(own_redis.url, answer_timeout_s=0.5)
    slot = RedisSlot(client, LOG_ID, "users", 0)
    assert slot.begin("one", 0)
    assert slot.fill("one", 0, 1, {keys.PARTITION: ROW})
    assert slot.swap("one", 0, force=False)
    # Redis knows the script from now on: what waits for it is one call.
    assert slot.step(1, 1, {keys.PARTITION: ROW}).verdict == "OK"
    pid = int(own_redis.ask("INFO", "server")["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        sent_ms = monotonic_ms()
        with pytest.raises(MirrorUnavailable):
            slot.step(2, 2, {keys.PARTITION: ROW})
    finally:
        os.kill(pid, signal.SIGCONT)
    # Nobody waits for it any more, and it is done all the same.
    deadline = time.monotonic() + DEADLINE_S
    while slot.state().offset != 2:
        assert time.monotonic() < deadline
    waited_ms = monotonic_ms() - sent_ms
    assert waited_ms >= 500
    assert slot.read([]).age_ms >= waited_ms - 10
    client.close()


def test_the_age_belongs_to_the_thread_that_read(redis, slots, view, redis_client):
    slots.begin("users", 0)
    redis.ask("HSET", RedisSlot(redis_client, LOG_ID, "users", 0).name, "at", 1_000)
    thread = threading.Thread(target=view.users, args=(0, "acme", ["alice"]))
    thread.start()
    thread.join(DEADLINE_S)
    assert view.age_ms() == 0


def test_a_tally_is_as_old_as_its_oldest_partition(redis, slots, view, redis_client):
    for number in range(PARTITIONS):
        slots.begin("users", number)
    slot = RedisSlot(redis_client, LOG_ID, "users", PARTITIONS - 1)
    seconds, _micros = redis.ask("TIME")
    redis.ask("HSET", slot.name, "at", (int(seconds) - 60) * 1_000)
    assert view.tally("acme", "b1") is None
    assert 60_000 <= view.age_ms() < 90_000
