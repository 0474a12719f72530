"""How soon a killed worker's partitions go on at the other one, and how fast replay is.

Failover: one worker alone folds everybody's first action, so its disk holds every
partition. A second one joins and takes its share, by replay. Then, under a paced load,
the second one is killed, and the clock runs until every partition moves again and is no
further behind than it was before. Most of it is Kafka's own wait for the killed member
(`bench.kafka.contender.SESSION_S`); the first one's rows are as old as the second one's
stay, and are folded on from there. From a snapshot: the first one never had the second
one's partitions, and restores a snapshot that is some minutes of actions old.

Replay: all is folded and committed; then a worker with an empty folder folds the log
again, silently, until its tables are in force.
"""

import time
from collections.abc import Callable, Iterator
from typing import Final

import msgspec

from bench import workload
from bench.instance import BenchFailed
from bench.kafka.cluster import Cluster
from bench.kafka.load import PacedLoad
from bench.kafka.plaudit_worker import PlauditWorker
from plaudit.snapshotting import take_snapshots
from streams.topics import GROUP, LEDGER, USERS
from tables.embedded_view import EmbeddedView
from tables.errors import ViewUnavailable

POLL_S: Final = 0.05
TIMEOUT_S: Final = 300.0
STEADY_S: Final = 5.0
"""So long all is at rest or at pace before the kill."""
LOAD_S: Final = 120.0
"""The load outlasts the failover."""
SLACK_RECORDS: Final = 5
"""More lag than before in a partition that counts as normal: under half a second."""


class Failover(msgspec.Struct, frozen=True):
    """What one failover came to.

    Attributes:
      seconds: From the kill until every partition is back.
      moving_s: From the kill until every partition had moved again.
      normal_lag: Most records that a partition was behind before.
      worst_lag: Most that it was behind after.
    """

    seconds: float
    moving_s: float
    normal_lag: int
    worst_lag: int


class Replay(msgspec.Struct, frozen=True):
    """What one replay came to.

    Attributes:
      actions_per_second: From the start of the process until tables are in force.
      actions: Of the log.
      seconds: How long it took.
    """

    actions_per_second: float
    actions: int
    seconds: float


def run_failover(
    worker: PlauditWorker, cluster: Cluster, *, users: int, per_second: int
) -> Failover:
    """Kill one of two workers, on a broker that holds no topics.

    Args:
      worker: One worker, not prepared.
      cluster: The broker.
      users: Everybody acts once before.
      per_second: Actions a second meanwhile.
    """
    _start_alone(worker, cluster, users, int(per_second * LOAD_S))
    second = worker.start_worker(1)
    return _kill(worker, cluster, second, users=users, per_second=per_second)


def run_failover_from_snapshot(
    worker: PlauditWorker, cluster: Cluster, *, users: int, per_second: int, age_s: int
) -> Failover:
    """Kill one of two workers whose partitions the other one never had.

    Args:
      worker: One worker with a storage for snapshots, not prepared.
      cluster: The broker.
      users: Everybody acts once before the snapshot.
      per_second: Actions a second meanwhile.
      age_s: So many seconds of actions, at that rate, stand behind the snapshot.
    """
    load = int(per_second * LOAD_S)
    _start_alone(worker, cluster, users, load)
    worker.stop()
    take_snapshots(worker.instance.settings, ())
    worker.start_worker(1)
    second = worker.start_worker(2)
    _wait(lambda: cluster.members(GROUP, USERS) == 2, "both workers have partitions")
    since = workload.actions(per_second * age_s, users, first=load + users)
    cluster.produce(worker.records(list(since)))
    _wait(lambda: worker.lag() == 0, "what came since the snapshot is folded")
    return _kill(worker, cluster, second, users=users, per_second=per_second)


def _start_alone(
    worker: PlauditWorker, cluster: Cluster, users: int, first: int
) -> None:
    """Let one worker fold everybody's first action, numbered from `first` on."""
    worker.prepare()
    worker.start()
    worker.wait_until_ready()
    cluster.produce(worker.records(list(workload.first_visits(users, first=first))))
    _wait(lambda: worker.lag() == 0, "the first actions are folded")


def _kill(
    worker: PlauditWorker,
    cluster: Cluster,
    second: int,
    *,
    users: int,
    per_second: int,
) -> Failover:
    """Kill the second of two workers under load; see the module."""
    _wait(lambda: cluster.members(GROUP, USERS) == 2, "both workers have partitions")
    actions = list(workload.actions(int(per_second * LOAD_S), users))
    records = worker.records(actions)
    pace = per_second * len(records) / len(actions)
    with PacedLoad(cluster, records, pace) as load:
        normal = _steady_lag(worker)
        before = worker.applied()
        worker.instance.kill(second)
        began = time.monotonic()
        worst = 0
        moving_s = None
        for lags in _samples(worker, "the killed worker's partitions go on"):
            load.check()
            worst = max(worst, *lags)
            moved = all(
                now > then for now, then in zip(worker.applied(), before, strict=True)
            )
            seconds = time.monotonic() - began
            if moved and moving_s is None:
                moving_s = seconds
            if moving_s is not None and max(lags) <= normal + SLACK_RECORDS:
                return Failover(seconds, moving_s, normal, worst)
    raise BenchFailed("unreachable: samples end by their timeout")


def _steady_lag(worker: PlauditWorker) -> int:
    """Return a partition's most lag, once none has grown for `STEADY_S`."""
    window: list[tuple[float, int]] = []
    for lags in _samples(worker, "the lag is steady"):
        now = time.monotonic()
        window = [*window, (now, max(lags))]
        recent = [lag for at, lag in window if at >= now - STEADY_S]
        older = [lag for at, lag in window if at < now - STEADY_S]
        if older and max(recent) <= SLACK_RECORDS + min(older):
            return max(recent)
    raise BenchFailed("unreachable: samples end by their timeout")


def _samples(worker: PlauditWorker, what: str) -> Iterator[list[int]]:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        if worker.has_ended():
            raise BenchFailed("a worker has ended by itself")
        yield worker.lags()
        time.sleep(POLL_S)
    raise BenchFailed(f"not in time: {what}")


def run_replay(
    worker: PlauditWorker, cluster: Cluster, *, users: int, actions: int
) -> Replay:
    """Fold a log again from an empty folder, on a broker that holds no topics.

    Args:
      worker: One worker, not prepared.
      cluster: The broker.
      users: Everybody acts once.
      actions: More actions of theirs.
    """
    worker.prepare()
    worker.start()
    worker.wait_until_ready()
    cluster.produce(worker.records(list(workload.first_visits(users, first=actions))))
    cluster.produce(worker.records(list(workload.actions(actions, users))))
    parts = workload.PARTITIONS
    _wait(
        lambda: worker.lag() == 0 and not any(cluster.lags(GROUP, USERS, parts)),
        "all is folded and committed",
    )
    worker.stop()
    ledger = cluster.ends(LEDGER, parts)
    last = [end - 1 for end in cluster.ends(USERS, parts)]
    began = time.monotonic()
    worker.start_worker(1)
    view = EmbeddedView(worker.folder(1), parts, background=False)
    try:
        _wait(
            lambda: [_applied(view, number) for number in range(parts)] >= last,
            "the log is folded again",
        )
    finally:
        view.close()
    seconds = time.monotonic() - began
    if cluster.ends(LEDGER, parts) != ledger:
        raise BenchFailed("the replay was not silent")
    return Replay((users + actions) / seconds, users + actions, seconds)


def _applied(view: EmbeddedView, partition: int) -> int:
    try:
        row = view.position(USERS, partition)
    except ViewUnavailable:
        return -1
    return -1 if row is None else row.offset


def _wait(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not is_so():
        if time.monotonic() > deadline:
            raise BenchFailed(f"not in time: {what}")
        time.sleep(POLL_S)
