"""All benchmarks: ``make bench``, or ``python -m bench.run``.

Prints a table and writes bench/results/embedded.json. With ``--only`` some parts are
measured alone, and the file is bench/results/PARTS.json.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from bench import workload
from bench.embedded import Round, make_load, run_round
from bench.idiomatic.rounds import (
    OrdinaryRound,
    make_ordinary_load,
    run_ordinary_round,
)
from bench.instance import BenchFailed
from bench.latency import measure_latency
from bench.measure import spread
from bench.post import measure_post
from bench.report import RESULTS, Report, write_json
from bench.rules import measure_rules

PARTS: Final = ("throughput", "latency", "rules", "post")
REPEATS_MIN: Final = 3


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured.

    Attributes:
      users: Size of the population.
      actions: That a round of Plaudit's worker folds.
      ordinary_actions: That a round of the ordinary Faust app processes.
      ordinary_warm_up: That it processes before.
      rate: Actions a second while latency is measured.
      probes: Of one round of latency.
      rule_actions: Of one round of rules.
      requests: Of one round of bulk requests.
      settle_s: How long the load runs before the first probe, seconds.
      repeats: Rounds of everything.
    """

    users: int = workload.POPULATION
    actions: int = 300_000
    ordinary_actions: int = 15_000
    ordinary_warm_up: int = 2_000
    rate: int = 5_000
    probes: int = 250
    rule_actions: int = 20_000
    requests: int = 100
    settle_s: float = 2.0
    repeats: int = REPEATS_MIN


def measure_throughput(report: Report, folder: Path, sizes: Sizes) -> None:
    """Measure Plaudit's worker and the ordinary app in turn, on the same transport."""
    load = make_load(sizes.users, sizes.actions)
    ordinary_load = make_ordinary_load(
        sizes.users, sizes.ordinary_actions, sizes.ordinary_warm_up
    )
    ours: list[Round] = []
    theirs: list[OrdinaryRound] = []
    for number in range(sizes.repeats):
        ours.append(run_round(folder / f"plaudit-{number}", load))
        theirs.append(run_ordinary_round(folder / f"faust-{number}", ordinary_load))
    report.add(
        "actions_per_second",
        spread([one.actions_per_second for one in ours]),
        "1/s",
        ">= 50,000",
    )
    report.add(
        "idiomatic_faust_actions_per_second",
        spread([one.actions_per_second for one in theirs]),
        "1/s",
    )
    pairs = list(zip(ours, theirs, strict=True))
    report.add(
        "ratio",
        spread([a.actions_per_second / b.actions_per_second for a, b in pairs]),
        "x",
        ">= 10",
    )
    report.add(
        "worker_rss_mb", spread([one.worker_rss_mb for one in ours]), "MB", "<= 600"
    )
    cpu_us = [one.worker_cpu_us_per_action for one in ours]
    report.add("worker_cpu_us_per_action", spread(cpu_us), "us")
    ordinary_us = [one.worker_cpu_us_per_action for one in theirs]
    report.add("idiomatic_faust_cpu_us_per_action", spread(ordinary_us), "us")
    report.details["throughput"] = {
        "plaudit": ours,
        "ordinary": theirs,
        "entries_per_action": ours[0].entries / (sizes.users + sizes.actions),
        "ordinary_entries_per_action": ordinary_load.entries / ordinary_load.actions,
    }


def measure_visibility(report: Report, folder: Path, sizes: Sizes) -> None:
    """Measure how soon an accepted action shows, under load."""
    found = measure_latency(
        folder / "latency",
        rate=sizes.rate,
        probes=sizes.probes,
        repeats=sizes.repeats,
        users=sizes.users,
        settle_s=sizes.settle_s,
    )
    report.add("visible_p50_ms", found.visible_p50_ms, "ms", "<= 10")
    report.add("visible_p99_ms", found.visible_p99_ms, "ms", "<= 50")
    report.add("accepted_p50_ms", found.accepted_p50_ms, "ms")
    report.add("accepted_p99_ms", found.accepted_p99_ms, "ms")
    report.details["latency"] = found


def measure_rule_cost(report: Report, _folder: Path, sizes: Sizes) -> None:
    """Measure the rules alone."""
    found = measure_rules(
        actions=sizes.rule_actions, users=sizes.users, repeats=sizes.repeats
    )
    report.add("rule_us_per_action", found.evaluate_us, "us", "<= 3")
    report.add("rule_cost_ratio_500_vs_10", found.ratio, "x", "<= 1.5")
    report.add("config_change_us", found.change_us, "us")
    report.details["rules"] = found


def measure_request(report: Report, folder: Path, sizes: Sizes) -> None:
    """Measure what a bulk request costs the API."""
    found = measure_post(
        folder / "post",
        requests=sizes.requests,
        repeats=sizes.repeats,
        users=sizes.users,
    )
    report.add("post_1000_cpu_ms", found.process_ms, "ms", "<= 2")
    report.add("post_1000_in_process_ms", found.in_process_ms, "ms")
    report.details["post"] = found


MEASURE: Final = {
    "throughput": measure_throughput,
    "latency": measure_visibility,
    "rules": measure_rule_cost,
    "post": measure_request,
}


def measure(parts: tuple[str, ...], folder: Path, sizes: Sizes) -> dict[str, Any]:
    """Measure some parts in an empty folder and return what the file holds."""
    report = Report()
    for part in parts:
        click.echo(f"measuring {part} ...", err=True)
        MEASURE[part](report, folder, sizes)
    click.echo(report.shown())
    return report.stored(sizes)


@click.command()
@click.option(
    "--only", type=click.Choice(PARTS), multiple=True, help="Measure only this part."
)
@click.option("--users", type=click.IntRange(1), default=Sizes().users)
@click.option("--actions", type=click.IntRange(100), default=Sizes().actions)
@click.option("--ordinary-actions", type=click.IntRange(1), default=15_000)
@click.option("--rate", type=click.IntRange(50), default=Sizes().rate)
@click.option("--probes", type=click.IntRange(1), default=Sizes().probes)
@click.option("--requests", type=click.IntRange(1), default=Sizes().requests)
@click.option("--repeats", type=click.IntRange(1), default=REPEATS_MIN)
@click.option("--scratch", type=click.Path(path_type=Path), help="Where to work.")
def main(only: tuple[str, ...], scratch: Path | None, **chosen: int) -> None:
    """Measure speed."""
    parts = tuple(part for part in PARTS if part in only) or PARTS
    name = "embedded" if parts == PARTS else "-".join(parts)
    with tempfile.TemporaryDirectory(prefix="plaudit-bench-", dir=scratch) as folder:
        try:
            found = measure(parts, Path(folder), Sizes(**chosen))
        except BenchFailed as error:
            sys.exit(f"bench: {error}")
    path = RESULTS / f"{name}.json"
    write_json(path, found)
    click.echo(f"written to {path}")


if __name__ == "__main__":
    main()
