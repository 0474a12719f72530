"""Health, readiness, metrics and the OpenAPI document."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from api.app import create_app
from api.config import ApiConfig
from tables.errors import ViewUnavailable
from tables.views import Draft
from tests.api.shapes import ACTIONS, AUDIENCE, CAMPAIGNS, created, refused
from tests.api.stack import MACHINES, PARTITIONS, paused, wall_ms

ROOT = Path(__file__).parents[2]
ADMIN_COMMANDS_ONLY = {
    "KEY_EXISTS",
    "KEY_LIMIT_REACHED",
    "KEY_NOT_FOUND",
    "ORG_EXISTS",
}


class MissingTables:
    """A view before the worker has made any tables."""

    def age_ms(self):
        return 0

    def __getattr__(self, name):
        def missing(*_arguments, **_options):
            raise ViewUnavailable("no state")

        return missing


def test_health_needs_nothing(make_client):
    client = make_client(view=MissingTables())
    assert created(client.get("/health"), 200) == {"status": "ok"}


def test_ready_once_the_tables_hold_what_the_log_held(make_client, org, stack):
    client = make_client()
    report = created(client.get("/ready"), 200)
    assert report["status"] == "ready"
    places = [(p["topic"], p["partition"]) for p in report["partitions"]]
    assert places == MACHINES
    assert {p["lag"] for p in report["partitions"]} == {0}


def test_starting_until_the_tables_exist(make_client, org):
    client = make_client(view=MissingTables())
    answer = client.get("/ready")
    report = created(answer, 503)
    assert report["status"] == "starting"
    assert {p["state"] for p in report["partitions"]} == {"starting"}
    assert answer.headers["Retry-After"] == "1"
    for path, headers in [
        (f"{AUDIENCE}/profile", org.user()),
        (CAMPAIGNS, org.admin()),
    ]:
        answer = client.get(path, headers=headers)
        refused(answer, 503, "SERVICE_UNAVAILABLE")


def test_a_lag_at_the_start_must_be_caught_up_and_a_later_one_need_not(
    make_client, org, stack
):
    body = {"userId": "alice", "action": "purchase"}
    other = make_client()
    with paused(stack):
        created(other.post(ACTIONS, json=body, headers=org.server()), 202)
        client = make_client()
        report = created(client.get("/ready"), 503)
        assert report["status"] == "starting"
        assert sum(p["lag"] for p in report["partitions"]) == 1
        stack.fold()
        assert created(client.get("/ready"), 200)["status"] == "ready"
        created(other.post(ACTIONS, json=body, headers=org.server()), 202)
        report = created(client.get("/ready"), 200)
        assert report["status"] == "ready"
        assert sum(p["lag"] for p in report["partitions"]) == 1


class Rebuilding(MissingTables):
    """A view of tables that were there, and are made anew."""

    def __init__(self, view):
        self._view = view
        self.applied = None

    def draft(self, topic, partition):
        row = self._view.position(topic, partition)
        return Draft(msgspec.structs.replace(row, offset=self.applied), None)

    def __getattr__(self, name):
        if self.applied is None:
            return getattr(self._view, name)
        return super().__getattr__(name)


def test_a_rebuild_is_shown_with_its_rate_until_it_is_over(make_client, org, stack):
    now = [wall_ms()]
    view = Rebuilding(stack.view)
    client = make_client(view=view, clock_ms=lambda: now[0])
    created(client.get("/ready"), 200)
    view.applied = 0
    report = created(client.get("/ready"), 503)
    assert report["status"] == "starting"
    assert {p["state"] for p in report["partitions"]} == {"rebuilding"}
    assert {p["secondsLeft"] for p in report["partitions"]} == {None}
    now[0] += 1_000
    view.applied = 1
    report = created(client.get("/ready"), 503)
    for one in report["partitions"]:
        assert one["recordsPerSecond"] == 1.0
        assert one["secondsLeft"] == one["lag"] == one["endOffset"] - 2
    refused(client.get(CAMPAIGNS, headers=org.admin()), 503, "SERVICE_UNAVAILABLE")
    view.applied = None
    assert created(client.get("/ready"), 200)["status"] == "ready"


def test_tables_that_fall_back_must_be_caught_up_again(make_client, org, stack):
    class FallenBack:
        behind = 0

        def position(self, topic, partition):
            row = stack.view.position(topic, partition)
            return msgspec.structs.replace(row, offset=row.offset - self.behind)

        def __getattr__(self, name):
            return getattr(stack.view, name)

    view = FallenBack()
    client = make_client(view=view)
    created(client.get("/ready"), 200)
    view.behind = 1
    report = created(client.get("/ready"), 503)
    assert {p["state"] for p in report["partitions"]} == {"starting"}
    view.behind = 0
    created(client.get("/ready"), 200)


def test_a_parked_partition_degrades_and_says_why(make_client, org, stack):
    client = make_client()
    created(client.get("/ready"), 200)
    stack.beat("users", 1, 42, "ValueError: alice of org acme")
    try:
        report = created(client.get("/ready"), 200)
    finally:
        stack.beat("users", 1)
    assert report["status"] == "degraded"
    [parked] = [p for p in report["partitions"] if p["state"] == "parked"]
    assert (parked["partition"], parked["parkedOffset"]) == (1, 42)
    # Anybody may ask: the reason itself may quote what an org sent.
    assert "plaudit status" in parked["reason"]
    assert "alice" not in parked["reason"]
    assert {p["reason"] for p in report["partitions"] if p != parked} == {None}


def test_a_silent_worker_degrades(make_client, stack):
    later = make_client(clock_ms=lambda: wall_ms() + 31_000)
    report = created(later.get("/ready"), 200)
    assert report["status"] == "degraded"
    assert {p["state"] for p in report["partitions"]} == {"silent"}


def test_metrics_tell_requests_outcomes_and_lag(make_client, org):
    client = make_client()
    body = {"userId": "alice", "action": "purchase"}
    client.post(ACTIONS, json=body, headers=org.server())
    client.get(f"{CAMPAIGNS}/camp_none", headers=org.admin())
    client.get("/nowhere/at/all")
    text = client.get("/metrics").text
    for line in [
        f'plaudit_http_requests_total{{method="POST",route="{ACTIONS}",status="202"}}',
        f'route="{CAMPAIGNS}/<campaign_id>",status="404"}} 1.0',
        'plaudit_http_requests_total{method="GET",route="none",status="404"} 1.0',
        f'plaudit_http_request_seconds_count{{method="POST",route="{ACTIONS}"}} 1.0',
        'plaudit_lag_records{partition="0",topic="orgs"} 0.0',
        'plaudit_parked{partition="1",topic="users"} 0.0',
        'plaudit_outcomes_total{outcome="applied",partition=',
        'plaudit_applied_offset{partition="0",topic="users"}',
    ]:
        assert line in text
    assert org.id not in text


def test_metrics_without_tables(make_client):
    client = make_client(view=MissingTables())
    text = client.get("/metrics").text
    assert 'plaudit_applied_offset{partition="0",topic="users"} -1.0' in text


def test_the_document_has_every_route_and_no_other(client):
    routes = set()
    for rule in client.app.url_map.iter_rules():
        path = re.sub(
            r"<([a-z]+)_([a-z]+)>", lambda m: f"{{{m[1]}{m[2].title()}}}", rule.rule
        )
        routes |= {(path, m.lower()) for m in rule.methods - {"HEAD", "OPTIONS"}}
    described = {
        (path, method)
        for path, methods in client.document["paths"].items()
        for method in methods
    }
    assert described == routes
    assert len(routes) == 32


def test_the_document_holds_together(client):
    document = client.document
    text = json.dumps(document)
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', text)):
        found = document
        for part in reference.split("/"):
            found = found[part]
    for kind, names in document["components"].items():
        for name in names:
            used = f'"#/components/{kind}/{name}"' in text or kind == "securitySchemes"
            assert used, f"{kind}/{name} is described and never used"
    ids = [
        operation["operationId"]
        for methods in document["paths"].values()
        for operation in methods.values()
    ]
    assert len(ids) == len(set(ids))
    for methods in document["paths"].values():
        for operation in methods.values():
            assert operation["summary"]


def test_the_document_names_every_error_code(client):
    known = set(client.document["components"]["schemas"]["ErrorCode"]["enum"])
    found = set()
    for package in ("rules", "api"):
        for path in (ROOT / package).glob("*.py"):
            text = path.read_text("utf-8")
            found |= set(re.findall(r'"([A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+)"', text))
    found |= {"UNAUTHORIZED", "FORBIDDEN", "CONFLICT", "IDEMPOTENCY_KEY_REUSED"}
    found -= {"MAX_CONTENT_LENGTH"}
    assert found - known == ADMIN_COMMANDS_ONLY
    assert known - found == {"UNKNOWN_ORG"}, "a code that nothing gives"


def test_only_declared_routes_are_open(client):
    opened = {
        path
        for path, methods in client.document["paths"].items()
        for operation in methods.values()
        if not operation["security"]
    }
    assert opened == {"/health", "/ready", "/metrics", "/openapi.json"}


def test_two_apps_in_one_process_keep_apart(stack):
    apps = [
        create_app(
            ApiConfig(partitions=PARTITIONS),
            writer=stack,
            view=stack.view,
            secrets=stack.secrets,
            end_offset=stack.log.end_offset,
        )
        for _ in range(2)
    ]
    apps[0].test_client().get("/health")
    text = apps[1].test_client().get("/metrics").text
    assert 'route="/health"' not in text


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/openapi.json"])
def test_open_routes_ignore_credentials(client, path):
    answer = client.get(path, headers={"Authorization": "Bearer x"})
    assert answer.status_code == 200
