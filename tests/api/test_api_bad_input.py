"""What bad input gets: a clear 4xx with a code and the field, and nothing changed."""

import io

import pytest

from tests.api.shapes import (
    ACTIONS,
    AUDIENCE,
    BULK,
    CAMPAIGNS,
    RULES,
    SEGMENTS,
    advanced_campaign,
    created,
    points_rule,
    refused,
    simple_campaign,
)

PURCHASE = {"userId": "alice", "action": "purchase"}
WRITES = [
    ("POST", ACTIONS),
    ("POST", BULK),
    ("POST", CAMPAIGNS),
    ("POST", RULES),
    ("POST", SEGMENTS),
    ("PATCH", f"{AUDIENCE}/profile"),
]
MALFORMED = {
    "empty": b"",
    "not JSON": b"hello",
    "cut off": b'{"userId":"a"',
    "NaN": b'{"userId":"a","action":"b","data":{"x":NaN}}',
    "Infinity": b'{"userId":"a","action":"b","data":{"x":-Infinity}}',
    "deep arrays": b"[" * 100_000,
    "deep objects": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "deep inside": b'{"userId":"a","action":"b","data":{"x":' + b"[" * 2_000
    + b"]" * 2_000 + b"}}",
    "invalid UTF-8": b'{"userId":"\xff\xfe","action":"b"}',
    "lone surrogate": b'{"userId":"\\ud800","action":"b"}',
    "absurd exponent": b'{"userId":"a","action":"b","data":{"x":1e'
    + b"9" * 30 + b"}}",
    "a list": b"[]",
    "a string": b'"x"',
    "null": b"null",
    "two values": b"{}{}",
    "UTF-16": '{"a":1}'.encode("utf-16"),
}  # fmt: skip


def headers_for(org, path):
    if path.startswith(f"{AUDIENCE}/internal"):
        return org.server()
    return org.user() if path.startswith(AUDIENCE) else org.admin()


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED.keys())
@pytest.mark.parametrize(("method", "path"), WRITES)
def test_malformed_json(client, org, nothing_written, method, path, text):
    headers = headers_for(org, path)
    answer = client.send(method, path, data=text, headers=headers)
    refused(answer, 400, "VALIDATION_ERROR")


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_a_body_beyond_the_limit(client, org, nothing_written, method, path):
    text = b'{"userId":"' + b"x" * 10_000_000 + b'"}'
    answer = client.send(method, path, data=text, headers=headers_for(org, path))
    code = "BATCH_TOO_LARGE" if path == BULK else "PAYLOAD_TOO_LARGE"
    refused(answer, 413, code)


def test_a_body_of_unknown_length_beyond_the_limit(client, org, nothing_written):
    text = io.BytesIO(b'{"userId":"' + b"x" * 5_000_001 + b'"}')
    answer = client.post(
        ACTIONS,
        input_stream=text,
        environ_overrides={"wsgi.input_terminated": True},
        headers=org.server() | {"Transfer-Encoding": "chunked"},
    )
    refused(answer, 413, "PAYLOAD_TOO_LARGE")
    assert text.read() == b"", "the client was still sending"


def test_a_body_of_exactly_the_limit_is_read(client, org, nothing_written):
    for size, status in [(5_000_000, 400), (5_000_001, 413)]:
        text = b'{"x":"' + b"y" * (size - 8) + b'"}'
        answer = client.post(ACTIONS, data=text, headers=org.server())
        assert (len(text), answer.status_code) == (size, status)


def test_an_admin_body_must_fit_in_a_record(client, org, nothing_written):
    body = simple_campaign(description="x" * 600_000)
    answer = client.post(CAMPAIGNS, json=body, headers=org.admin())
    refused(answer, 413, "PAYLOAD_TOO_LARGE")


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_an_unknown_field_is_named(client, org, nothing_written, method, path):
    body = {
        ACTIONS: PURCHASE,
        BULK: {"actions": [PURCHASE]},
        CAMPAIGNS: simple_campaign(),
        RULES: points_rule(campaignId="camp_x"),
        SEGMENTS: {"name": "s", "type": "static", "userIds": ["a"]},
        f"{AUDIENCE}/profile": {"displayName": "Al"},
    }[path]
    answer = client.send(
        method, path, json=body | {"colour": 1}, headers=headers_for(org, path)
    )
    refused(answer, 400, "VALIDATION_ERROR", "colour")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"userId": 7}, "userId"),
        ({"userId": None}, "userId"),
        ({"action": ["x"]}, "action"),
        ({"eventId": 7}, "eventId"),
        ({"timestamp": 1_700_000_000}, "timestamp"),
        ({"data": "x"}, "data"),
        ({"metadata": 1}, "metadata"),
    ],
)
def test_wrong_types_in_an_action(client, org, nothing_written, body, field):
    answer = client.post(ACTIONS, json=PURCHASE | body, headers=org.server())
    refused(answer, 400, "VALIDATION_ERROR", field)


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"name": 7}, "VALIDATION_ERROR", "name"),
        ({"name": ""}, "VALIDATION_ERROR", "name"),
        ({"name": "x" * 201}, "VALIDATION_ERROR", "name"),
        ({"type": "Lottery"}, "INVALID_CAMPAIGN_TYPE", "type"),
        ({"type": "Challenge"}, "NOT_SUPPORTED", "type"),
        ({"type": "Streak"}, "NOT_SUPPORTED", "type"),
        ({"mode": "sometimes"}, "VALIDATION_ERROR", "mode"),
        ({"mode": "time-bound"}, "MISSING_START_DATE", "startDate"),
        (
            {"mode": "time-bound", "startDate": "2025-01-01"},
            "MISSING_END_DATE",
            "endDate",
        ),
        ({"triggers": []}, "MISSING_TRIGGERS", "triggers"),
        ({"effects": []}, "MISSING_EFFECTS", "effects"),
        ({"priority": 11}, "VALIDATION_ERROR", "priority"),
        ({"priority": True}, "VALIDATION_ERROR", "priority"),
        ({"status": "paused"}, "VALIDATION_ERROR", "status"),
        ({"segmentIds": ["a"] * 6}, "VALIDATION_ERROR", "segmentIds"),
        ({"segmentIds": ["seg_none"]}, "SEGMENT_NOT_FOUND", "segmentIds[0]"),
        ({"challengeConfig": {"steps": []}}, "NOT_SUPPORTED", "challengeConfig"),
        ({"limits": {"total": {"count": 1}}}, "NOT_SUPPORTED", "limits.total"),
        ({"metadata": {"prizes": []}}, "NOT_SUPPORTED", "metadata.prizes"),
        (
            {"triggers": [{"eventType": "badge.awarded"}]},
            "NOT_SUPPORTED",
            "triggers[0].eventType",
        ),
        (
            {"effects": [{"type": "increment_streak"}]},
            "NOT_SUPPORTED",
            "effects[0].type",
        ),
        (
            {"conditions": [{"field": "x", "operator": "matches", "value": "(?<=a)b"}]},
            "INVALID_CONDITION",
            "conditions[0].value",
        ),
        (
            {"conditions": [{"field": "x", "operator": "resembles", "value": 1}]},
            "INVALID_CONDITION",
            "conditions[0].operator",
        ),
    ],
)
def test_bad_campaigns(client, org, changes, code, field):
    body = simple_campaign(**changes)
    answer = client.post(CAMPAIGNS, json=body, headers=org.admin())
    refused(answer, 400, code, field)
    listed = client.get(CAMPAIGNS, headers=org.admin())
    assert created(listed, 200)["campaigns"] == []


@pytest.mark.parametrize(
    ("amount", "field"),
    [
        (0, "effects[0].amount"),
        (1.5, "effects[0].amount"),
        ("10", "effects[0].amount"),
        (1_000_000_001, "effects[0].amount"),
        (None, "effects[0].amount"),
        ({"multiply": 2}, "effects[0].amount.field"),
        ({"field": "x", "multiply": 0}, "effects[0].amount.multiply"),
        ({"field": "x", "round": "up"}, "effects[0].amount.round"),
        ({"field": "x", "min": 9, "max": 5}, "effects[0].amount.min"),
        ({"field": "x", "more": 1}, "effects[0].amount.more"),
    ],
)
def test_bad_amounts(client, org, nothing_written, amount, field):
    body = simple_campaign(effects=[{"type": "award_points", "amount": amount}])
    answer = client.post(CAMPAIGNS, json=body, headers=org.admin())
    refused(answer, 400, "VALIDATION_ERROR", field)


def test_all_problems_of_a_body_are_named_at_once(client, org, nothing_written):
    body = simple_campaign(name="", priority=99, colour="red", mode=7)
    answer = client.post(CAMPAIGNS, json=body, headers=org.admin())
    error = refused(answer, 400, "VALIDATION_ERROR")
    fields = {item["field"] for item in error["details"]}
    assert {"name", "priority", "colour", "mode"} <= fields


def test_a_duplicate_name_is_a_409(client, org):
    first = client.post(CAMPAIGNS, json=simple_campaign(), headers=org.admin())
    created(first)
    again = client.post(CAMPAIGNS, json=simple_campaign(), headers=org.admin())
    refused(again, 409, "DUPLICATE_NAME", "name")
    listed = client.get(CAMPAIGNS, headers=org.admin())
    assert len(created(listed, 200)["campaigns"]) == 1


def test_a_field_given_twice_is_refused(client, org, nothing_written):
    text = (
        b'{"name":"x","type":"Reward","mode":"always-on","triggers":[{"eventType":"a"}],'
        b'"effects":[{"type":"add_points","amount":1,"amount":1000}]}'
    )
    answer = client.post(CAMPAIGNS, data=text, headers=org.admin())
    refused(answer, 400, "VALIDATION_ERROR", "amount")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"{CAMPAIGNS}/camp_none", "CAMPAIGN_NOT_FOUND"),
        (f"{CAMPAIGNS}/camp_none/rules/rule_none", "CAMPAIGN_NOT_FOUND"),
        (f"{RULES}/rule_none", "RULE_NOT_FOUND"),
        (f"{SEGMENTS}/seg_none", "SEGMENT_NOT_FOUND"),
        (f"{SEGMENTS}/%00", "SEGMENT_NOT_FOUND"),
        (f"{SEGMENTS}/{'x' * 5_000}", "SEGMENT_NOT_FOUND"),
    ],
)
def test_what_does_not_exist(client, org, nothing_written, method, path, code):
    answer = client.send(method, path, json={"name": "n"}, headers=org.admin())
    refused(answer, 404, code)


def test_what_another_org_has_does_not_exist_here(client, org, stack):
    other = stack.new_org()
    campaign = created(
        client.post(CAMPAIGNS, json=advanced_campaign(), headers=other.admin())
    )
    body = points_rule(campaignId=campaign["campaignId"])
    rule = created(client.post(RULES, json=body, headers=other.admin()))
    before = stack.ends()
    for method in ("GET", "PUT", "DELETE"):
        for path, code in [
            (f"{CAMPAIGNS}/{campaign['campaignId']}", "CAMPAIGN_NOT_FOUND"),
            (f"{RULES}/{rule['ruleId']}", "RULE_NOT_FOUND"),
        ]:
            body = {"priority": 3}
            answer = client.send(method, path, json=body, headers=org.admin())
            refused(answer, 404, code)
    assert stack.ends() == before
    answer = client.post(RULES, json=points_rule(
        campaignId=campaign["campaignId"]), headers=org.admin())  # fmt: skip
    refused(answer, 404, "CAMPAIGN_NOT_FOUND", "campaignId")


@pytest.mark.parametrize("key", ["", "é", "a\tb", "x" * 256])
def test_an_idempotency_key_that_is_none(client, org, nothing_written, key):
    for path, body in [(ACTIONS, PURCHASE), (CAMPAIGNS, simple_campaign())]:
        headers = headers_for(org, path) | {"Idempotency-Key": key}
        answer = client.post(path, json=body, headers=headers)
        refused(answer, 400, "VALIDATION_ERROR", "Idempotency-Key")


def test_a_bulk_idempotency_key_leaves_room_for_the_index(client, org):
    body = {"actions": [PURCHASE]}
    for length, status in [(251, 202), (252, 400)]:
        headers = org.server() | {"Idempotency-Key": "k" * length}
        assert client.post(BULK, json=body, headers=headers).status_code == status


@pytest.mark.parametrize(
    ("path", "field"),
    [
        (f"{CAMPAIGNS}?limit=0", "limit"),
        (f"{CAMPAIGNS}?limit=101", "limit"),
        (f"{CAMPAIGNS}?limit=x", "limit"),
        (f"{CAMPAIGNS}?limit=-1", "limit"),
        (f"{CAMPAIGNS}?limit=1.0", "limit"),
        (f"{CAMPAIGNS}?limit=", "limit"),
        (f"{CAMPAIGNS}?limit=%D9%A1", "limit"),
        (f"{CAMPAIGNS}?status=gone", "status"),
        (f"{CAMPAIGNS}?type=reward", "type"),
        (f"{CAMPAIGNS}?mode=x", "mode"),
        (f"{CAMPAIGNS}?cursor=x", "cursor"),
        (f"{SEGMENTS}?type=x", "type"),
        (f"{SEGMENTS}?limit=101", "limit"),
        (f"{AUDIENCE}/transactions?limit=101", "limit"),
        (f"{AUDIENCE}/transactions?type=badge", "type"),
        (f"{AUDIENCE}/transactions?currency=gold", "currency"),
        (f"{AUDIENCE}/transactions?lastEvaluatedKey=x", "lastEvaluatedKey"),
        (f"{AUDIENCE}/notifications?limit=51", "limit"),
        (f"{AUDIENCE}/notifications?unread=maybe", "unread"),
        (f"{AUDIENCE}/internal/profiles", "user_ids"),
        (f"{AUDIENCE}/internal/profiles?user_ids=", "user_ids"),
        (f"{AUDIENCE}/internal/profiles?user_ids=a,,b", "user_ids"),
        (f"{AUDIENCE}/internal/profiles?user_ids=a%00b", "user_ids"),
    ],
)
def test_bad_query_parameters(client, org, path, field):
    answer = client.get(path, headers=headers_for(org, path))
    refused(answer, 400, "VALIDATION_ERROR", field)


def test_unknown_query_parameters_are_ignored(client, org):
    created(client.get(f"{CAMPAIGNS}?colour=red", headers=org.admin()), 200)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "NOT_FOUND"),
        ("GET", "/nowhere", 404, "NOT_FOUND"),
        ("GET", f"{CAMPAIGNS}/", 404, "NOT_FOUND"),
        ("GET", CAMPAIGNS.replace("/v1", "//v1"), 404, "NOT_FOUND"),
        ("GET", ACTIONS, 405, "METHOD_NOT_ALLOWED"),
        ("PATCH", CAMPAIGNS, 405, "METHOD_NOT_ALLOWED"),
        ("BREW", CAMPAIGNS, 405, "METHOD_NOT_ALLOWED"),
    ],
)
def test_unknown_paths_and_methods_have_the_envelope(
    client, method, path, status, code
):
    answer = client.send(method, path)
    refused(answer, status, code)
    assert status != 405 or "POST" in answer.headers["Allow"]


def test_head_and_options_are_sane(client, org):
    head = client.client.head(CAMPAIGNS, headers=org.admin())
    assert (head.status_code, head.data) == (200, b"")
    options = client.client.options(CAMPAIGNS)
    assert options.status_code == 200
    assert set(options.headers["Allow"].split(", ")) >= {"GET", "POST", "OPTIONS"}


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("abc-1.2_3", True),
        ("", False),
        ("a b", False),
        ("x" * 129, False),
        ("é", False),
    ],
)
def test_a_sane_request_id_is_kept(client, given, taken):
    answer = client.get("/health", headers={"X-Request-ID": given})
    shown = answer.headers["X-Request-ID"]
    assert (shown == given) is taken
    assert taken or shown.startswith("req_")


def test_a_bug_is_a_500_that_tells_nothing(make_client, org, stack, caplog):
    class Broken:
        def age_ms(self):
            return 0

        def __getattr__(self, name):
            raise ZeroDivisionError("inside information")

    answer = make_client(view=Broken()).get(CAMPAIGNS, headers=org.admin())
    error = refused(answer, 500, "INTERNAL_ERROR")
    assert "inside" not in answer.text
    assert error["requestId"] in caplog.text
    assert "inside information" in caplog.text
