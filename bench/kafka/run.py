"""The benchmarks on Kafka: ``make bench-kafka``, or ``python -m bench.kafka.run``.

A broker of its own on this machine, Plaudit and the two ordinary apps on it in turn.
Prints a table and writes bench/results/kafka.json; with ``--only`` some parts alone,
and the file is bench/results/kafka-PARTS.json.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from bench import workload
from bench.instance import BenchFailed
from bench.kafka.cluster import Cluster
from bench.kafka.contender import Contender
from bench.kafka.crash import CrashRun, run_crashes
from bench.kafka.failover import run_failover, run_failover_from_snapshot, run_replay
from bench.kafka.ordinary import EXACTLY_ONCE, OrdinaryApp, faust_app, quix_app
from bench.kafka.plaudit_worker import PlauditWorker
from bench.kafka.throughput import (
    KafkaLoad,
    KafkaRound,
    make_kafka_load,
    run_kafka_round,
)
from bench.measure import spread
from bench.quix.environment import quix_version
from bench.report import RESULTS, Report, write_json
from docker.kafka.broker import (
    Broker,
    BrokerFailed,
    empty,
    is_available,
    kafka_version,
)
from tests.redis_server import REDIS, RedisServer

PARTS: Final = (
    "throughput",
    "crashes",
    "failover",
    "failover-snapshot",
    "replay",
    "scaling",
)
ORDINARY: Final[dict[str, Callable[[Cluster, Path], OrdinaryApp]]] = {
    "idiomatic_faust": faust_app,
    "quix": quix_app,
    "quix_exactly_once": partial(quix_app, guarantee=EXACTLY_ONCE),
}
PLAUDIT: Final = PlauditWorker.name
CONTENDERS: Final = (PLAUDIT, *ORDINARY)


class KafkaSizes(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured.

    Attributes:
      users: Size of the population; all have acted once before Plaudit is measured.
      actions: Of a round of Plaudit, beside everybody's first.
      faust_actions: Of a round of the Faust app.
      quix_actions: Of a round of the Quix Streams app.
      warm_up: Actions that the ordinary apps process before.
      repeats: Rounds of throughput.
      crash_runs: Runs with kills, of each contender.
      crash_actions: Actions of such a run.
      crash_rate: How many of them a second.
      kills: Of each such run.
      failover_rate: Actions a second while a worker is killed.
      snapshot_age_s: Seconds of actions, at that rate, behind the snapshot.
    """

    users: int = workload.POPULATION
    actions: int = 300_000
    faust_actions: int = 20_000
    quix_actions: int = 100_000
    warm_up: int = 2_000
    repeats: int = 3
    crash_runs: int = 2
    crash_actions: int = 20_000
    crash_rate: int = 1_000
    kills: int = 3
    failover_rate: int = 5_000
    snapshot_age_s: int = 300

    def load_of(self, name: str) -> KafkaLoad:
        """Return what a round of a contender sends."""
        if name == PLAUDIT:
            first = workload.first_visits(self.users, first=self.actions)
            return make_kafka_load(first, workload.actions(self.actions, self.users))
        is_faust = name == "idiomatic_faust"
        count = self.faust_actions if is_faust else self.quix_actions
        first = workload.actions(self.warm_up, self.users, first=count)
        return make_kafka_load(first, workload.actions(count, self.users))


class Bench:
    """The broker, Redis, and a fresh start on them for each round."""

    def __init__(self, folder: Path) -> None:
        """Start them in an empty folder."""
        self._folder = folder
        self._broker = Broker(folder / "kafka")
        self._redis = RedisServer(folder / "redis")
        self._broker.start()
        self._redis.start()
        self._started = 0
        self.cluster = Cluster(self._broker.address)

    @property
    def broker_pid(self) -> int:
        """Return the broker's process."""
        return self._broker.pid

    @contextmanager
    def contender(self, name: str) -> Iterator[Contender]:
        """Give a contender a folder of its own and a broker without topics."""
        if name == PLAUDIT:
            with self.plaudit() as plaudit:
                yield plaudit
        else:
            with ORDINARY[name](self.cluster, self._fresh()) as app:
                yield app

    @contextmanager
    def plaudit(
        self, workers: int = 1, processes: int = 0, *, snapshots: bool = False
    ) -> Iterator[PlauditWorker]:
        """Give Plaudit the same, and an empty Redis; see `PlauditWorker`."""
        with PlauditWorker(
            self.cluster,
            self._fresh(),
            self._redis.url,
            workers=workers,
            processes=processes,
            snapshots=snapshots,
        ) as worker:
            yield worker

    def _fresh(self) -> Path:
        empty(self._broker.address)
        self._redis.ask("FLUSHALL")
        self._started += 1
        return self._folder / f"round-{self._started}"

    def close(self) -> None:
        """End broker and Redis."""
        self._broker.kill()
        self._redis.stop()


def measure_throughput(bench: Bench, report: Report, sizes: KafkaSizes) -> None:
    """Measure all contenders in turn, again and again."""
    rounds: dict[str, list[KafkaRound]] = {name: [] for name in CONTENDERS}
    for number in range(sizes.repeats):
        for name in CONTENDERS:
            click.echo(f"  round {number + 1}: {name}", err=True)
            with bench.contender(name) as contender:
                found = run_kafka_round(
                    contender, bench.cluster, sizes.load_of(name), bench.broker_pid
                )
            rounds[name].append(found)
    for name, runs in rounds.items():
        begin = "" if name == PLAUDIT else f"{name}_"
        rate = spread([one.actions_per_second for one in runs])
        report.add(f"{begin}actions_per_second", rate, "1/s")
        if name != PLAUDIT:
            rate = spread([one.ledger_actions_per_second for one in runs])
            report.add(f"{begin}ledger_actions_per_second", rate, "1/s")
            pairs = list(zip(rounds[PLAUDIT], runs, strict=True))
            ratio = [a.actions_per_second / b.actions_per_second for a, b in pairs]
            report.add(f"ratio_to_{name}", spread(ratio), "x")
        cost = spread([one.worker_cpu_us_per_action for one in runs])
        report.add(f"{begin or 'worker_'}cpu_us_per_action", cost, "us")
    rss = spread([one.worker_rss_mb for one in rounds[PLAUDIT]])
    report.add("worker_rss_mb", rss, "MB")
    report.details["throughput"] = rounds


def measure_crashes(bench: Bench, report: Report, sizes: KafkaSizes) -> None:
    """Kill every contender under the same load, at the same places of its ledger."""
    actions = list(workload.actions(sizes.crash_actions, sizes.users))
    runs: dict[str, list[CrashRun]] = {name: [] for name in CONTENDERS}
    for number in range(sizes.crash_runs):
        for name in CONTENDERS:
            click.echo(f"  crash run {number + 1}: {name}", err=True)
            with bench.contender(name) as contender:
                found = run_crashes(
                    contender,
                    bench.cluster,
                    actions,
                    per_second=sizes.crash_rate,
                    kills=sizes.kills,
                    seed=workload.SEED + number,
                )
            runs[name].append(found)
    for name, found_runs in runs.items():
        verdicts = [one.verdict for one in found_runs]
        for what in ("lost", "doubled"):
            counts = spread([getattr(verdict, what) for verdict in verdicts])
            report.add(f"{name}_{what}_entries", counts, "a run")
        wrong = spread([verdict.wrong_balances for verdict in verdicts])
        report.add(f"{name}_wrong_balances", wrong, "a run")
    report.details["crashes"] = runs


def measure_failover(bench: Bench, report: Report, sizes: KafkaSizes) -> None:
    """Kill one of two workers, again and again."""
    runs = []
    for number in range(sizes.repeats):
        click.echo(f"  failover {number + 1}", err=True)
        with bench.plaudit(processes=1) as worker:
            runs.append(
                run_failover(
                    worker,
                    bench.cluster,
                    users=sizes.users,
                    per_second=sizes.failover_rate,
                )
            )
    seconds = spread([one.seconds for one in runs])
    report.add("failover_s", seconds, "s", "<= 15")
    report.add("failover_moving_s", spread([one.moving_s for one in runs]), "s")
    report.details["failover"] = runs


def measure_failover_from_snapshot(
    bench: Bench, report: Report, sizes: KafkaSizes
) -> None:
    """Kill one of two workers whose partitions the other one never had."""
    runs = []
    for number in range(sizes.repeats):
        click.echo(f"  failover from a snapshot {number + 1}", err=True)
        with bench.plaudit(processes=1, snapshots=True) as worker:
            runs.append(
                run_failover_from_snapshot(
                    worker,
                    bench.cluster,
                    users=sizes.users,
                    per_second=sizes.failover_rate,
                    age_s=sizes.snapshot_age_s,
                )
            )
    seconds = spread([one.seconds for one in runs])
    report.add("failover_snapshot_s", seconds, "s", "<= 60")
    report.details["failover-snapshot"] = runs


def measure_replay(bench: Bench, report: Report, sizes: KafkaSizes) -> None:
    """Fold a log again from an empty folder."""
    runs = []
    for number in range(sizes.repeats):
        click.echo(f"  replay {number + 1}", err=True)
        with bench.plaudit() as worker:
            runs.append(
                run_replay(
                    worker, bench.cluster, users=sizes.users, actions=sizes.actions
                )
            )
    rate = spread([one.actions_per_second for one in runs])
    report.add("replay_actions_per_second", rate, "1/s")
    report.details["replay"] = runs


def measure_scaling(bench: Bench, report: Report, sizes: KafkaSizes) -> None:
    """Measure one worker of one process, then two."""
    rounds: dict[int, list[KafkaRound]] = {1: [], 2: []}
    for number in range(sizes.repeats):
        for workers, found in rounds.items():
            click.echo(f"  round {number + 1}: {workers} workers", err=True)
            with bench.plaudit(workers, processes=1) as worker:
                load = sizes.load_of(PLAUDIT)
                found.append(
                    run_kafka_round(worker, bench.cluster, load, bench.broker_pid)
                )
    pairs = list(zip(rounds[1], rounds[2], strict=True))
    ratio = [two.actions_per_second / one.actions_per_second for one, two in pairs]
    report.add("scaling_1_to_2_workers", spread(ratio), "x")
    report.details["scaling"] = {str(count): found for count, found in rounds.items()}


MEASURE: Final = {
    "throughput": measure_throughput,
    "crashes": measure_crashes,
    "failover": measure_failover,
    "failover-snapshot": measure_failover_from_snapshot,
    "replay": measure_replay,
    "scaling": measure_scaling,
}


def measure(parts: tuple[str, ...], folder: Path, sizes: KafkaSizes) -> dict[str, Any]:
    """Measure some parts in an empty folder and return what the file holds.

    Raises:
      BenchFailed: A part cannot go on.
      BrokerFailed: The broker does not run.
    """
    report = Report()
    bench = Bench(folder)
    try:
        for part in parts:
            click.echo(f"measuring {part} ...", err=True)
            MEASURE[part](bench, report, sizes)
    finally:
        bench.close()
    click.echo(report.shown())
    return report.stored(sizes, kafka=kafka_version(), quixstreams=quix_version())


@click.command()
@click.option(
    "--only", type=click.Choice(PARTS), multiple=True, help="Measure only this part."
)
@click.option("--users", type=click.IntRange(1), default=KafkaSizes().users)
@click.option("--actions", type=click.IntRange(100), default=KafkaSizes().actions)
@click.option("--faust-actions", type=click.IntRange(1), default=20_000)
@click.option("--quix-actions", type=click.IntRange(1), default=100_000)
@click.option("--repeats", type=click.IntRange(1), default=KafkaSizes().repeats)
@click.option("--crash-runs", type=click.IntRange(1), default=KafkaSizes().crash_runs)
@click.option("--snapshot-age-s", type=click.IntRange(1), default=300)
@click.option("--kills", type=click.IntRange(1), default=KafkaSizes().kills)
@click.option("--scratch", type=click.Path(path_type=Path), help="Where to work.")
def main(only: tuple[str, ...], scratch: Path | None, **chosen: int) -> None:
    """Measure speed and safety on Kafka."""
    if not is_available() or shutil.which(REDIS) is None:
        sys.exit(f"bench: it needs java (17 or newer), mvn and {REDIS} on this machine")
    parts = tuple(part for part in PARTS if part in only) or PARTS
    name = "kafka" if parts == PARTS else "-".join(("kafka", *parts))
    with tempfile.TemporaryDirectory(prefix="plaudit-bench-", dir=scratch) as folder:
        try:
            found = measure(parts, Path(folder), KafkaSizes(**chosen))
        except (BenchFailed, BrokerFailed) as error:
            sys.exit(f"bench: {error}")
    path = RESULTS / f"{name}.json"
    write_json(path, found)
    click.echo(f"written to {path}")


if __name__ == "__main__":
    main()
