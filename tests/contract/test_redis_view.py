"""The view over the mirror: the contract, and what only a mirror has."""

import threading
import time

import pytest

from rules.state import Lot, UserState
from tables import codec, keys
from tables.codec import Heartbeat, Tally
from tables.errors import ViewUnavailable
from tables.memory import MemoryStore
from tables.mirror import MirroredStore
from tables.redis_client import RedisClient, RedisClients
from tables.redis_mirror import RedisMirror
from tables.redis_mirrors import RedisMirrors
from tables.redis_slot import TOGETHER_MAX, RedisSlot
from tables.redis_view import RedisView
from tests.contract.redis_slots import LOG_ID, ROW, Slots
from tests.contract.view_contract import PARTITIONS, ViewContract

DEADLINE_S = 20.0


@pytest.fixture
def slots(redis_client):
    return Slots(redis_client)


@pytest.fixture
def view(redis):
    view = RedisView(RedisClient(redis.url), LOG_ID, PARTITIONS)
    yield view
    view.close()


class TestRedisView(ViewContract):
    knows_seen_ids = False

    @pytest.fixture
    def put(self, slots):
        for topic, partition in [("users", 0), ("users", 1), ("orgs", 0)]:
            slots.begin(topic, partition)
        return slots.put


class TestRedisViewOfSeveral(TestRedisView):
    """Two Redis that share the partitions; each has its own alone."""

    @pytest.fixture
    def clients(self, redis, own_redis):
        clients = RedisClients(f"{redis.url},{own_redis.url}")
        yield clients
        clients.close()

    @pytest.fixture
    def slots(self, clients):
        return Slots(clients)

    @pytest.fixture
    def view(self, clients):
        return RedisView(clients, LOG_ID, PARTITIONS)

    def test_each_has_the_slots_of_its_partitions(self, put, redis, own_redis):
        put("users", 0, {})
        for server, places in (
            (redis, ["orgs/0", "users/0"]),
            (own_redis, ["users/1"]),
        ):
            with RedisClient(server.url).calling() as raw:
                names = {
                    key.decode().split("}")[0] for key in raw.scan_iter("plaudit*")
                }
            assert names == {f"plaudit:{{{LOG_ID}/{place}" for place in places}


def calls(view):
    return [
        lambda: view.users(0, "acme", ["alice"]),
        lambda: view.entries(0, "acme", "alice", below=None, limit=1),
        lambda: view.notifications(0, "acme", "alice", below=None, limit=1),
        lambda: view.result("orgs", 0, "cmd_1"),
        lambda: view.tally("acme", "b1"),
        lambda: view.config_version("acme"),
        lambda: view.config_row("acme", "rule", "r"),
        lambda: view.config_rows("acme", "rule"),
        lambda: view.position("users", 1),
        lambda: view.heartbeat("users", 1),
        lambda: view.counters("users", 1),
    ]


def test_no_epoch_is_unavailable_and_nothing_is_created(redis, view):
    for call in calls(view):
        with pytest.raises(ViewUnavailable):
            call()
    assert view.draft("users", 0) is None
    assert redis.ask("DBSIZE") == 0


@pytest.mark.parametrize("evicted", ["rows", "order"])
@pytest.mark.parametrize("grows_anew", [False, True])
def test_an_epoch_that_redis_evicted_is_unavailable(
    redis, slots, view, evicted, grows_anew
):
    slots.begin("users", 0)
    assert view.users(0, "acme", ["alice"]) == [None]
    for key in redis.ask("KEYS", f"*:{evicted}"):
        redis.ask("DEL", key)
        if grows_anew:
            write = {"rows": "HSET", "order": "ZADD"}[evicted]
            redis.ask(write, key, 0, keys.user("acme", "alice"))
    for call in calls(view)[:3]:
        with pytest.raises(ViewUnavailable, match="no epoch"):
            call()


@pytest.mark.parametrize("evicted", ["rows", "order"])
def test_a_draft_that_redis_evicted_never_comes_into_force(redis_client, evicted):
    slot = RedisMirrors(redis_client, LOG_ID).slot("users", 0)
    rows = {keys.PARTITION: b"\x01", keys.user("acme", "alice"): b"\x01"}
    assert slot.begin("one", 0)
    assert slot.fill("one", 0, 2, rows)
    with redis_client.calling() as raw:
        raw.delete(f"{slot.name}:one:{evicted}")
    assert not slot.fill("one", 1, 0, rows)
    assert not slot.swap("one", 1, force=True)
    assert slot.read([]) is None


def test_redis_away_is_unavailable_and_then_back(own_redis):
    client = RedisClient(own_redis.url)
    view = RedisView(RedisClient(own_redis.url, answer_timeout_s=1.0), LOG_ID, 2)
    Slots(client).begin("users", 0)
    assert view.users(0, "acme", ["alice"]) == [None]
    own_redis.stop()
    for call in [*calls(view), lambda: view.draft("users", 0)]:
        with pytest.raises(ViewUnavailable):
            call()
    own_redis.start()
    with pytest.raises(ViewUnavailable, match="no epoch"):
        view.users(0, "acme", ["alice"])
    Slots(client).begin("users", 0)
    assert view.users(0, "acme", ["alice"]) == [None]
    view.close()
    client.close()


def test_redis_that_hangs_is_unavailable_in_bounded_time(own_redis):
    Slots(client := RedisClient(own_redis.url)).begin("users", 0)
    view = RedisView(RedisClient(own_redis.url, answer_timeout_s=0.1), LOG_ID, 1)
    assert view.users(0, "acme", ["alice"]) == [None]
    own_redis.ask("CLIENT", "PAUSE", "60000", "ALL")
    began = time.monotonic()
    with pytest.raises(ViewUnavailable):
        view.users(0, "acme", ["alice"])
    assert time.monotonic() - began < DEADLINE_S
    view.close()
    client.close()


def test_redis_that_is_full_is_still_read(own_redis):
    client = RedisClient(own_redis.url)
    view = RedisView(RedisClient(own_redis.url), LOG_ID, 1)
    Slots(client).begin("users", 0)
    own_redis.ask("CONFIG", "SET", "maxmemory", "1")
    assert view.users(0, "acme", ["alice"]) == [None]
    view.close()
    client.close()


def test_a_draft_shows_how_far_its_owner_is(slots, view, redis_client):
    beat = codec.heartbeats.encode(Heartbeat(1, 2))
    slot = RedisSlot(redis_client, LOG_ID, "users", 0)
    assert slot.beat(0, ROW, beat).verdict == "GONE"
    position, heartbeat = view.draft("users", 0)
    assert position == codec.partition_rows.decode(ROW)
    assert heartbeat.beat == 1
    with pytest.raises(ViewUnavailable):
        view.position("users", 0)
    slots.begin("users", 0)
    assert view.draft("users", 0) is None


TALLY = {keys.tally("acme", "b1"): codec.tallies.encode(Tally(1, 2, 3, 4))}


def test_a_tally_takes_few_round_trips(own_redis):
    count = 2 * TOGETHER_MAX + 44
    slots = Slots(client := RedisClient(own_redis.url))
    for number in range(count):
        slots.begin("users", number)
    for number in (0, TOGETHER_MAX, count - 1):
        slots.put("users", number, TALLY)
    view = RedisView(RedisClient(own_redis.url), LOG_ID, count)
    assert view.tally("acme", "b1") == Tally(3, 6, 9, 12)

    def stood(section, name):
        return own_redis.ask("INFO", section)[name]

    reads = stood("stats", "total_reads_processed")
    scripts = stood("commandstats", "cmdstat_evalsha")["calls"]
    assert view.tally("acme", "b1") == Tally(3, 6, 9, 12)
    scripts = stood("commandstats", "cmdstat_evalsha")["calls"] - scripts
    reads = stood("stats", "total_reads_processed") - reads
    assert scripts == count
    # Three of many slots each and three for the script, some in two pieces; what
    # this test itself asks comes on top.
    assert reads < 30
    view.close()
    client.close()


def test_a_tally_needs_an_epoch_in_every_partition(slots, redis_client, redis):
    view = RedisView(RedisClient(redis.url), LOG_ID, 3)
    for number in (0, 2):
        slots.begin("users", number)
        slots.put("users", number, TALLY)
    with pytest.raises(ViewUnavailable, match=r"users/1.* has no epoch in force"):
        view.tally("acme", "b1")
    slots.begin("users", 1)
    assert view.tally("acme", "b1") == Tally(2, 4, 6, 8)
    view.close()


def test_users_and_lots_belong_together_while_the_owner_writes(slots, view):
    slots.begin("users", 0)
    part = keys.user_part("acme", "alice")
    lot_key = keys.lot(part, "points", 1, 1)
    torn, seen, done = [], set(), threading.Event()

    def read():
        while not done.is_set():
            [found] = view.users(0, "acme", ["alice"])
            if found is not None:
                seen.add(found.state.points)
                if [lot.remaining for lot in found.lots] != [found.state.points]:
                    torn.append(found)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(1, 1_500):
        state = UserState(0, 0, points=number, next_expiry_ms=1)
        rows = {
            keys.user("acme", "alice"): codec.states.encode(state),
            lot_key: codec.lots.encode(Lot("points", 1, 1, number)),
        }
        slots.put("users", 0, rows)
    done.set()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert torn == []
    assert len(seen) > 3


def test_readers_meet_the_old_epoch_or_the_new_one(redis_client, view):
    """Epochs follow each other as fast as they can; a list is never half."""
    kinds = keys.read_kinds("users")
    store = MirroredStore(MemoryStore(), kinds)
    slot = RedisSlot(redis_client, LOG_ID, "users", 0)
    mirror = RedisMirror(slot, store, kinds, lambda: 1, lambda _next_offset: 0)
    batch = store.batch()
    for number in range(50):
        key = keys.notification(keys.user_part("acme", "alice"), number + 1)
        note = codec.Notification(f"n{number}", number + 1, "", "", "", {}, 1)
        batch.put(key, codec.notifications.encode(note))
    batch.put(keys.PARTITION, ROW)
    store.write(batch)
    while mirror.pending:
        mirror.advance(readable=True)
    halves, reads, done = [], [], threading.Event()

    def read():
        while not done.is_set():
            page = view.notifications(0, "acme", "alice", below=None, limit=99)
            reads.append(len(page))
            if len(page) != 50:
                halves.append(page)

    thread = threading.Thread(target=read)
    thread.start()
    for number in range(200):
        slot.request()
        mirror.take_beat(codec.heartbeats.encode(Heartbeat(number, 1)))
        while mirror.pending:
            mirror.advance(readable=True)
    done.set()
    thread.join(DEADLINE_S)
    assert halves == []
    assert len(reads) > 10


def test_unknown_partition_is_an_error_of_the_caller(view):
    with pytest.raises(KeyError):
        view.users(PARTITIONS, "acme", [])
