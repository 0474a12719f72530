"""Is the process alive, and do the tables answer for what the log holds?"""

from threading import Lock

from flask import Blueprint, Flask, Response, current_app

from api.auth import OPEN, Caller
from api.envelope import now_ms, success
from api.operation import operation
from api.problems import RETRY_AFTER_S
from api.services import Services, services
from rules.message import JsonObject
from tables.codec import Heartbeat, PartitionRow
from tables.errors import ViewUnavailable

_KEY = "plaudit-readiness"


class Readiness:
    """Remembers up to where each partition must be folded before reads make sense."""

    def __init__(self, held: Services) -> None:
        """Begin with nothing caught up; the log as it is now is what must be."""
        self._lock = Lock()
        self._targets = {
            machine: held.end_offset(*machine) - 1 for machine in held.config.machines()
        }
        self._caught_up: set[tuple[str, int]] = set()

    def report(self, held: Services, at_ms: int) -> JsonObject:
        """Return the state of the whole and of every partition.

        Returns:
          ``{"status": "starting" | "degraded" | "ready", "partitions": [...]}``.
        """
        machines = held.config.machines()
        partitions = [self._partition(held, *machine, at_ms) for machine in machines]
        states = {partition["state"] for partition in partitions}
        status = "ready"
        if "starting" in states:
            status = "starting"
        elif states & {"parked", "silent"}:
            status = "degraded"
        return {"status": status, "partitions": partitions}

    def _partition(
        self, held: Services, topic: str, partition: int, at_ms: int
    ) -> JsonObject:
        end = held.end_offset(topic, partition)
        row: PartitionRow | None = None
        beat: Heartbeat | None = None
        try:
            row = held.view.position(topic, partition)
            beat = held.view.heartbeat(topic, partition)
        except ViewUnavailable:
            # Not there yet: shown as starting.
            pass
        applied = -1 if row is None else row.offset
        parked = beat is not None and beat.parked_offset is not None
        state = "ready"
        if parked:
            state = "parked"
        elif not self._is_caught_up((topic, partition), applied, row is not None):
            state = "starting"
        elif beat is None or at_ms - beat.wall_ms > held.config.heartbeat_stale_ms:
            state = "silent"
        return {
            "topic": topic,
            "partition": partition,
            "state": state,
            "appliedOffset": applied,
            "endOffset": end,
            "lag": max(end - 1 - applied, 0),
            "parkedOffset": beat.parked_offset if beat else None,
            "reason": beat.parked_reason if beat else None,
        }

    def _is_caught_up(
        self, machine: tuple[str, int], applied: int, exists: bool
    ) -> bool:
        """Return whether a partition has reached the end that it had at the start."""
        with self._lock:
            if exists and applied >= self._targets[machine]:
                self._caught_up.add(machine)
            return exists and machine in self._caught_up


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

    ``starting`` (503) until the tables hold what the log held at the start;
    ``degraded`` while a partition is parked or its worker is silent: the others go on.
    """
    readiness: Readiness = current_app.extensions[_KEY]
    report = readiness.report(services(), now_ms())
    if report["status"] != "starting":
        return success(report)
    return success(report, 503, {"Retry-After": str(RETRY_AFTER_S)})
