"""Kill it again and again, under load; then compare with the oracle.

    make torture KILLS=25 [SEED=...]
    make torture-kafka KILLS=8 [SEED=...]

The workers die by kill -9 at every fault point and at random instants, the APIs in
mid-request, and once the tables of a worker are lost. Where the log is on a broker and
reads come from Redis, both are stopped, killed and emptied, too. A reader looks all the
while: every answer must be a state that was, marked with its age where it is old.
"""

import os
import random

import pytest

from tests.torture import judge
from tests.torture.embedded import Embedded
from tests.torture.impatient import BROKER_SETTINGS
from tests.torture.scaled import Scaled
from tests.torture.under_load import say

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("KILLS") or 3)
SEED = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**9))


@pytest.fixture(params=["embedded", "scaled"])
def torture(request, tmp_path, monkeypatch):
    rng = random.Random(SEED)
    if request.param == "embedded":
        made = Embedded(tmp_path, rng, SEED)
    else:
        broker = request.getfixturevalue("start_kafka")(settings=BROKER_SETTINGS)
        redis = request.getfixturevalue("own_redis")
        made = Scaled(tmp_path, rng, SEED, broker, redis, monkeypatch)
    yield made
    made.close()


def blows(rng, points, mishaps):
    """Return what is done, in order: every fault point as far as KILLS allows."""
    points = rng.sample(points, min(len(points), max(1, KILLS // 2)))
    apis = max(1, KILLS // 5)
    plan = [("kill_worker_at", point) for point in points] + [("kill_api",)] * apis
    plan += [("kill_worker",)] * max(0, KILLS - len(plan))
    plan += mishaps
    rng.shuffle(plan)
    return plan


def test_nothing_is_lost_or_doubled(torture):
    say(f"\ntorture: {type(torture).__name__} KILLS={KILLS} SEED={SEED}")
    rng = torture.rng
    plan = blows(rng, torture.points, torture.mishaps)
    loss = rng.randrange(len(plan))
    torture.begin()
    for number, (blow, *arguments) in enumerate(plan):
        say(f"{number + 1:3} {blow} {' '.join(arguments)}")
        if number == loss:
            say("    tables are lost")
            torture.lose_tables()
        if number % 4 == 0:
            torture.edit()
        getattr(torture, blow)(*arguments)
    torture.end()
    say(judge.check(torture.folder, torture.accepted.ids, torture.reader))
    marked = torture.reader.check_ages(torture.quiet)
    assert marked or not torture.quiet
    say(f"{torture.accepted.unanswered} requests without an answer")
    say(", ".join(f"{n} {sort}" for sort, n in torture.reader.counts().items()))
    torture.check()
    # A replay of the whole log makes the same rows, ids of entries included.
    torture.replay()
    judge.check(torture.folder, torture.accepted.ids, torture.reader)
