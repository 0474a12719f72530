"""A worker is lost, or cut off and back: how long it takes, and that nothing is wrong.

    make failover TIMES=1 [SEED=...] [HEAL_S_MAX=3]

With the times that are in force, not with shorter ones: the last word on them is here.
"""

import os
import random
import time

import pytest

from streams.kafka_log import APPEND_TIMEOUT_S
from streams.topics import partition_of
from tests.crash.worker import PLAUDIT, wait_until
from tests.kafka.links import NamespaceLink, ProxyLink, has_namespaces
from tests.torture import judge
from tests.torture.load import ORG, PEOPLE
from tests.torture.reader import Quiet
from tests.torture.scaled import WORKERS, Scaled
from tests.torture.under_load import PARTITIONS, say

pytestmark = pytest.mark.slow
HEAL_S_MAX = float(os.environ.get("HEAL_S_MAX") or 3)
"""So long after the partitions moved a cut may last; beyond 30 s appends fail."""
TIMES = int(os.environ.get("TIMES") or 1)
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**9))
FAILOVER_S_MAX = 60
"""Generous: machines that test are slow. What it took is printed."""
UNHEARD_S = 8.0
"""For so long nobody can have taken what a worker had that is cut off: its session."""


@pytest.fixture
def start(tmp_path, monkeypatch, start_kafka, own_redis):
    """Return a function that starts it all, given a link for the second worker."""
    made = []

    def start(link=None):
        broker = start_kafka(listener=link and link.listener)
        scaled = Scaled(
            tmp_path, random.Random(SEED), SEED, broker, own_redis, monkeypatch, PLAUDIT
        )
        made.append(scaled)
        if link is not None:
            environ = {
                "PLAUDIT_KAFKA_BROKERS": link.address,
                "PLAUDIT_REDIS_URL": own_redis.socket_url,
            }
            scaled.give("second", prefix=link.prefix, environ=environ)
        scaled.begin()
        return scaled

    yield start
    for scaled in made:
        scaled.close()


@pytest.fixture(params=[NamespaceLink, ProxyLink])
def link(request):
    if request.param is NamespaceLink and not has_namespaces():
        pytest.skip("network namespaces are denied here; the proxy does the same")
    made = request.param()
    yield made
    made.close()


def users_of(scaled, name):
    """Wait until a worker has partitions of users; return them."""
    found = set()

    def has_some():
        # One that gave up is started again.
        scaled.worker(name)
        found.clear()
        found.update(p for p in scaled.places_of(name) if p[0] == "users")
        return found

    wait_until(has_some, what=f"{name}'s partitions")
    return set(found)


def finish(scaled):
    scaled.end()
    say(judge.check(scaled.folder, scaled.accepted.ids, scaled.reader))
    marked = scaled.reader.check_ages(scaled.quiet)
    say(", ".join(f"{n} {sort}" for sort, n in scaled.reader.counts().items()))
    scaled.check()
    scaled.replay()
    return marked


def test_a_worker_that_is_killed_is_replaced(start):
    say(f"\nfailover: TIMES={TIMES} SEED={SEED}")
    scaled = start()
    for number in range(2 * TIMES):
        name = WORKERS[number % 2]
        scaled.start_all()
        places = users_of(scaled, name)
        scaled.wait(0.5, 1.5)
        worker = scaled.worker(name)
        worker.kill()
        scaled.forget(name)
        seconds = scaled.seconds_until_moved(places)
        say(f"{len(places)} partitions of a killed worker move after {seconds:.1f} s")
        assert seconds < FAILOVER_S_MAX
    finish(scaled)


def test_a_worker_that_is_cut_off_does_no_harm(start, link):
    say(f"\ncut off: {type(link).__name__} TIMES={TIMES} SEED={SEED}")
    scaled = start(link)
    for _ in range(TIMES):
        places = users_of(scaled, "second")
        scaled.wait(0.5, 1.5)
        began_s = time.monotonic()
        link.cut()
        seconds = scaled.seconds_until_moved(places)
        say(f"{len(places)} partitions cut off move after {seconds:.1f} s")
        assert seconds < FAILOVER_S_MAX
        partitions = {number for _topic, number in places}
        people = {
            one for one in PEOPLE if partition_of(ORG, one, PARTITIONS) in partitions
        }
        scaled.quiet.append(Quiet(began_s, began_s + UNHEARD_S, people))
        # Nobody has told it: it still has what its successor has, too; unless appends
        # have failed for so long that it stopped.
        both = len(places & scaled.places_of("second"))
        say(f"{both} of them are still open where they were")
        assert both > 0 or time.monotonic() - began_s > APPEND_TIMEOUT_S
        scaled.wait(0.0, HEAL_S_MAX)
        link.heal()
        # It learns that it is out, lets go and joins again.
        wait_until(
            lambda: scaled.places_of("first") < set(scaled.folder.places()),
            what="the first gives partitions back",
        )
        assert users_of(scaled, "second")
    assert finish(scaled) > 0
