"""The benchmarks on Kafka: ``make bench-kafka``, or ``python -m bench.kafka.run``.

A broker of its own on this machine, Plaudit and the two ordinary apps on it in turn.
Prints a table and writes bench/results/kafka.json; with ``--only`` some parts alone,
and the file is bench/results/kafka-PARTS.json.
"""

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
from bench.kafka.crash import CrashRun, run_crashes
from bench.kafka.ordinary import EXACTLY_ONCE, OrdinaryApp, faust_app, quix_app
from bench.kafka.throughput import KafkaRound, make_kafka_load, run_kafka_round
from bench.measure import spread
from bench.quix.environment import quix_version
from bench.report import RESULTS, Report, write_json
from docker.kafka.broker import (
    Broker,
    BrokerFailed,
    empty,
    is_available,
    kafka_version,
    running_pid,
)

PARTS: Final = ("throughput", "crashes")
CONTENDERS: Final[dict[str, Callable[[Cluster, Path], OrdinaryApp]]] = {
    "idiomatic_faust": faust_app,
    "quix": quix_app,
    "quix_exactly_once": partial(quix_app, guarantee=EXACTLY_ONCE),
}


class KafkaSizes(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured.

    Attributes:
      users: Size of the population.
      faust_actions: Of a round of the Faust app.
      quix_actions: Of a round of the Quix Streams app.
      warm_up: Actions that the ordinary apps process before.
      repeats: Rounds of throughput.
      crash_runs: Runs with kills, of each contender.
      crash_actions: Actions of such a run.
      crash_rate: How many of them a second.
      kills: Of each such run.
    """

    users: int = workload.POPULATION
    faust_actions: int = 20_000
    quix_actions: int = 100_000
    warm_up: int = 2_000
    repeats: int = 3
    crash_runs: int = 2
    crash_actions: int = 20_000
    crash_rate: int = 1_000
    kills: int = 3

    def actions_of(self, name: str) -> int:
        """Return how many actions a round of a contender has."""
        return self.faust_actions if name == "idiomatic_faust" else self.quix_actions


class Bench:
    """The broker, and a fresh start on it for each round."""

    def __init__(self, folder: Path) -> None:
        """Start the broker in an empty folder; see `opened`."""
        self._folder = folder
        self._broker = Broker(folder / "kafka")
        self._broker.start()
        self._started = 0
        self.cluster = Cluster(self._broker.address)

    @property
    def broker_pid(self) -> int:
        """Return the broker's process."""
        pid = running_pid(self._broker.folder)
        if pid is None:
            raise BenchFailed("the broker has ended")
        return pid

    @contextmanager
    def contender(self, name: str) -> Iterator[OrdinaryApp]:
        """Give a contender a folder of its own and a broker without topics."""
        self._started += 1
        folder = self._folder / f"{name}-{self._started}"
        empty(self._broker.address)
        with CONTENDERS[name](self.cluster, folder) as found:
            yield found

    def close(self) -> None:
        """End the broker."""
        self._broker.kill()


def measure_throughput(bench: Bench, report: Report, sizes: KafkaSizes) -> None:
    """Measure all contenders in turn, again and again."""
    rounds: dict[str, list[KafkaRound]] = {name: [] for name in CONTENDERS}
    for number in range(sizes.repeats):
        for name in CONTENDERS:
            click.echo(f"  round {number + 1}: {name}", err=True)
            count = sizes.actions_of(name)
            load = make_kafka_load(sizes.users, count, sizes.warm_up)
            with bench.contender(name) as contender:
                found = run_kafka_round(
                    contender, bench.cluster, load, bench.broker_pid
                )
            rounds[name].append(found)
    for name, runs in rounds.items():
        rate = spread([one.actions_per_second for one in runs])
        report.add(f"{name}_actions_per_second", rate, "1/s")
        rate = spread([one.ledger_actions_per_second for one in runs])
        report.add(f"{name}_ledger_actions_per_second", rate, "1/s")
        cost = spread([one.worker_cpu_us_per_action for one in runs])
        report.add(f"{name}_cpu_us_per_action", cost, "us")
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


MEASURE: Final = {"throughput": measure_throughput, "crashes": measure_crashes}


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
@click.option("--faust-actions", type=click.IntRange(1), default=20_000)
@click.option("--quix-actions", type=click.IntRange(1), default=100_000)
@click.option("--repeats", type=click.IntRange(1), default=KafkaSizes().repeats)
@click.option("--crash-runs", type=click.IntRange(1), default=KafkaSizes().crash_runs)
@click.option("--kills", type=click.IntRange(1), default=KafkaSizes().kills)
@click.option("--scratch", type=click.Path(path_type=Path), help="Where to work.")
def main(only: tuple[str, ...], scratch: Path | None, **chosen: int) -> None:
    """Measure speed and safety on Kafka."""
    if not is_available():
        sys.exit("bench: a broker needs java (17 or newer) and mvn on this machine")
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
