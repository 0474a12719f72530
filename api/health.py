"""Is the process alive, and do the tables answer for what the log holds?"""

import time
from math import ceil
from threading import Lock
from typing import NamedTuple

from flask import Blueprint, Flask, Response, current_app

from api.auth import OPEN, Caller
from api.ends import ANSWER_TIMEOUT_S, Place
from api.envelope import now_ms, success
from api.operation import operation
from api.problems import RETRY_AFTER_S
from api.services import Services, services
from rules.message import JsonObject
from tables.codec import Heartbeat
from tables.errors import ViewUnavailable

_KEY = "plaudit-readiness"
PARKED = "A record cannot be folded; `plaudit status` says why and what to do"
"""All that is said to anybody: the full reason may quote what an org sent."""


class _Seen(NamedTuple):
    """How far one partition is, as its tables say.

    Attributes:
      applied: Last folded offset; -1: none.
      beat: The owner's heartbeat.
      readable: Whether the tables are in force; they are not while being rebuilt.
      exists: Whether there are rows at all.
      asked: Whether there was time to ask them.
    """

    applied: int
    beat: Heartbeat | None
    readable: bool
    exists: bool
    asked: bool = True


_UNKNOWN = _Seen(-1, None, readable=False, exists=False)


class Readiness:
    """Remembers up to where each partition must be folded before reads make sense."""

    def __init__(self, held: Services) -> None:
        """Begin with nothing caught up; the log as it is now is what must be."""
        self._lock = Lock()
        machines = held.config.machines()
        self._targets = {machine: held.end_offset(*machine) - 1 for machine in machines}
        self._greatest = dict.fromkeys(machines, -1)
        self._caught_up: set[Place] = set()
        # Since when, and from which offset, a partition is being caught up.
        self._began: dict[Place, tuple[int, int]] = {}

    def report(self, held: Services, at_ms: int) -> JsonObject:
        """Return the state of the whole and of every partition.

        One deadline holds for all that the log and the tables are asked. What has not
        answered by then is told as starting; one question to the tables may outlast it.

        Returns:
          ``{"status": "starting" | "unavailable" | "degraded" | "ready",
          "partitions": [...]}``.
        """
        machines = held.config.machines()
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        asked = held.ends.ask(machines)
        seen = [_look_until(deadline, held, machine) for machine in machines]
        ends = held.ends.collect(machines, asked, max(deadline - time.monotonic(), 0))
        partitions = [
            self._partition(held, machine, found, ends.get(machine), at_ms)
            for machine, found in zip(machines, seen, strict=True)
        ]
        states = {partition["state"] for partition in partitions}
        status = "ready"
        if states & {"starting", "rebuilding"}:
            status = "starting"
        elif len(ends) < len(machines):
            status = "unavailable"
        elif states & {"parked", "silent"}:
            status = "degraded"
        return {"status": status, "partitions": partitions}

    def _partition(
        self, held: Services, machine: Place, seen: _Seen, end: int | None, at_ms: int
    ) -> JsonObject:
        beat = seen.beat
        lag = None if end is None else max(end - 1 - seen.applied, 0)
        with self._lock:
            # Of tables that were not asked nothing is learnt, nor forgotten.
            caught_up = seen.asked and self._is_caught_up(machine, seen)
            rate = None
            if seen.asked and not caught_up:
                rate = self._rate(machine, seen.applied, at_ms)
        state = "ready"
        if beat is not None and beat.parked_offset is not None:
            state = "parked"
        elif not caught_up:
            state = "starting" if seen.readable or not seen.exists else "rebuilding"
        elif beat is None or at_ms - beat.wall_ms > held.config.heartbeat_stale_ms:
            state = "silent"
        return {
            "topic": machine[0],
            "partition": machine[1],
            "state": state,
            "appliedOffset": seen.applied,
            "endOffset": end,
            "lag": lag,
            "recordsPerSecond": None if rate is None else round(rate, 1),
            "secondsLeft": ceil(lag / rate) if rate and lag is not None else None,
            "parkedOffset": beat.parked_offset if beat else None,
            "reason": PARKED if state == "parked" else None,
        }

    def _is_caught_up(self, machine: Place, seen: _Seen) -> bool:
        """Return whether a partition has reached the end that it had at the start.

        Tables that fall behind what was seen of them were lost and are made anew.
        """
        if not seen.readable or seen.applied < self._greatest[machine]:
            self._caught_up.discard(machine)
            self._targets[machine] = max(
                self._targets[machine], self._greatest[machine]
            )
        if not seen.readable:
            return False
        self._greatest[machine] = max(self._greatest[machine], seen.applied)
        if seen.exists and seen.applied >= self._targets[machine]:
            self._caught_up.add(machine)
            self._began.pop(machine, None)
        return seen.exists and machine in self._caught_up

    def _rate(self, machine: Place, applied: int, at_ms: int) -> float | None:
        """Return records per second since this catching up was first seen, or None."""
        began = self._began.get(machine)
        if began is None or applied < began[1]:
            self._began[machine] = (at_ms, applied)
            return None
        passed_ms = at_ms - began[0]
        return (applied - began[1]) * 1_000 / passed_ms if passed_ms > 0 else None


def _look_until(deadline: float, held: Services, machine: Place) -> _Seen:
    """Look at a partition's tables, or not at all once the time is over."""
    if time.monotonic() >= deadline:
        return _UNKNOWN._replace(asked=False)
    return _look(held, machine, deadline)


def _look(held: Services, machine: Place, deadline: float) -> _Seen:
    view = held.view
    try:
        row = view.position(*machine)
        beat = view.heartbeat(*machine)
    except ViewUnavailable:
        # Tables that took all the time to say no take it again for a draft.
        late = time.monotonic() >= deadline
        return _UNKNOWN if late else _look_at_draft(held, machine)
    applied = -1 if row is None else row.offset
    return _Seen(applied, beat, readable=True, exists=row is not None)


def _look_at_draft(held: Services, machine: Place) -> _Seen:
    """Look at tables that are being rebuilt, if there are any."""
    try:
        draft = held.view.draft(*machine)
    except ViewUnavailable:
        draft = None
    if draft is None:
        return _UNKNOWN
    row = draft.position
    applied = -1 if row is None else row.offset
    return _Seen(applied, draft.heartbeat, readable=False, exists=True)


blueprint = Blueprint("health", __name__)


def install(app: Flask, held: Services) -> None:
    """Give an app its memory of what was caught up."""
    app.extensions[_KEY] = Readiness(held)


@blueprint.get("/health")
@operation(OPEN, answers={200: "Health"})
def get_health(_caller: Caller) -> Response:
    """Tell that the process answers."""
    return success({"status": "ok"})


@blueprint.get("/ready")
@operation(OPEN, answers={200: "Readiness", 503: "Readiness"})
def get_ready(_caller: Caller) -> Response:
    """Tell whether reads can be served, partition by partition.

    ``starting`` (503) until the tables hold what the log held at the start, and while
    lost ones are rebuilt, with how fast and how long still; ``unavailable`` (503) while
    the log does not say where it ends: nothing can be written, reads go on;
    ``degraded`` while a partition is parked or its worker is silent: the others go on.
    """
    readiness: Readiness = current_app.extensions[_KEY]
    report = readiness.report(services(), now_ms())
    if report["status"] not in {"starting", "unavailable"}:
        return success(report)
    return success(report, 503, {"Retry-After": str(RETRY_AFTER_S)})
