"""One real worker, embedded: actions a second from appended to stored, and its memory.

A round is a fresh folder and a fresh `plaudit worker`. First, not measured, the config
is folded and every user of the population acts once, so all are known and all code is
warm. Then this process appends envelopes, encoded beforehand, while the worker folds;
the clock runs from the first append until the applied position of every partition is at
its log's end: every entry in the ledger, every state and row stored.
"""

import time
from pathlib import Path
from typing import Final

import msgspec

from bench import workload
from bench.instance import Instance
from bench.processes import cpu_s, family, peak_rss_mb
from streams.log import Append

POLL_S: Final = 0.02
"""How often it is looked whether all is folded; also the figure's error."""


class Load(msgspec.Struct, frozen=True):
    """What rounds append, the same in each.

    Attributes:
      users: Size of the population.
      actions: How many are measured.
      warm_up: Records of everybody's first action.
      measured: Records of the measured actions.
    """

    users: int
    actions: int
    warm_up: list[Append]
    measured: list[Append]


class Round(msgspec.Struct, frozen=True):
    """What one round came to.

    Attributes:
      actions_per_second: Of the measured actions.
      worker_rss_mb: Greatest resident memory of the worker's processes, added up; what
        they share counts for each.
      worker_cpu_us_per_action: CPU of the worker, all processes and threads.
      worker_processes: How many there were.
      entries: Ledger entries of all actions, the first ones included.
    """

    actions_per_second: float
    worker_rss_mb: float
    worker_cpu_us_per_action: float
    worker_processes: int
    entries: int


def make_load(users: int, actions: int) -> Load:
    """Return the load of some actions after everybody's first."""
    first = workload.first_visits(users, first=actions)
    measured = workload.actions(actions, users)
    parts = workload.PARTITIONS
    return Load(
        users,
        actions,
        workload.envelopes(first, parts),
        workload.envelopes(measured, parts),
    )


def run_round(folder: Path, load: Load) -> Round:
    """Measure one worker in a folder that does not exist yet."""
    with Instance(folder) as instance:
        pid = instance.start("worker")
        instance.wait_until_folded()
        instance.append(load.warm_up)
        instance.wait_until_folded(POLL_S)
        worker = family(pid)
        cpu_before_s = cpu_s(worker)
        began = time.perf_counter()
        instance.append(load.measured)
        instance.wait_until_folded(POLL_S)
        seconds = time.perf_counter() - began
        cpu_us = (cpu_s(worker) - cpu_before_s) * 1e6
        rss_mb = sum(map(peak_rss_mb, worker))
        return Round(
            load.actions / seconds,
            rss_mb,
            cpu_us / load.actions,
            len(worker),
            instance.entries(load.users),
        )
