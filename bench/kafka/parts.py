"""The parts of the benchmarks on Kafka, and how much each measures."""

from typing import Final

import click
import msgspec

from bench import workload
from bench.kafka.crash import CrashRun, run_crashes
from bench.kafka.failover import run_failover, run_failover_from_snapshot, run_replay
from bench.kafka.stage import CONTENDERS, PLAUDIT, Stage
from bench.kafka.throughput import (
    KafkaLoad,
    KafkaRound,
    make_kafka_load,
    run_kafka_round,
)
from bench.measure import spread
from bench.report import Report


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
    quix_actions: int = 300_000
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


def measure_throughput(stage: Stage, report: Report, sizes: KafkaSizes) -> None:
    """Measure all contenders in turn, again and again."""
    rounds: dict[str, list[KafkaRound]] = {name: [] for name in CONTENDERS}
    for number in range(sizes.repeats):
        for name in CONTENDERS:
            click.echo(f"  round {number + 1}: {name}", err=True)
            with stage.contender(name) as contender:
                found = run_kafka_round(
                    contender, stage.cluster, sizes.load_of(name), stage.broker_pid
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


def measure_crashes(stage: Stage, report: Report, sizes: KafkaSizes) -> None:
    """Kill every contender under the same load, at the same places of its ledger."""
    actions = list(workload.actions(sizes.crash_actions, sizes.users))
    runs: dict[str, list[CrashRun]] = {name: [] for name in CONTENDERS}
    for number in range(sizes.crash_runs):
        for name in CONTENDERS:
            click.echo(f"  crash run {number + 1}: {name}", err=True)
            with stage.contender(name) as contender:
                found = run_crashes(
                    contender,
                    stage.cluster,
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


def measure_failover(stage: Stage, report: Report, sizes: KafkaSizes) -> None:
    """Kill one of two workers, again and again."""
    runs = []
    for number in range(sizes.repeats):
        click.echo(f"  failover {number + 1}", err=True)
        with stage.plaudit(processes=1) as worker:
            runs.append(
                run_failover(
                    worker,
                    stage.cluster,
                    users=sizes.users,
                    per_second=sizes.failover_rate,
                )
            )
    seconds = spread([one.seconds for one in runs])
    report.add("failover_s", seconds, "s", "<= 15")
    report.add("failover_moving_s", spread([one.moving_s for one in runs]), "s")
    report.details["failover"] = runs


def measure_failover_from_snapshot(
    stage: Stage, report: Report, sizes: KafkaSizes
) -> None:
    """Kill one of two workers whose partitions the other one never had."""
    runs = []
    for number in range(sizes.repeats):
        click.echo(f"  failover from a snapshot {number + 1}", err=True)
        with stage.plaudit(processes=1, snapshots=True) as worker:
            runs.append(
                run_failover_from_snapshot(
                    worker,
                    stage.cluster,
                    users=sizes.users,
                    per_second=sizes.failover_rate,
                    age_s=sizes.snapshot_age_s,
                )
            )
    seconds = spread([one.seconds for one in runs])
    report.add("failover_snapshot_s", seconds, "s", "<= 60")
    report.details["failover-snapshot"] = runs


def measure_replay(stage: Stage, report: Report, sizes: KafkaSizes) -> None:
    """Fold a log again from an empty folder."""
    runs = []
    for number in range(sizes.repeats):
        click.echo(f"  replay {number + 1}", err=True)
        with stage.plaudit() as worker:
            runs.append(
                run_replay(
                    worker, stage.cluster, users=sizes.users, actions=sizes.actions
                )
            )
    rate = spread([one.actions_per_second for one in runs])
    report.add("replay_actions_per_second", rate, "1/s")
    report.details["replay"] = runs


def measure_scaling(stage: Stage, report: Report, sizes: KafkaSizes) -> None:
    """Measure one worker of one process, then two."""
    rounds: dict[int, list[KafkaRound]] = {1: [], 2: []}
    for number in range(sizes.repeats):
        for workers, found in rounds.items():
            click.echo(f"  round {number + 1}: {workers} workers", err=True)
            with stage.plaudit(workers, processes=1) as worker:
                load = sizes.load_of(PLAUDIT)
                found.append(
                    run_kafka_round(worker, stage.cluster, load, stage.broker_pid)
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
