"""The benchmarks on Kafka: ``make bench-kafka``, or ``python -m bench.kafka.run``.

A broker of its own on this machine, Plaudit and the two ordinary apps on it in turn.
Prints a table and writes bench/results/kafka.json; with ``--only`` some parts alone,
and the file is bench/results/kafka-PARTS.json.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import click

from bench.instance import BenchFailed
from bench.kafka.parts import MEASURE, KafkaSizes
from bench.kafka.stage import Stage
from bench.quix.environment import quix_version
from bench.report import RESULTS, Report, write_json
from docker.kafka import jars
from docker.kafka.errors import BrokerFailed
from docker.redis import server as redis

PARTS: Final = tuple(MEASURE)


def measure(parts: tuple[str, ...], folder: Path, sizes: KafkaSizes) -> dict[str, Any]:
    """Measure some parts in an empty folder and return what the file holds.

    Raises:
      BenchFailed: A part cannot go on.
      BrokerFailed: The broker does not run.
      RedisFailed: Redis does not run.
    """
    report = Report()
    stage = Stage(folder)
    try:
        for part in parts:
            click.echo(f"measuring {part} ...", err=True)
            MEASURE[part](stage, report, sizes)
    finally:
        stage.close()
    click.echo(report.shown())
    return report.stored(sizes, kafka=jars.kafka_version(), quixstreams=quix_version())


@click.command()
@click.option(
    "--only", type=click.Choice(PARTS), multiple=True, help="Measure only this part."
)
@click.option("--users", type=click.IntRange(1), default=KafkaSizes().users)
@click.option("--actions", type=click.IntRange(100), default=KafkaSizes().actions)
@click.option("--faust-actions", type=click.IntRange(1), default=20_000)
@click.option("--quix-actions", type=click.IntRange(1), default=300_000)
@click.option("--repeats", type=click.IntRange(1), default=KafkaSizes().repeats)
@click.option("--crash-runs", type=click.IntRange(1), default=KafkaSizes().crash_runs)
@click.option("--snapshot-age-s", type=click.IntRange(1), default=300)
@click.option("--kills", type=click.IntRange(1), default=KafkaSizes().kills)
@click.option("--scratch", type=click.Path(path_type=Path), help="Where to work.")
def main(only: tuple[str, ...], scratch: Path | None, **chosen: int) -> None:
    """Measure speed and safety on Kafka."""
    if not (jars.is_available() and redis.is_available()):
        needed = f"java (17 or newer), mvn and {redis.REDIS}"
        sys.exit(f"bench: it needs {needed} on this machine")
    parts = tuple(part for part in PARTS if part in only) or PARTS
    name = "kafka" if parts == PARTS else "-".join(("kafka", *parts))
    with tempfile.TemporaryDirectory(prefix="plaudit-bench-", dir=scratch) as folder:
        try:
            found = measure(parts, Path(folder), KafkaSizes(**chosen))
        except (BenchFailed, BrokerFailed, redis.RedisFailed) as error:
            sys.exit(f"bench: {error}")
    path = RESULTS / f"{name}.json"
    write_json(path, found)
    click.echo(f"written to {path}")


if __name__ == "__main__":
    main()
