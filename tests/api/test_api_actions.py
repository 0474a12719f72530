"""POST /internal/actions, /internal/actions/bulk and the tally of a batch."""

import msgspec
import pytest

from streams.log import LogUnavailable
from streams.messages import decode_record
from tables.errors import ViewUnavailable
from tests.api.shapes import (
    ACTIONS,
    AUDIENCE,
    BULK,
    CAMPAIGNS,
    created,
    refused,
    simple_campaign,
)
from tests.api.stack import paused, wall_ms

PURCHASE = {"userId": "alice", "action": "purchase"}


def points(client, org, user="alice"):
    return client.get(f"{AUDIENCE}/profile", headers=org.user(user)).json["data"][
        "points"
    ]


def test_an_action_sent_right_after_the_201_earns(client, org):
    body = simple_campaign()
    created(client.post(CAMPAIGNS, json=body, headers=org.admin()), 201)
    sent = client.post(ACTIONS, json=PURCHASE, headers=org.server())
    receipt = created(sent, 202)
    assert receipt["processed"] is False
    assert receipt["message"] == "Action queued for processing"
    assert points(client, org) == 10


def test_an_event_id_counts_once(client, org):
    client.post(CAMPAIGNS, json=simple_campaign(), headers=org.admin())
    for _ in range(3):
        body = PURCHASE | {"eventId": "ord-1"}
        receipt = created(client.post(ACTIONS, json=body, headers=org.server()), 202)
        assert receipt["eventId"] == "ord-1"
    assert points(client, org) == 10


def test_without_an_id_every_action_counts_and_is_named_by_its_position(client, org):
    client.post(CAMPAIGNS, json=simple_campaign(), headers=org.admin())
    ids = set()
    for _ in range(2):
        sent = client.post(ACTIONS, json=PURCHASE, headers=org.server())
        receipt = created(sent, 202)
        position = sent.headers["X-Plaudit-Position"]
        assert receipt["eventId"] == f"evt_{position}-0"
        ids.add(receipt["eventId"])
    assert len(ids) == 2
    assert points(client, org) == 20


def test_the_idempotency_key_stands_in_for_a_missing_event_id(client, org):
    client.post(CAMPAIGNS, json=simple_campaign(), headers=org.admin())
    headers = org.server() | {"Idempotency-Key": "k-1"}
    for _ in range(2):
        receipt = created(client.post(ACTIONS, json=PURCHASE, headers=headers), 202)
        assert receipt["eventId"] == "k-1"
        bulk = {"actions": [PURCHASE, PURCHASE | {"eventId": "own"}]}
        receipt = created(client.post(BULK, json=bulk, headers=headers), 202)
        assert [r["eventId"] for r in receipt["results"]] == ["k-1:0", "own"]
    assert points(client, org) == 30


def test_numbers_keep_their_digits(client, org, stack):
    exact = {"field": "amount", "operator": "==", "value": 0.1}
    body = simple_campaign(conditions={"not": exact})
    client.post(CAMPAIGNS, json=body, headers=org.admin())
    text = (
        b'{"userId":"alice","action":"purchase",'
        b'"data":{"amount":0.1000000000000000055511151231257827,"n":1e2}}'
    )
    sent = client.post(ACTIONS, data=text, headers=org.server())
    created(sent, 202)
    topic, partition, offset = sent.headers["X-Plaudit-Position"].split("-")
    [record] = stack.log.read(topic, int(partition), int(offset), records_max=1)
    assert b"0.1000000000000000055511151231257827" in record.value
    assert points(client, org) == 10, "a binary float would have read 0.1"


def test_a_bad_item_is_rejected_alone(client, org):
    client.post(CAMPAIGNS, json=simple_campaign(), headers=org.admin())
    actions = [
        PURCHASE,
        {"action": "purchase"},
        PURCHASE | {"userId": 7},
        PURCHASE | {"colour": "red"},
        PURCHASE | {"userId": "a,b"},
        PURCHASE | {"timestamp": "yesterday"},
        PURCHASE | {"timestamp": "2999-01-01T00:00:00Z"},
        PURCHASE | {"action": "badge.awarded"},
        PURCHASE | {"data": {"x": "y" * 40_000}},
        PURCHASE | {"eventId": "e" * 256},
        "purchase",
        PURCHASE,
    ]
    sent = client.post(BULK, json={"actions": actions}, headers=org.server())
    receipt = created(sent, 202)
    assert receipt["total"] == 12
    assert receipt["accepted"] == 2
    assert receipt["rejected"] == 10
    found = [
        (r["index"], r["error"]["code"], r["error"]["field"])
        for r in receipt["results"]
        if r["status"] == "rejected"
    ]
    assert found == [
        (1, "VALIDATION_ERROR", "userId"),
        (2, "VALIDATION_ERROR", "userId"),
        (3, "VALIDATION_ERROR", "colour"),
        (4, "VALIDATION_ERROR", "userId"),
        (5, "VALIDATION_ERROR", "timestamp"),
        (6, "TIMESTAMP_IN_FUTURE", "timestamp"),
        (7, "VALIDATION_ERROR", "action"),
        (8, "VALIDATION_ERROR", "data"),
        (9, "VALIDATION_ERROR", "eventId"),
        (10, "VALIDATION_ERROR", None),
    ]
    assert points(client, org) == 20


def test_nesting_beyond_the_bound_rejects_that_item_alone(client, org):
    deep = b'{"userId":"a","action":"x","data":{"d":' + b"[" * 40 + b"]" * 40 + b"}}"
    good = b'{"userId":"a","action":"x"}'
    text = b'{"actions":[' + good + b"," + deep + b"]}"
    receipt = created(client.post(BULK, data=text, headers=org.server()), 202)
    assert [r["status"] for r in receipt["results"]] == ["accepted", "rejected"]
    assert receipt["results"][1]["error"]["field"].startswith("data")


def test_a_bulk_of_only_bad_items_writes_nothing(client, org, nothing_written):
    sent = client.post(BULK, json={"actions": [{}]}, headers=org.server())
    assert created(sent, 202)["accepted"] == 0
    assert "X-Plaudit-Position" not in sent.headers


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"actions": []}, "VALIDATION_ERROR", "actions"),
        ({"actions": [PURCHASE] * 1_001}, "BATCH_TOO_LARGE", "actions"),
        ({"actions": [{}] * 1_001}, "BATCH_TOO_LARGE", "actions"),
        ({}, "VALIDATION_ERROR", "actions"),
        ({"actions": {}}, "VALIDATION_ERROR", "actions"),
        ({"actions": [PURCHASE], "more": 1}, "VALIDATION_ERROR", "more"),
        ({"actions": [PURCHASE], "batchId": "a b"}, "VALIDATION_ERROR", "batchId"),
        ({"actions": [PURCHASE], "batchId": 5}, "VALIDATION_ERROR", "batchId"),
        ({"actions": [PURCHASE], "keepIds": 1}, "VALIDATION_ERROR", "keepIds"),
    ],
)
def test_a_bad_bulk_request_is_refused_whole(
    client, org, nothing_written, body, code, field
):
    refused(client.post(BULK, json=body, headers=org.server()), 400, code, field)


def test_1000_actions_are_welcome_and_keep_their_users_order(client, org):
    actions = [
        {"userId": f"u{i % 7}", "action": "step", "eventId": f"s-{i}"}
        for i in range(1_000)
    ]
    body = {"actions": actions, "batchId": "load-1"}
    sent = client.post(BULK, json=body, headers=org.server())
    assert created(sent, 202)["accepted"] == 1_000
    topics = {part.rpartition("-")[0] for part in
              sent.headers["X-Plaudit-Position"].split(",")}  # fmt: skip
    assert topics == {"users-0", "users-1"}
    batch = f"{AUDIENCE}/internal/batches/load-1"
    expected = {"batchId": "load-1", "applied": 1_000, "duplicate": 0, "refused": 0}
    tally = created(client.get(batch, headers=org.server()), 200)
    assert tally == expected | {"tooLate": 0}
    client.post(BULK, json=body, headers=org.server())
    tally = created(client.get(batch, headers=org.server()), 200)
    assert tally == expected | {"tooLate": 0, "duplicate": 1_000}


def test_a_known_id_is_said_to_be_a_duplicate(client, org, stack):
    def duplicate(body=PURCHASE, caller=org, **headers):
        sent = client.post(ACTIONS, json=body, headers=caller.server() | headers)
        return created(sent, 202)["duplicate"]

    # A mirror has no ids, and says of none that it is known.
    known = not stack.mirrored
    named = PURCHASE | {"eventId": "ord-1"}
    assert [duplicate(named) for _ in range(3)] == [False, known, known]
    assert duplicate(named | {"userId": "bob"}) is False
    assert duplicate(named, stack.new_org()) is False
    assert [duplicate(**{"Idempotency-Key": "k"}) for _ in range(2)] == [False, known]
    assert [duplicate() for _ in range(2)] == [False, False]
    # Ids of a load, which never expire, stand apart.
    body = {"actions": [PURCHASE | {"eventId": "kept"}], "keepIds": True}
    created(client.post(BULK, json=body, headers=org.server()), 202)
    assert duplicate(PURCHASE | {"eventId": "kept"}) is known
    with paused(stack):
        assert [duplicate(named | {"eventId": "e"}) for _ in range(2)] == [False] * 2


def test_an_id_that_is_about_to_expire_is_not_called_a_duplicate(make_client, stack):
    org = stack.new_org(dedupeHorizonMs=86_400_000)
    for passed_ms, expected in [
        (0, False),
        (86_400_000 - 700_000, not stack.mirrored),
        (86_400_000 - 500_000, False),
    ]:
        client = make_client(clock_ms=lambda passed_ms=passed_ms: wall_ms() + passed_ms)
        body = PURCHASE | {"eventId": "ord-1"}
        body.pop("timestamp", None)
        sent = client.post(ACTIONS, json=body, headers=org.server())
        assert created(sent, 202)["duplicate"] is expected


class BusyUsers:
    """A view whose users cannot be read just now."""

    def __init__(self, view):
        self.view = view

    def __getattr__(self, name):
        return getattr(self.view, name)

    def seen_until(self, *_arguments):
        raise ViewUnavailable("rebuilding")


def test_actions_are_taken_while_users_cannot_be_read(make_client, org, stack):
    client = make_client(view=BusyUsers(stack.view))
    sent = client.post(ACTIONS, json=PURCHASE | {"eventId": "e"}, headers=org.server())
    assert created(sent, 202)["duplicate"] is False


def test_a_batch_is_its_orgs_own(client, org, stack):
    body = {"actions": [PURCHASE], "batchId": "mine"}
    client.post(BULK, json=body, headers=org.server())
    other = stack.new_org()
    for path, headers in [("mine", other.server()), ("other", org.server())]:
        answer = client.get(f"{AUDIENCE}/internal/batches/{path}", headers=headers)
        refused(answer, 404, "BATCH_NOT_FOUND")
    odd = client.get(f"{AUDIENCE}/internal/batches/a%00b", headers=org.server())
    refused(odd, 404, "BATCH_NOT_FOUND")


def test_a_generated_batch_id_is_given_where_none_was_sent(client, org):
    sent = client.post(BULK, json={"actions": [PURCHASE]}, headers=org.server())
    assert created(sent, 202)["batchId"].startswith("bat_")


def test_the_orgs_own_future_tolerance_holds(client, stack, make_client):
    strict = stack.new_org(futureToleranceMs=0)
    lax = stack.new_org(futureToleranceMs=86_400_000)
    noon = 1_700_000_000_000
    client = make_client(clock_ms=lambda: noon)
    ahead = PURCHASE | {"timestamp": "2023-11-14T23:00:00Z"}
    assert created(client.post(ACTIONS, json=ahead, headers=lax.server()), 202)
    answer = client.post(ACTIONS, json=ahead, headers=strict.server())
    refused(answer, 400, "TIMESTAMP_IN_FUTURE", "timestamp")


@pytest.mark.parametrize("path", [ACTIONS, BULK])
def test_a_log_that_does_not_answer_is_a_503(client, org, stack, path):
    body = PURCHASE if path == ACTIONS else {"actions": [PURCHASE]}
    stack.failure = LogUnavailable("slow")
    try:
        answer = client.post(path, json=body, headers=org.server())
    finally:
        stack.failure = None
    refused(answer, 503, "SERVICE_UNAVAILABLE")
    assert answer.headers["Retry-After"] == "1"


def test_a_read_waits_for_the_position_of_a_write(client, org, stack):
    read = f"{AUDIENCE}/profile"
    with paused(stack):
        sent = client.post(ACTIONS, json=PURCHASE, headers=org.server())
        seen = {"X-Plaudit-Position": sent.headers["X-Plaudit-Position"]}
        answer = client.get(read, headers=org.user() | seen)
        refused(answer, 503, "SERVICE_UNAVAILABLE")
        assert answer.headers["Retry-After"] == "1"
    answer = client.get(read, headers=org.user() | seen)
    assert created(answer, 200)["createdAt"] is not None


@pytest.mark.parametrize(
    "position", ["x", "users-1", "users-99-1", "orgs-1-1", "dead-0-1", "users-0--1"]
)
def test_a_position_that_is_none_is_refused(client, org, position):
    headers = org.user() | {"X-Plaudit-Position": position}
    answer = client.get(f"{AUDIENCE}/profile", headers=headers)
    refused(answer, 400, "VALIDATION_ERROR", "X-Plaudit-Position")


def test_every_reason_for_a_dead_letter_is_refused_before_the_log(
    client, org, nothing_written
):
    long = "x" * 129
    for body, field in [
        (PURCHASE | {"userId": ""}, "userId"),
        (PURCHASE | {"userId": long}, "userId"),
        (PURCHASE | {"userId": "a\nb"}, "userId"),
        (PURCHASE | {"action": ""}, "action"),
        (PURCHASE | {"action": long}, "action"),
        (PURCHASE | {"action": "tier.changed"}, "action"),
        (PURCHASE | {"eventId": ""}, "eventId"),
        (PURCHASE | {"metadata": {"n": 10**40}}, "metadata.n"),
        (PURCHASE | {"data": []}, "data"),
    ]:
        answer = client.post(ACTIONS, json=body, headers=org.server())
        refused(answer, 400, "VALIDATION_ERROR", field)


def test_text_beyond_the_basic_plane_is_welcome(client, org):
    text = msgspec.json.encode({"actions": [PURCHASE | {"data": {"é": "\U0001f600"}}]})
    assert created(client.post(BULK, data=text, headers=org.server()), 202)


def test_a_position_beyond_the_log_is_refused(client, org):
    headers = org.user() | {"X-Plaudit-Position": "users-0-999999999"}
    answer = client.get(f"{AUDIENCE}/profile", headers=headers)
    refused(answer, 400, "VALIDATION_ERROR", "X-Plaudit-Position")


def test_bodies_beyond_the_bound_wait_and_are_then_refused(
    org, make_client, monkeypatch
):
    monkeypatch.setattr("api.body.UPLOAD_WAIT_S", 0.01)
    client = make_client()
    places = client.app.extensions["plaudit"].uploads
    held = 0
    while places.acquire(blocking=False):
        held += 1
    action = {"userId": "alice", "action": "purchase"}
    refused(
        client.post(ACTIONS, json=action, headers=org.server()),
        503,
        "SERVICE_UNAVAILABLE",
    )
    for _ in range(held):
        places.release()
    sent = client.post(ACTIONS, json=action, headers=org.server())
    assert sent.status_code == 202


@pytest.mark.parametrize(
    "actions",
    [
        [PURCHASE] * 3,
        [PURCHASE | {"eventId": "e-1", "data": {"n": 1.5}, "metadata": None}],
        [PURCHASE | {"timestamp": "2025-10-06T16:45:00.25+01:00"}, PURCHASE],
        [PURCHASE | {"timestamp": "2999-01-01T00:00:00Z"}, PURCHASE],
        [PURCHASE, PURCHASE | {"action": "tier.changed"}, PURCHASE | {"x": 1}],
        [PURCHASE, 7, PURCHASE | {"data": [1]}, PURCHASE | {"userId": "b,c"}],
    ],
)
@pytest.mark.parametrize("key", [None, "k-1"])
def test_a_glance_at_all_actions_answers_as_a_look_at_each(
    client, stack, monkeypatch, actions, key
):
    body = {"actions": actions, "keepIds": True, "batchId": "b-1"}
    outcomes = []
    for glance in (True, False):
        org = stack.new_org()
        if not glance:
            monkeypatch.setattr("api.actions.plain_actions", lambda *_, **__: None)
        headers = org.server() | ({"Idempotency-Key": key} if key else {})
        sent = client.post(BULK, json=body, headers=headers)
        receipt = created(sent, 202)
        places = []
        for position in sent.headers["X-Plaudit-Position"].split(","):
            topic, partition, offset = position.split("-")
            [record] = stack.log.read(topic, int(partition), int(offset), records_max=1)
            messages = decode_record(record.key, record.value).messages
            for place, message in enumerate(messages):
                named = f"evt_{position}-{place}"
                places.append(named)
                message.org = "same"
                outcomes.append(repr(message))
        assert all(
            result.get("eventId") in {*places, "e-1", f"{key}:{result['index']}"}
            for result in receipt["results"]
            if result["status"] == "accepted"
        )
        outcomes.append(
            [
                result | {"eventId": "evt"}
                if result.get("eventId", "").startswith("evt_")
                else result
                for result in receipt["results"]
            ]
        )
    # Another org's users are in other partitions: the order of records may differ.
    half = len(outcomes) // 2
    assert sorted(map(str, outcomes[:half])) == sorted(map(str, outcomes[half:]))
