"""Constant load for minutes: do memory, open handles, latency and lag stay flat?

    make soak MINUTES=10        or: python -m bench.soak --minutes 10

A real `plaudit run` on loopback in which every user has acted and caches are full; then
a producer at an even pace and probes in between. Every `SAMPLE_S` a sample; at the end
the first third of them is compared with the last, by the median of each figure. Writes
bench/results/soak.json and ends with code 1 where something grew. Its folder, about
4 GB for 10 minutes at the default rate, is removed at the end.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from bench import workload
from bench.instance import BenchFailed, Instance
from bench.measure import machine, percentile, rounded, versions
from bench.probe import Prober, Producing
from bench.processes import handles, rss_mb
from bench.report import RESULTS, table, write_json

SAMPLE_S: Final = 10.0
SPARE_S: Final = 60.0
"""The producer outlasts the samples by this."""
RATE: Final = 2_000
WARM_UP_ACTIONS: Final = 2_000_000
"""Folded before the first sample: RocksDB's block cache is full by then."""
WARM_UP_FIRST: Final = 500_000_000
"""Number of their first; none of the load comes so far."""
MINUTES_MAX: Final = 24 * 60
SAMPLES_MIN: Final = 3

ALLOWED: Final[dict[str, tuple[float, float]]] = {
    "worker_rss_mb": (1.10, 20.0),
    "api_rss_mb": (1.10, 20.0),
    "worker_handles": (1.0, 16.0),
    "api_handles": (1.0, 16.0),
    "visible_p50_ms": (1.5, 2.0),
    "visible_p99_ms": (1.5, 25.0),
    "lag_records": (1.0, 50.0),
}
"""Figure -> (factor, addend): flat where last <= first x factor, or <= first + addend.

The addends keep noise about a small figure from counting as growth.
"""


class Sample(msgspec.Struct, frozen=True):
    """What was seen in one interval.

    Attributes:
      second: Of the soak, at the end of the interval.
      worker_rss_mb, api_rss_mb: Resident memory, all processes of each.
      worker_handles, api_handles: Open files, sockets and pipes.
      visible_p50_ms, visible_p99_ms: From accepted to visible, of the probes.
      lag_records: Records of `users` not folded at that moment.
      probes: How many.
      load_average: Of the machine, over the last minute: others' work, too.
    """

    second: float
    worker_rss_mb: float
    api_rss_mb: float
    worker_handles: int
    api_handles: int
    visible_p50_ms: float
    visible_p99_ms: float
    lag_records: int
    probes: int
    load_average: float


class Verdict(msgspec.Struct, frozen=True):
    """One figure's first and last third.

    Attributes:
      first, last: Median of the third.
      flat: Whether the last is within what `ALLOWED` allows.
    """

    first: float
    last: float
    flat: bool


def soak(
    folder: Path,
    *,
    seconds: float,
    rate: int,
    users: int,
    warm_up_actions: int = WARM_UP_ACTIONS,
    sample_s: float = SAMPLE_S,
) -> tuple[list[Sample], dict[str, Any]]:
    """Load a Plaudit in a folder that does not exist yet.

    Args:
      folder: Where.
      seconds: For how long; at least three samples are taken.
      rate: Actions a second.
      users: Size of the population.
      warm_up_actions: Folded before the first sample, after everybody's first.
      sample_s: Length of an interval, seconds.

    Returns:
      The samples, and what the producer says it achieved.
    """
    samples: list[Sample] = []
    with Instance(folder) as instance:
        supervisor = instance.start("run")
        instance.wait_until_ready()
        worker = instance.children(supervisor, "worker")
        api = instance.children(supervisor, "api")
        # Caches that still fill, with a population that is becoming known and with
        # blocks of files that are still few, would look like a leak.
        warm_up = workload.first_visits(users, first=0)
        more = workload.actions(warm_up_actions, users, first=WARM_UP_FIRST)
        for part in (warm_up, more):
            instance.append(workload.envelopes(part, workload.PARTITIONS))
            instance.wait_until_folded()
        intervals = max(SAMPLES_MIN, round(seconds / sample_s))
        with (
            instance.connect() as writer,
            instance.connect() as reader,
            Producing(
                instance,
                rate=rate,
                seconds=intervals * sample_s + SPARE_S,
                users=users,
                first=users,
            ) as load,
        ):
            prober = Prober(instance, writer, reader)
            began = time.monotonic()
            for number in range(1, intervals + 1):
                times_ms = _probe_until(prober, load, began + number * sample_s)
                sample = Sample(
                    second=rounded(time.monotonic() - began),
                    worker_rss_mb=rounded(rss_mb(worker)),
                    api_rss_mb=rounded(rss_mb(api)),
                    worker_handles=handles(worker),
                    api_handles=handles(api),
                    visible_p50_ms=rounded(percentile(times_ms, 0.5)),
                    visible_p99_ms=rounded(percentile(times_ms, 0.99)),
                    lag_records=instance.lag(),
                    probes=len(times_ms),
                    load_average=rounded(os.getloadavg()[0]),
                )
                samples.append(sample)
                click.echo(_line(sample), err=True)
            produced = load.finish()
    return samples, produced


def _probe_until(prober: Prober, load: Producing, end: float) -> list[float]:
    times_ms: list[float] = []
    while not times_ms or time.monotonic() < end:
        load.check()
        times_ms.append(prober.probe().visible_ms)
        prober.pause()
    return times_ms


def _line(sample: Sample) -> str:
    return (
        f"{sample.second:7.0f} s  worker {sample.worker_rss_mb:.0f} MB "
        f"{sample.worker_handles} handles  api {sample.api_rss_mb:.0f} MB "
        f"{sample.api_handles} handles  visible p50 {sample.visible_p50_ms:.1f} "
        f"p99 {sample.visible_p99_ms:.1f} ms  lag {sample.lag_records}  "
        f"load {sample.load_average:.1f}"
    )


def judge(samples: Sequence[Sample]) -> dict[str, Verdict]:
    """Compare the first third of at least three samples with the last."""
    third = len(samples) // 3
    verdicts = {}
    for name, (factor, addend) in ALLOWED.items():
        figures = [float(getattr(sample, name)) for sample in samples]
        first = statistics.median(figures[:third])
        last = statistics.median(figures[-third:])
        flat = last <= max(first * factor, first + addend)
        verdicts[name] = Verdict(first, last, flat)
    return verdicts


@click.command()
@click.option("--minutes", type=click.FloatRange(0.1, MINUTES_MAX), default=10.0)
@click.option("--rate", type=click.IntRange(50, 100_000), default=RATE)
@click.option("--users", type=click.IntRange(1), default=workload.POPULATION)
@click.option("--scratch", type=click.Path(path_type=Path), help="Where to work.")
def main(minutes: float, rate: int, users: int, scratch: Path | None) -> None:
    """Load Plaudit for minutes and say whether it stays flat."""
    before = machine()
    with tempfile.TemporaryDirectory(prefix="plaudit-soak-", dir=scratch) as folder:
        data_dir, seconds = Path(folder) / "data", minutes * 60
        try:
            samples, produced = soak(data_dir, seconds=seconds, rate=rate, users=users)
        except BenchFailed as error:
            sys.exit(f"soak: {error}")
    verdicts = judge(samples)
    write_json(
        RESULTS / "soak.json",
        {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": before,
            "versions": versions(),
            "seed": workload.SEED,
            "minutes": minutes,
            "rate": rate,
            "produced": produced,
            "verdicts": verdicts,
            "samples": samples,
        },
    )
    rows = [("figure", "first third", "last third", "flat")]
    rows += [
        (name, f"{one.first:g}", f"{one.last:g}", "yes" if one.flat else "NO")
        for name, one in verdicts.items()
    ]
    click.echo(table(rows))
    grew = [name for name, one in verdicts.items() if not one.flat]
    click.echo(f"verdict: {'flat' if not grew else 'NOT flat: ' + ', '.join(grew)}")
    sys.exit(1 if grew else 0)


if __name__ == "__main__":
    main()
