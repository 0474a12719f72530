"""What a kill -9 costs: entries lost, entries twice, balances that are wrong.

A paced load; each time the ledger has grown to a seeded size, the process is killed
and started again at once. When all is done the ledger is compared with what the actions
earn (bench/kafka/ledger.py).
"""

import random
import time
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from bench import workload
from bench.idiomatic.rounds import entries_of
from bench.instance import BenchFailed
from bench.kafka.cluster import Cluster, Reader
from bench.kafka.contender import Contender
from bench.kafka.ledger import Verdict, judge
from bench.kafka.load import PacedLoad
from rules.message import Action

POLL_S: Final = 0.02
QUIET_S: Final = 3.0
STALLED_S: Final = 45.0
"""Nothing for so long, with work left: it will not go on by itself."""
TIMEOUT_S: Final = 300.0


class CrashRun(msgspec.Struct, frozen=True):
    """What one run came to.

    Attributes:
      kills: How often its process was killed.
      restarts: How often it ended by itself and was started again.
      left: Records that it never did.
      verdict: Its ledger.
      seconds: How long the run took.
      unreadable_s: For how long after its end entries stood behind transactions of
        killed processes, which readers of what is committed wait for.
    """

    kills: int
    restarts: int
    left: int
    verdict: Verdict
    seconds: float
    unreadable_s: float


def run_crashes(
    contender: Contender,
    cluster: Cluster,
    actions: Sequence[Action],
    *,
    per_second: float,
    kills: int,
    seed: int,
) -> CrashRun:
    """Kill a contender under load, on a broker that holds no topics.

    Args:
      contender: Who.
      cluster: The broker.
      actions: The load.
      per_second: How many actions of it a second.
      kills: How often.
      seed: Of the moments.
    """
    records = contender.records(actions)
    moments = kill_moments(entries_of(actions), kills, seed)
    contender.prepare()
    contender.start()
    contender.wait_until_ready()
    began = time.monotonic()
    run = _Run(contender, cluster)
    with PacedLoad(cluster, records, per_second * len(records) / len(actions)) as load:
        for moment in moments:
            run.wait_until_written(moment)
            contender.kill()
            contender.start()
        load.wait()
        left = run.wait_until_done()
    contender.stop()
    parts = workload.PARTITIONS
    unreadable_s = cluster.wait_until_committed(contender.ledger, parts)
    with cluster.reader(contender.ledger, parts, committed=True) as reader:
        lines = contender.lines(reader.read_to_end())
    verdict = judge(actions, lines)
    seconds = time.monotonic() - began
    return CrashRun(kills, run.restarts, left, verdict, seconds, unreadable_s)


def kill_moments(entries: int, kills: int, seed: int) -> list[int]:
    """Return the sizes of the ledger at which to kill: one in each of equal shares."""
    rng = random.Random(seed)
    share = entries / (kills + 1)
    return [int(share * (number + rng.uniform(0.3, 1))) for number in range(kills)]


class _Run:
    """Watches a contender, and starts it again where it ends by itself."""

    def __init__(self, contender: Contender, cluster: Cluster) -> None:
        self.restarts = 0
        self._contender = contender
        self._cluster = cluster

    def _reader(self) -> Reader:
        # What a transaction may take back shows how far it is, too.
        ledger = self._contender.ledger
        return self._cluster.reader(ledger, workload.PARTITIONS, committed=False)

    def wait_until_written(self, entries: int) -> None:
        """Wait until the ledger has that many different entries."""
        seen: set[tuple[str, str]] = set()
        with self._reader() as reader:
            for lines in self._news(reader):
                seen |= lines
                if len(seen) >= entries:
                    return

    def wait_until_done(self) -> int:
        """Return how many records are left when nothing happens any more."""
        quiet_since = time.monotonic()
        with self._reader() as reader:
            for lines in self._news(reader):
                now = time.monotonic()
                if lines:
                    quiet_since = now
                elif now - quiet_since > QUIET_S:
                    left = self._contender.lag()
                    if left == 0 or now - quiet_since > STALLED_S:
                        return left
        raise BenchFailed("a ledger has no end")

    def _news(self, reader: Reader) -> Iterator[set[tuple[str, str]]]:
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            if self._contender.has_ended():
                self.restarts += 1
                self._contender.kill()
                self._contender.start()
            lines = self._contender.lines(reader.read_new())
            yield {(line.event_id, line.campaign) for line in lines}
            time.sleep(POLL_S)
        raise BenchFailed(f"{self._contender.name} does not get on")
