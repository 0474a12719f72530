"""Rounds of throughput: the same broker, one contender at a time.

The clock runs from the first append until nothing is left to be done
(`Contender.lag`) and the ledger topic holds every entry. Afterwards, off the clock, the
ledger is read and compared with what the actions earn: a round that lost or doubled any
is no round.
"""

import time
from collections.abc import Iterable
from typing import Final

import msgspec

from bench import workload
from bench.idiomatic.rounds import entries_of
from bench.instance import BenchFailed
from bench.kafka.cluster import Cluster
from bench.kafka.contender import Contender
from bench.kafka.ledger import judge
from bench.processes import cpu_s, family, peak_rss_mb
from rules.message import Action

POLL_S: Final = 0.05
TIMEOUT_S: Final = 300.0


class KafkaRound(msgspec.Struct, frozen=True):
    """What one round came to.

    Attributes:
      actions_per_second: Until all is stored.
      ledger_actions_per_second: Until the ledger held every entry; what was stored of
        states and offsets then, a crash may have undone.
      worker_rss_mb: Greatest resident memory of its processes, added up.
      worker_cpu_us_per_action: CPU of its processes.
      broker_cpu_us_per_action: CPU of the broker meanwhile.
    """

    actions_per_second: float
    ledger_actions_per_second: float
    worker_rss_mb: float
    worker_cpu_us_per_action: float
    broker_cpu_us_per_action: float


class KafkaLoad(msgspec.Struct, frozen=True):
    """What a round sends.

    Attributes:
      warm_up: Actions before the clock runs.
      measured: Actions that it measures.
      warm_up_entries, entries: Ledger entries that they earn.
    """

    warm_up: list[Action]
    measured: list[Action]
    warm_up_entries: int
    entries: int


def make_kafka_load(warm_up: Iterable[Action], measured: Iterable[Action]) -> KafkaLoad:
    """Return a load of some actions after others."""
    first, then = list(warm_up), list(measured)
    return KafkaLoad(first, then, entries_of(first), entries_of(then))


def run_kafka_round(
    contender: Contender, cluster: Cluster, load: KafkaLoad, broker_pid: int
) -> KafkaRound:
    """Measure a contender on a broker that holds no topics.

    Raises:
      BenchFailed: It ended, took too long, or its ledger is not what it must be.
    """
    warm_up = contender.records(load.warm_up)
    measured = contender.records(load.measured)
    contender.prepare()
    contender.start()
    contender.wait_until_ready()
    cluster.produce(warm_up)
    _wait(contender, load.warm_up_entries, time.monotonic() + TIMEOUT_S)
    worker = [member for pid in contender.pids for member in family(pid)]
    cpu_before_s, broker_before_s = cpu_s(worker), cpu_s([broker_pid])
    began = time.monotonic()
    cluster.produce(measured)
    entries = load.warm_up_entries + load.entries
    filled, done = _wait(contender, entries, began + TIMEOUT_S)
    count = len(load.measured)
    found = KafkaRound(
        actions_per_second=count / (done - began),
        ledger_actions_per_second=count / (filled - began),
        worker_rss_mb=sum(map(peak_rss_mb, worker)),
        worker_cpu_us_per_action=(cpu_s(worker) - cpu_before_s) * 1e6 / count,
        broker_cpu_us_per_action=(cpu_s([broker_pid]) - broker_before_s) * 1e6 / count,
    )
    contender.stop()
    partitions = workload.PARTITIONS
    with cluster.reader(contender.ledger, partitions, committed=True) as reader:
        lines = contender.lines(reader.read_to_end())
    verdict = judge([*load.warm_up, *load.measured], lines)
    if verdict.lost or verdict.doubled or verdict.unexpected or verdict.wrong_balances:
        raise BenchFailed(f"{contender.name} did not do its job: {verdict}")
    return found


def _wait(contender: Contender, entries: int, deadline: float) -> tuple[float, float]:
    """Return when the ledger had that many entries, and when all else was stored."""
    filled = None
    while True:
        now = time.monotonic()
        if filled is None and contender.has_written(entries):
            filled = now
        if filled is not None and contender.lag() == 0:
            return filled, time.monotonic()
        if contender.has_ended():
            raise BenchFailed(f"{contender.name} has ended by itself")
        if now > deadline:
            raise BenchFailed(f"{contender.name} is not done: lag {contender.lag()}")
        time.sleep(POLL_S)
