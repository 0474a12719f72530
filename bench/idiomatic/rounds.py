"""Rounds of the ordinary app: the same actions, one record each, on the same transport.

The clock runs from the first append of the measured actions until every action's state
is in the changelog and every entry in the ledger, durably: what Plaudit's worker has
done when it is done. The warm-up is short, and few users are known after it, which is
in the app's favour.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from bench import workload
from bench.idiomatic.campaigns import by_event_type, rewards
from bench.idiomatic.log import ACTIONS, CHANGELOG, LEDGER, make_log, open_log
from bench.instance import BenchFailed, end
from bench.processes import cpu_s, peak_rss_mb
from rules.message import Action
from streams.log import Append
from streams.sqlite_log import SqliteLog
from streams.topics import murmur2

APPENDS_PER_COMMIT: Final = 500
POLL_S: Final = 0.02
TIMEOUT_S: Final = 600.0
ROOT: Final = Path(__file__).parents[2]
APP: Final = (sys.executable, "-m", "bench.idiomatic.app", "worker", "-l", "error")

_encode = msgspec.json.Encoder(decimal_format="number").encode


class OrdinaryLoad(msgspec.Struct, frozen=True):
    """What rounds append, and what must come out.

    Attributes:
      actions: How many are measured.
      warm_up, measured: One record an action.
      warm_up_entries, entries: Ledger entries that they earn.
    """

    actions: int
    warm_up: list[Append]
    measured: list[Append]
    warm_up_entries: int
    entries: int


class OrdinaryRound(msgspec.Struct, frozen=True):
    """What one round came to; see `bench.embedded.Round`."""

    actions_per_second: float
    worker_rss_mb: float
    worker_cpu_us_per_action: float


class Line(msgspec.Struct, frozen=True):
    """A line of a ledger, as far as both sides have it.

    Attributes:
      user, event_id: Of the action.
      campaign: The campaign's name.
      currency: ``points``, ``xp`` or ``coins``.
      amount: What was earned.
      balance: What the user has then; None: not said.
    """

    user: str
    event_id: str
    campaign: str
    currency: str
    amount: int
    balance: int | None = None


def plain_campaigns() -> list[dict[str, Any]]:
    """Return the workload's campaigns as plain JSON: its numbers are floats."""
    plain: list[dict[str, Any]] = json.loads(_encode(_all_campaigns()))
    return plain


def _all_campaigns() -> list[dict[str, Any]]:
    return [
        *workload.campaigns(workload.CAMPAIGNS - 1),
        workload.probe_campaign(),
    ]


def make_ordinary_load(users: int, actions: int, warm_up: int) -> OrdinaryLoad:
    """Return the load of the first actions of the workload, after a warm-up."""
    first = list(workload.actions(warm_up, users, first=actions))
    measured = list(workload.actions(actions, users))
    return OrdinaryLoad(
        actions=actions,
        warm_up=records_of(first),
        measured=records_of(measured),
        warm_up_entries=entries_of(first),
        entries=entries_of(measured),
    )


def records_of(actions: Sequence[Action]) -> list[Append]:
    """Return actions as the ordinary apps read them: one record each, by user."""
    records = []
    for action in actions:
        key = action.user.encode()
        partition = (murmur2(key) & 0x7FFFFFFF) % workload.PARTITIONS
        value = {
            "user_id": action.user,
            "event_id": action.event_id,
            "type": action.type,
            "data": action.data,
        }
        records.append(Append(ACTIONS, partition, key, _encode(value)))
    return records


def entries_of(actions: Sequence[Action]) -> int:
    """Return how many ledger entries actions earn, as the ordinary app decides."""
    return sum(1 for _ in lines_of(actions))


def lines_of(actions: Iterable[Action]) -> Iterator[Line]:
    """Yield the ledger entries that actions earn, as the ordinary app decides."""
    campaigns = by_event_type(plain_campaigns())
    for action in actions:
        candidates = campaigns.get(action.type, [])
        data = _plain(action.data)
        for campaign, currency, amount in rewards(candidates, action.type, data):
            event_id = action.event_id or ""
            yield Line(action.user, event_id, campaign, currency, amount)


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    return {
        name: float(value) if isinstance(value, Decimal) else value
        for name, value in data.items()
    }


def start_app(
    command: Sequence[str], folder: Path, broker: str, **environ: str
) -> "subprocess.Popen[bytes]":
    """Start an ordinary app.

    Args:
      command: The app.
      folder: Where it keeps its tables; there is one.
      broker: URL of what it reads from.
      environ: Further variables of its environment.
    """
    (folder / "campaigns.json").write_text(json.dumps(plain_campaigns()))
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={
            **os.environ,
            "BENCH_FOLDER": str(folder),
            "BENCH_PARTITIONS": str(workload.PARTITIONS),
            "BENCH_BROKER": broker,
            **environ,
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def run_ordinary_round(folder: Path, load: OrdinaryLoad) -> OrdinaryRound:
    """Measure the app in a folder that does not exist yet."""
    folder.mkdir()
    make_log(folder, workload.PARTITIONS)
    log = open_log(folder)
    process = start_app(APP, folder, f"sqlite://{folder}")
    try:
        _append(log, load.warm_up)
        _wait(log, process, len(load.warm_up), load.warm_up_entries)
        cpu_before_s = cpu_s([process.pid])
        began = time.perf_counter()
        _append(log, load.measured)
        _wait(
            log,
            process,
            len(load.warm_up) + load.actions,
            load.warm_up_entries + load.entries,
        )
        seconds = time.perf_counter() - began
        cpu_us = (cpu_s([process.pid]) - cpu_before_s) * 1e6
        return OrdinaryRound(
            load.actions / seconds, peak_rss_mb(process.pid), cpu_us / load.actions
        )
    finally:
        end(process)
        log.close()


def _append(log: SqliteLog, records: Sequence[Append]) -> None:
    for start in range(0, len(records), APPENDS_PER_COMMIT):
        log.append_many(records[start : start + APPENDS_PER_COMMIT])


def _wait(
    log: SqliteLog, process: "subprocess.Popen[bytes]", states: int, entries: int
) -> None:
    """Wait until that many states and entries are stored since the beginning."""
    deadline = time.monotonic() + TIMEOUT_S
    # The log's own first record stands in every partition of `ledger`.
    wanted = (states, entries + workload.PARTITIONS)
    while (stored := (_count(log, CHANGELOG), _count(log, LEDGER))) != wanted:
        if process.poll() is not None:
            raise BenchFailed(f"the ordinary app ended with code {process.returncode}")
        if time.monotonic() > deadline:
            raise BenchFailed(f"stored {stored} states and entries, not {wanted}")
        time.sleep(POLL_S)


def _count(log: SqliteLog, topic: str) -> int:
    return sum(log.end_offset(topic, n) for n in range(workload.PARTITIONS))
