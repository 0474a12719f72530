"""Connections to Redis: what is refused, what is never said."""

import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tables import keys
from tables.errors import MirrorUnavailable, MirrorUnusable
from tables.redis_client import RedisClient
from tables.redis_mirrors import RedisMirrors

PASSWORD = "word"
"""As in docs/operator.md."""


def test_a_unix_socket_serves(own_redis, tmp_path):
    own_redis.stop()
    socket = tmp_path / "redis.sock"
    own_redis.start("--unixsocket", str(socket))
    client = RedisClient(f"unix://{socket}")
    client.check()
    with client.calling() as raw:
        assert raw.ping()
    client.close()


def test_a_connection_that_redis_closed_is_opened_again(own_redis):
    client = RedisClient(own_redis.url)
    client.check()
    own_redis.stop()
    with pytest.raises(MirrorUnavailable):
        client.check()
    own_redis.start()
    client.check()
    # One that was in the pool all the while fails once, and is tried anew unseen.
    own_redis.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    client.check()
    client.close()


def test_while_redis_hangs_one_asks_and_the_others_are_told_at_once(own_redis):
    client = RedisClient(own_redis.url, answer_timeout_s=1.0)
    client.check()
    pid = int(own_redis.ask("INFO", "server")["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(MirrorUnavailable, match="does not answer: Timeout"):
            client.check()
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(client.check) for _ in range(4)]
        said = [str(each.exception()) for each in asked]
        assert sum("Timeout" in one for one in said) == 1
        assert sum("it is asked again" in one for one in said) == 3
    finally:
        os.kill(pid, signal.SIGCONT)
    client.check()
    client.close()


def test_who_is_refused_has_been_answered(own_redis):
    client = RedisClient(own_redis.url)
    own_redis.ask("CONFIG", "SET", "requirepass", "secret")
    for _ in range(2):
        with pytest.raises(MirrorUnusable, match="correct the user and the password"):
            client.check()
    client.close()


def test_a_database_that_redis_does_not_have_is_refused(own_redis):
    client = RedisClient(own_redis.url.removesuffix("0") + "99")
    with pytest.raises(MirrorUnusable, match="correct the database's number"):
        client.check()
    client.close()


def test_a_full_redis_and_a_replica_say_what_they_are_and_are_read(own_redis):
    client = RedisClient(own_redis.url)
    slot = RedisMirrors(client, "ab" * 16).slot("users", 0)
    assert slot.begin("one", 0)
    assert slot.swap("one", 0, force=False)
    own_redis.ask("CONFIG", "SET", "maxmemory", 1)
    with pytest.raises(MirrorUnavailable, match="is full: raise its maxmemory"):
        slot.step(1, 1, {keys.user("a", "u"): b"\x01"})
    assert slot.read([keys.user("a", "u")]).values == [None]
    own_redis.ask("CONFIG", "SET", "maxmemory", 0)
    own_redis.ask("REPLICAOF", "127.0.0.1", 1)
    with pytest.raises(MirrorUnavailable, match="name the primary"):
        slot.step(1, 1, {keys.user("a", "u"): b"\x01"})
    assert slot.read([keys.user("a", "u")]).values == [None]
    own_redis.ask("REPLICAOF", "NO", "ONE")
    assert slot.step(1, 1, {keys.user("a", "u"): b"\x01"}).verdict == "OK"
    client.close()


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random"])
def test_a_server_that_may_evict_is_refused(own_redis, policy):
    own_redis.ask("CONFIG", "SET", "maxmemory-policy", policy)
    client = RedisClient(own_redis.url)
    with pytest.raises(MirrorUnusable, match=f"noeviction \\(it is {policy}\\)"):
        client.check()
    own_redis.ask("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
    client.check()
    client.close()


def test_a_user_needs_no_more_than_the_guide_says(own_redis):
    guide = (Path(__file__).parents[2] / "docs" / "operator.md").read_text()
    rules = re.search(r"`(ACL SETUSER [^`]+)`", guide)[1].split()
    own_redis.ask(*rules)
    client = RedisClient(own_redis.url.replace("//", f"//plaudit:{PASSWORD}@"))
    client.check()
    slot = RedisMirrors(client, "ab" * 16).slot("users", 0)
    rows = {keys.PARTITION: b"\x01", keys.user("a", "u"): b"\x01"}
    assert slot.begin("one", 0)
    assert slot.fill("one", 0, 1, rows)
    assert slot.swap("one", 0, force=False)
    assert slot.step(1, 1, {keys.result("r"): b"\x01"}).verdict == "OK"
    assert slot.beat(1, b"\x01", b"\x01").verdict == "OK"
    assert slot.read([keys.result("r")]).values == [b"\x01"]
    slot.request()
    assert slot.state().requested
    assert slot.draft_rows()[:2] == (None, None)
    slot.sweep()
    slot.clear()
    assert slot.read([keys.result("r")]).values == [b"\x01"]
    client.close()


def test_a_user_without_rights_is_refused(own_redis):
    own_redis.ask("ACL", "SETUSER", "poor", "on", ">word", "~*", "+ping")
    url = own_redis.url.replace("//", "//poor:word@")
    client = RedisClient(url)
    with pytest.raises(MirrorUnusable, match="what the user may do") as said:
        client.check()
    assert ":word@" not in str(said.value)
    client.close()
