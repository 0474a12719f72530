"""Prometheus metrics: what was asked, how long it took, how far the tables are."""

import time
from collections.abc import Iterator

from flask import Blueprint, Flask, Response, current_app, g, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.metrics import Counter, Histogram
from prometheus_client.registry import Collector

from api.auth import OPEN, Caller
from api.ends import ANSWER_TIMEOUT_S, Place
from api.operation import operation
from api.services import Services
from tables.codec import Heartbeat, PartitionRow
from tables.errors import ViewUnavailable

_KEY = "plaudit-metrics"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class TableCollector(Collector):
    """Reads the tables' counters and positions when they are asked for."""

    def __init__(self, held: Services) -> None:
        """Collect from an app's services."""
        self._held = held

    def describe(self) -> Iterator[Metric]:
        """Return nothing: registering must not read the tables."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of every partition, as far as log and tables answer.

        One deadline holds for all questions, far below what Prometheus waits: counts of
        requests must not be lost because something else is away.
        """
        labels = ["topic", "partition"]
        outcomes = CounterMetricFamily(
            "plaudit_outcomes",
            "Outcomes of folding since the beginning of the log",
            labels=[*labels, "outcome"],
        )
        applied = GaugeMetricFamily(
            "plaudit_applied_offset", "Last folded offset", labels=labels
        )
        lag = GaugeMetricFamily(
            "plaudit_lag_records", "Records not yet folded", labels=labels
        )
        parked = GaugeMetricFamily(
            "plaudit_parked", "1 while a partition stands parked", labels=labels
        )
        answers = GaugeMetricFamily(
            "plaudit_log_answers", "1 while the log says where it ends", labels=labels
        )
        snapshots = _SnapshotMetrics(labels)
        machines = self._held.config.machines()
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        asked = self._held.ends.ask(machines)
        seen = [self._look_until(deadline, machine) for machine in machines]
        left_s = max(deadline - time.monotonic(), 0)
        ends = self._held.ends.collect(machines, asked, left_s)
        for machine, found in zip(machines, seen, strict=True):
            where = [machine[0], str(machine[1])]
            answers.add_metric(where, int(machine in ends))
            if found is None:
                continue
            row, beat, counters = found
            offset = -1 if row is None else row.offset
            applied.add_metric(where, offset)
            if machine in ends:
                lag.add_metric(where, max(ends[machine] - 1 - offset, 0))
            parked.add_metric(
                where, int(beat is not None and beat.parked_offset is not None)
            )
            snapshots.add(where, beat or Heartbeat(0, 0))
            for name, count in sorted(counters.items()):
                outcomes.add_metric([*where, name], count)
        yield from (outcomes, applied, lag, answers, parked, *snapshots.families())

    def _look_until(
        self, deadline: float, place: Place
    ) -> tuple[PartitionRow | None, Heartbeat | None, dict[str, int]] | None:
        """Return what a partition's tables say; None: there was no time to ask."""
        view = self._held.view
        if time.monotonic() >= deadline:
            return None
        try:
            return view.position(*place), view.heartbeat(*place), view.counters(*place)
        except ViewUnavailable:
            return None, None, {}


class _SnapshotMetrics:
    """What the partitions' owners say of their snapshots."""

    def __init__(self, labels: list[str]) -> None:
        self._newest = GaugeMetricFamily(
            "plaudit_snapshot_offset",
            "Last offset of the newest snapshot, -1: none known",
            labels=labels,
        )
        self._taken = GaugeMetricFamily(
            "plaudit_snapshot_timestamp_seconds",
            "When the newest snapshot was complete, 0: none known",
            labels=labels,
        )
        self._failing = GaugeMetricFamily(
            "plaudit_snapshot_failures",
            "Attempts in a row at a snapshot that failed",
            labels=labels,
        )

    def add(self, where: list[str], beat: Heartbeat) -> None:
        """Add a partition."""
        known = beat.snapshot_offset
        self._newest.add_metric(where, -1 if known is None else known)
        self._taken.add_metric(where, (beat.snapshot_wall_ms or 0) / 1_000)
        self._failing.add_metric(where, beat.snapshot_failures)

    def families(self) -> tuple[Metric, ...]:
        """Return the metrics."""
        return self._newest, self._taken, self._failing


class Metrics:
    """The metrics of one app."""

    def __init__(self, held: Services) -> None:
        """Register everything in a registry of its own."""
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "plaudit_http_requests",
            "Requests answered",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "plaudit_http_request_seconds",
            "Time to answer, seconds",
            ["method", "route"],
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self.registry.register(TableCollector(held))

    def observe(self, response: Response) -> Response:
        """Count one answer. A route is its pattern, so that labels stay few."""
        method = request.method if request.method in _METHODS else "OTHER"
        route = request.url_rule.rule if request.url_rule else "none"
        self.requests.labels(method, route, str(response.status_code)).inc()
        self.seconds.labels(method, route).observe(time.perf_counter() - g.began)
        return response


blueprint = Blueprint("metrics", __name__)


def install(app: Flask, held: Services) -> None:
    """Measure an app."""
    metrics = Metrics(held)
    app.extensions[_KEY] = metrics
    app.after_request(metrics.observe)


@blueprint.get("/metrics")
@operation(OPEN, answers={200: "Metrics"})
def get_metrics(_caller: Caller) -> Response:
    """Read the metrics in Prometheus' text format."""
    metrics: Metrics = current_app.extensions[_KEY]
    return Response(generate_latest(metrics.registry), content_type=CONTENT_TYPE_LATEST)
