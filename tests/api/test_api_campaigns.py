"""Campaigns, rules in both route families, and segments."""

import pytest

from tests.api.shapes import (
    ACTIONS,
    AUDIENCE,
    CAMPAIGNS,
    RULES,
    SEGMENTS,
    advanced_campaign,
    created,
    points_rule,
    refused,
    simple_campaign,
)


def make(client, org, path, body):
    return created(client.post(path, json=body, headers=org.admin()))


def read(client, org, path):
    return created(client.get(path, headers=org.admin()), 200)


def test_a_simple_campaign_reads_back_as_written(client, org):
    body = simple_campaign(description="d", metadata={"n": 1.50}, priority=7)
    made = make(client, org, CAMPAIGNS, body)
    assert {name: made[name] for name in body} == body
    assert made["simplifiedMode"] is True
    assert made["orgId"] == org.id
    assert made["version"] == 1
    assert made["createdAt"] == made["updatedAt"]
    assert read(client, org, f"{CAMPAIGNS}/{made['campaignId']}") == made


def test_numbers_in_a_campaign_keep_their_digits(client, org):
    text = (
        b'{"name":"n","type":"Reward","mode":"always-on","metadata":{"big":'
        b'123456789012345678901234567890.10,"int":98765432109876543210}}'
    )
    answer = client.post(CAMPAIGNS, data=text, headers=org.admin())
    assert b"123456789012345678901234567890.10" in answer.data
    assert b"98765432109876543210" in answer.data


def test_an_api_key_may_administer(client, org):
    made = created(client.post(CAMPAIGNS, json=simple_campaign(), headers=org.server()))
    path = f"{CAMPAIGNS}/{made['campaignId']}"
    assert created(client.get(path, headers=org.server()), 200) == made


def test_an_update_changes_only_what_is_given(client, org):
    made = make(client, org, CAMPAIGNS, simple_campaign(status="draft"))
    path = f"{CAMPAIGNS}/{made['campaignId']}"
    body = {"status": "active", "description": "new"}
    changed = created(client.put(path, json=body, headers=org.admin()), 200)
    assert changed["version"] == 2
    assert changed == made | body | {
        "version": 2,
        "updatedAt": changed["updatedAt"],
    }
    assert read(client, org, path) == changed


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "VALIDATION_ERROR", None),
        ({"type": "Badge"}, "CAMPAIGN_TYPE_IMMUTABLE", "type"),
        ({"triggers": []}, "MISSING_TRIGGERS", "triggers"),
        ({"status": "completed"}, "VALIDATION_ERROR", "status"),
        ({"version": 5}, "VALIDATION_ERROR", "version"),
    ],
)
def test_a_bad_update_changes_nothing(client, org, stack, body, code, field):
    made = make(client, org, CAMPAIGNS, simple_campaign())
    path = f"{CAMPAIGNS}/{made['campaignId']}"
    before = stack.ends()
    answer = client.put(path, json=body, headers=org.admin())
    refused(answer, 400, code, field)
    assert stack.ends() == before
    assert read(client, org, path) == made


def test_an_archived_campaign_is_listed_only_when_asked_for(client, org):
    made = make(client, org, CAMPAIGNS, simple_campaign())
    path = f"{CAMPAIGNS}/{made['campaignId']}"
    for _ in range(2):
        answer = client.delete(path, headers=org.admin())
        assert answer.status_code == 204
    assert read(client, org, path)["status"] == "archived"
    assert read(client, org, CAMPAIGNS)["campaigns"] == []
    listed = read(client, org, f"{CAMPAIGNS}?status=archived")["campaigns"]
    assert [item["campaignId"] for item in listed] == [made["campaignId"]]
    answer = client.put(path, json={"priority": 1}, headers=org.admin())
    refused(answer, 409, "CONFLICT", "campaignId")
    make(client, org, CAMPAIGNS, simple_campaign())


def test_a_campaign_whose_end_has_passed_reads_completed(client, org, make_client):
    body = simple_campaign(
        mode="time-bound", startDate="2030-01-01", endDate="2030-01-31T23:59:59Z"
    )
    made = make(client, org, CAMPAIGNS, body)
    assert made["status"] == "active"
    assert made["endDate"] == "2030-01-31T23:59:59.000Z"
    last_ms = 1_896_134_399_000
    path = f"{CAMPAIGNS}/{made['campaignId']}"
    headers = org.server()
    for now_ms, status in [(last_ms, "active"), (last_ms + 1, "completed")]:
        then = make_client(clock_ms=lambda now_ms=now_ms: now_ms)
        answer = then.get(path, headers=headers)
        assert created(answer, 200)["status"] == status
        listed = then.get(f"{CAMPAIGNS}?status=completed", headers=headers)
        assert len(created(listed, 200)["campaigns"]) == (status == "completed")


def test_the_list_filters_and_pages_newest_first(client, org):
    made = [
        make(
            client,
            org,
            CAMPAIGNS,
            simple_campaign(name=f"c{i}", status="active" if i % 2 else "draft"),
        )["campaignId"]
        for i in range(7)
    ]
    found, cursor = [], ""
    while cursor is not None:
        page = read(client, org, f"{CAMPAIGNS}?limit=2&cursor={cursor}")
        assert len(page["campaigns"]) <= 2
        found += page["campaigns"]
        cursor = page["cursor"]
    assert sorted(item["campaignId"] for item in found) == sorted(made)
    times = [item["createdAt"] for item in found]
    assert times == sorted(times, reverse=True)
    active = read(client, org, f"{CAMPAIGNS}?status=active&type=Reward")
    assert len(active["campaigns"]) == 3
    assert active["cursor"] is None
    assert read(client, org, f"{CAMPAIGNS}?mode=recurring")["campaigns"] == []


def test_a_cursor_of_another_list_or_org_is_refused(client, org, stack):
    for i in range(2):
        make(client, org, CAMPAIGNS, simple_campaign(name=f"c{i}"))
    cursor = read(client, org, f"{CAMPAIGNS}?limit=1")["cursor"]
    assert cursor
    answer = client.get(f"{SEGMENTS}?cursor={cursor}", headers=org.admin())
    refused(answer, 400, "VALIDATION_ERROR", "cursor")
    other = stack.new_org()
    answer = client.get(f"{CAMPAIGNS}?cursor={cursor}", headers=other.admin())
    refused(answer, 400, "VALIDATION_ERROR", "cursor")


def test_an_idempotency_key_repeats_the_first_answer(client, org):
    headers = org.admin() | {"Idempotency-Key": "make-it-once"}
    first = client.post(CAMPAIGNS, json=simple_campaign(), headers=headers)
    again = client.post(CAMPAIGNS, json=simple_campaign(), headers=headers)
    assert created(first) == created(again)
    other = client.post(CAMPAIGNS, json=simple_campaign(name="x"), headers=headers)
    refused(other, 409, "IDEMPOTENCY_KEY_REUSED", "Idempotency-Key")


@pytest.mark.parametrize("family", ["rules", "campaign rules"])
def test_rules_in_both_route_families(client, org, family):
    campaign_id = make(client, org, CAMPAIGNS, advanced_campaign())["campaignId"]
    under = f"{CAMPAIGNS}/{campaign_id}/rules"
    body = points_rule(
        effects=[
            {"type": "award_points", "amount": 50},
            {"type": "award_badge", "params": {"badgeId": "quiz_master"}},
        ],
        priority=90,
    )
    if family == "rules":
        rule = make(client, org, RULES, body | {"campaignId": campaign_id})
        path = f"{RULES}/{rule['ruleId']}"
    else:
        rule = make(client, org, under, body)
        path = f"{under}/{rule['ruleId']}"
    assert rule["campaignId"] == campaign_id
    assert rule["trigger"] == rule["triggerType"] == "poll_vote"
    assert rule["effects"] == [
        {"type": "award_points", "amount": 50, "params": {"amount": 50}},
        {
            "type": "award_badge",
            "badgeId": "quiz_master",
            "params": {"badgeId": "quiz_master"},
        },
    ]
    assert (rule["priority"], rule["enabled"], rule["version"]) == (90, True, 1)
    assert read(client, org, path) == rule
    assert read(client, org, f"{RULES}/{rule['ruleId']}") == rule
    assert read(client, org, under) == {"rules": [rule]}
    body = {"enabled": False, "triggerType": "quiz_completed"}
    changed = created(client.put(path, json=body, headers=org.admin()), 200)
    assert (changed["enabled"], changed["trigger"]) == (False, "quiz_completed")
    assert changed["version"] == 2
    assert client.delete(path, headers=org.admin()).status_code == 204
    refused(client.get(path, headers=org.admin()), 404, "RULE_NOT_FOUND")
    assert read(client, org, under) == {"rules": []}


def test_a_rule_that_reads_back_can_be_sent_again(client, org):
    campaign_id = make(client, org, CAMPAIGNS, advanced_campaign())["campaignId"]
    rule = make(client, org, RULES, points_rule(campaignId=campaign_id))
    sent = {name: rule[name] for name in ("trigger", "triggerType", "effects", "name")}
    path = f"{RULES}/{rule['ruleId']}"
    changed = created(client.put(path, json=sent, headers=org.admin()), 200)
    assert changed["effects"] == rule["effects"]


def test_rules_fire_and_stop_with_their_campaign(client, org):
    campaign_id = make(client, org, CAMPAIGNS, advanced_campaign())["campaignId"]
    make(client, org, RULES, points_rule(campaignId=campaign_id))
    vote = {"userId": "alice", "action": "poll_vote"}
    client.post(ACTIONS, json=vote, headers=org.server())
    client.delete(f"{CAMPAIGNS}/{campaign_id}", headers=org.admin())
    client.post(ACTIONS, json=vote, headers=org.server())
    profile = client.get(f"{AUDIENCE}/profile", headers=org.user())
    assert created(profile, 200)["points"] == 10


def test_rules_are_listed_as_they_run(client, org):
    campaign_id = make(client, org, CAMPAIGNS, advanced_campaign())["campaignId"]
    under = f"{CAMPAIGNS}/{campaign_id}/rules"
    for priority in (1, 100, 50):
        make(client, org, under, points_rule(name=str(priority), priority=priority))
    rules = read(client, org, under)["rules"]
    assert [rule["name"] for rule in rules] == ["100", "50", "1"]


def test_bad_rules_change_nothing(client, org, stack):
    simple = make(client, org, CAMPAIGNS, simple_campaign())["campaignId"]
    advanced = make(client, org, CAMPAIGNS, advanced_campaign())["campaignId"]
    other = make(client, org, CAMPAIGNS, advanced_campaign(name="other"))["campaignId"]
    rule = make(client, org, RULES, points_rule(campaignId=advanced))
    before = stack.ends()
    under = f"{CAMPAIGNS}/{advanced}/rules"
    for path, body, status, code, field in [
        (RULES, points_rule(), 400, "VALIDATION_ERROR", "campaignId"),
        (under, points_rule(trigger=None), 400, "MISSING_TRIGGERS", "triggerType"),
        (under, points_rule(effects=[]), 400, "MISSING_EFFECTS", "effects"),
        (f"{CAMPAIGNS}/camp_x/rules", points_rule(), 404, "CAMPAIGN_NOT_FOUND", None),
    ]:
        answer = client.post(path, json=body, headers=org.admin())
        refused(answer, status, code, field)
    for method in ("GET", "PUT", "DELETE"):
        path = f"{CAMPAIGNS}/{other}/rules/{rule['ruleId']}"
        answer = client.send(method, path, json={"priority": 1}, headers=org.admin())
        refused(answer, 400, "VALIDATION_ERROR", "campaignId")
    path = f"{RULES}/{rule['ruleId']}"
    answer = client.put(path, json={}, headers=org.admin())
    refused(answer, 400, "VALIDATION_ERROR")
    assert stack.ends() == before
    answer = client.post(
        RULES, json=points_rule(campaignId=simple), headers=org.admin()
    )
    refused(answer, 400, "SIMPLE_MODE_RULES_FORBIDDEN", "campaignId")
    body = points_rule(campaignId=other)
    answer = client.post(under, json=body, headers=org.admin())
    refused(answer, 400, "VALIDATION_ERROR", "campaignId")
    assert read(client, org, under) == {"rules": [rule]}


DYNAMIC = {
    "name": "VIP Non-Test Users",
    "type": "dynamic",
    "criteria": [{"field": "tier", "operator": "in", "value": ["gold", "platinum"]}],
    "excludeCriteria": [
        {"field": "customFields.testAccount", "operator": "equals", "value": True},
        {"field": "badges", "operator": "contains", "value": ["banned"]},
    ],
}
STATIC = {"name": "Friends", "type": "static", "userIds": ["alice", "bob"]}


def test_segments_create_read_change_delete(client, org):
    dynamic = make(client, org, SEGMENTS, DYNAMIC)
    assert {name: dynamic[name] for name in DYNAMIC} == DYNAMIC
    assert (dynamic["memberCount"], dynamic["userIds"]) == (None, None)
    static = make(client, org, SEGMENTS, STATIC)
    assert (static["memberCount"], static["userIds"]) == (2, ["alice", "bob"])
    path = f"{SEGMENTS}/{static['segmentId']}"
    assert read(client, org, path) == static
    body = {"userIds": ["carol"]}
    changed = created(client.put(path, json=body, headers=org.admin()), 200)
    assert changed["memberCount"] == 1
    both = read(client, org, SEGMENTS)["segments"]
    assert {item["segmentId"] for item in both} == {
        static["segmentId"],
        dynamic["segmentId"],
    }
    only = read(client, org, f"{SEGMENTS}?type=static")["segments"]
    assert only == [changed]
    page = read(client, org, f"{SEGMENTS}?limit=1")
    rest = read(client, org, f"{SEGMENTS}?limit=1&cursor={page['cursor']}")
    assert page["segments"] + rest["segments"] == both
    assert rest["cursor"] is None
    assert client.delete(path, headers=org.admin()).status_code == 204
    refused(client.get(path, headers=org.admin()), 404, "SEGMENT_NOT_FOUND")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"type": "synced"}, "type"),
        ({"name": None}, "name"),
        ({"criteria": [], "excludeCriteria": []}, "criteria"),
        ({"userIds": ["a"]}, "userIds"),
        ({"type": "static", "criteria": [], "excludeCriteria": []}, "userIds"),
    ],
)
def test_bad_segments(client, org, nothing_written, changes, field):
    answer = client.post(SEGMENTS, json=DYNAMIC | changes, headers=org.admin())
    refused(answer, 400, "VALIDATION_ERROR", field)


def test_a_campaign_reaches_the_users_of_its_segment(client, org):
    segment_id = make(client, org, SEGMENTS, STATIC)["segmentId"]
    make(client, org, CAMPAIGNS, simple_campaign(segmentIds=[segment_id]))
    for user in ("alice", "carol"):
        body = {"userId": user, "action": "purchase"}
        client.post(ACTIONS, json=body, headers=org.server())
    points = [
        created(client.get(f"{AUDIENCE}/profile", headers=org.user(user)), 200)[
            "points"
        ]
        for user in ("alice", "carol")
    ]
    assert points == [10, 0]
