"""From accepted to visible, under load, through a real `plaudit run`.

A producer of its own process sends bulk requests at an even pace. Meanwhile this
process sends single actions of fresh users and, on each 202, reads the user's
`GET /profile` on a connection kept alive, again and again, until the points show.
"""

import time
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.instance import Instance
from bench.measure import Spread, percentile, rounded, spread
from bench.probe import Probe, Prober, Producing

SETTLE_S: Final = 2.0
SECONDS_MAX: Final = 600.0


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds under load; each spread is over the rounds.

    Attributes:
      visible_p50_ms, visible_p99_ms: From the 202 to the answer that shows it.
      accepted_p50_ms, accepted_p99_ms: From sending an action to its 202.
      probes: Of one round.
      produced: What the producer says of each round.
    """

    visible_p50_ms: Spread
    visible_p99_ms: Spread
    accepted_p50_ms: Spread
    accepted_p99_ms: Spread
    probes: int
    produced: list[dict[str, Any]]


def measure_latency(
    folder: Path,
    *,
    rate: int,
    probes: int,
    repeats: int,
    users: int,
    settle_s: float = SETTLE_S,
) -> Latency:
    """Measure rounds of probes in a folder that does not exist yet.

    Args:
      folder: Where.
      rate: Actions a second of the producer.
      probes: Of one round.
      repeats: Rounds.
      users: Size of the population.
      settle_s: The load runs that long before the first probe, seconds.
    """
    rounds: list[list[Probe]] = []
    produced: list[dict[str, Any]] = []
    with Instance(folder) as instance:
        instance.start("run")
        instance.wait_until_ready()
        with instance.connect() as writer, instance.connect() as reader:
            prober = Prober(instance, writer, reader)
            for _ in range(repeats):
                first = sum(figures["sent"] for figures in produced)
                with Producing(
                    instance, rate=rate, seconds=SECONDS_MAX, users=users, first=first
                ) as load:
                    time.sleep(settle_s)
                    rounds.append([_one(prober, load) for _ in range(probes)])
                    produced.append(load.finish())
    return Latency(
        _percentiles([[probe.visible_ms for probe in one] for one in rounds], 0.5),
        _percentiles([[probe.visible_ms for probe in one] for one in rounds], 0.99),
        _percentiles([[probe.accepted_ms for probe in one] for one in rounds], 0.5),
        _percentiles([[probe.accepted_ms for probe in one] for one in rounds], 0.99),
        probes,
        produced,
    )


def _one(prober: Prober, load: Producing) -> Probe:
    load.check()
    prober.pause()
    return prober.probe()


def _percentiles(rounds: list[list[float]], share: float) -> Spread:
    return spread([rounded(percentile(one, share)) for one in rounds])
