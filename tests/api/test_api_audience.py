"""Profiles, transactions and notifications."""

import base64
import json
from decimal import Decimal

import pytest

from tests.api.shapes import (
    ACTIONS,
    AUDIENCE,
    BULK,
    CAMPAIGNS,
    created,
    refused,
    simple_campaign,
)
from tests.api.stack import wall_ms

PROFILE = f"{AUDIENCE}/profile"
TRANSACTIONS = f"{AUDIENCE}/transactions"
NOTIFICATIONS = f"{AUDIENCE}/notifications"
DAY_MS = 86_400_000


def profile(client, org, user="alice"):
    return created(client.get(PROFILE, headers=org.user(user)), 200)


def campaign(client, org, effects, **changes):
    body = simple_campaign(effects=effects, **changes)
    return created(client.post(CAMPAIGNS, json=body, headers=org.admin()))


def purchase(client, org, times=1, user="alice", **fields):
    actions = [{"userId": user, "action": "purchase"} | fields] * times
    sent = client.post(BULK, json={"actions": actions}, headers=org.server())
    assert created(sent, 202)["accepted"] == times


def test_a_user_never_seen_has_zeros_and_nothing_is_written(
    client, org, nothing_written
):
    seen = profile(client, org, "nobody")
    assert (seen["points"], seen["xp"], seen["coins"]) == (0, 0, 0)
    assert (seen["createdAt"], seen["updatedAt"]) == (None, None)
    assert seen["tier"] == "bronze"
    assert seen["tierProgress"] == {
        "current": "bronze",
        "next": "silver",
        "metric": "points",
        "value": 0,
        "threshold": 1_000,
        "percentage": 0.0,
    }
    assert seen["lifetime"] == seen["pending"] == {"points": 0, "xp": 0, "coins": 0}


def test_what_a_user_earned_shows(client, org):
    effects = [
        {"type": "add_points", "amount": 2_100},
        {"type": "add_xp", "amount": 5},
        {"type": "deduct_points", "amount": 100},
        {"type": "add_badge", "badgeId": "first"},
        {"type": "unlock_benefit", "benefitId": "early"},
    ]
    campaign(client, org, effects)
    purchase(client, org)
    seen = profile(client, org)
    assert (seen["points"], seen["xp"], seen["coins"]) == (2_000, 5, 0)
    assert seen["lifetime"]["points"] == 2_100
    assert seen["badges"] == ["first"]
    assert seen["benefits"] == ["early"]
    assert seen["tier"] == "silver"
    assert seen["tierProgress"]["percentage"] == 42.0
    assert seen["tierProgress"]["next"] == "gold"
    assert seen["createdAt"].endswith("Z")


def test_the_highest_tier_has_nothing_above(client, org):
    campaign(client, org, [{"type": "add_points", "amount": 20_000}])
    purchase(client, org)
    seen = profile(client, org)
    assert seen["tier"] == "platinum"
    progress = seen["tierProgress"]
    assert (progress["next"], progress["threshold"]) == (None, None)
    assert progress["percentage"] == 100.0


def test_tiers_are_the_orgs_own(client, stack):
    tiers = [{"name": "wood", "threshold": 0}, {"name": "iron", "threshold": 3}]
    org = stack.new_org(tiers=tiers)
    assert profile(client, org)["tier"] == "wood"
    campaign(client, org, [{"type": "add_points", "amount": 1}])
    purchase(client, org, 2)
    progress = profile(client, org)["tierProgress"]
    assert (progress["next"], progress["percentage"]) == ("iron", Decimal("66.66"))


def test_points_that_are_due_are_hidden_before_they_are_settled(
    client, org, make_client
):
    effects = [
        {"type": "add_points", "amount": 7, "expiresInDays": 1},
        {"type": "add_points", "amount": 5, "expiresInDays": 400},
        {"type": "unlock_benefit", "benefitId": "brief", "expiresInDays": 1},
    ]
    campaign(client, org, effects)
    purchase(client, org, 2)
    seen = profile(client, org)
    assert seen["points"] == 24
    amounts = [(item["amount"], item["currency"]) for item in seen["expiring"]]
    # The two actions share an envelope, so a stamp: one row for each expiry.
    assert amounts == [(14, "points"), (10, "points")]
    assert seen["benefits"] == ["brief"]
    in_two_days = make_client(clock_ms=lambda: wall_ms() + 2 * DAY_MS)
    answer = in_two_days.get(
        f"{AUDIENCE}/internal/profiles?user_ids=alice", headers=org.server()
    )
    [later] = created(answer, 200)["profiles"]
    assert later["points"] == 10
    assert [item["amount"] for item in later["expiring"]] == [10]
    assert later["benefits"] == []


def test_patch_merges_and_null_deletes(client, org):
    body = {
        "displayName": "Ally",
        "preferences": {"timezone": "Europe/Paris"},
        "customFields": {"team": "red", "old": 1},
    }
    answer = client.patch(PROFILE, json=body, headers=org.user())
    first = created(answer, 200)
    assert {name: first[name] for name in body} == body
    body = {"customFields": {"old": None, "new": 0.5}}
    second = created(client.patch(PROFILE, json=body, headers=org.user()), 200)
    assert second["customFields"] == {"team": "red", "new": 0.5}
    assert second["displayName"] == "Ally"
    assert profile(client, org) == second
    assert profile(client, org, "bob")["displayName"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"points": 5}, "points"),
        ({"tier": "gold"}, "tier"),
        ({"email": "a@x.io"}, "email"),
        ({"displayName": 5}, "displayName"),
        ({"preferences": {"timezone": "Mars/Olympus"}}, "preferences.timezone"),
        ({"preferences": []}, "preferences"),
        ({"customFields": {"a b": 1}}, "customFields.a b"),
        ({"customFields": {"x": "y" * 5_000}}, "customFields.x"),
    ],
)
def test_what_a_user_may_not_change(client, org, nothing_written, body, field):
    answer = client.patch(PROFILE, json=body, headers=org.user())
    refused(answer, 400, "VALIDATION_ERROR", field)


def test_more_custom_fields_than_a_user_may_have(client, org):
    for start in (0, 60):
        fields = {f"f{i}": i for i in range(start, start + 60)}
        answer = client.patch(
            PROFILE, json={"customFields": fields}, headers=org.user()
        )
    refused(answer, 400, "VALIDATION_ERROR", "customFields")
    assert len(profile(client, org)["customFields"]) == 60


def test_transactions_are_newest_first_and_add_up(client, org):
    effects = [
        {"type": "add_points", "amount": 20, "reason": "Poll participation"},
        {"type": "add_coins", "amount": 3},
        {"type": "deduct_points", "amount": 5},
        {"type": "add_badge", "badgeId": "b"},
    ]
    made = campaign(client, org, effects)
    purchase(client, org, eventId="e-1")
    answer = client.get(TRANSACTIONS, headers=org.user())
    data = created(answer, 200)
    shown = [(t["type"], t["currency"], t["amount"], t["balanceAfter"])
             for t in data["transactions"]]  # fmt: skip
    assert shown == [
        ("debit", "points", 5, 15),
        ("credit", "coins", 3, 3),
        ("credit", "points", 20, 20),
    ]
    last = data["transactions"][-1]
    assert last["reason"] == "Poll participation"
    assert last["campaignId"] == made["campaignId"]
    assert last["campaignVersion"] == 1
    assert last["eventId"] == "e-1"
    assert last["source"] == "campaign"
    assert (data["count"], data["lastEvaluatedKey"]) == (3, None)
    for query, count in [("type=debit", 1), ("currency=points", 2), ("currency=xp", 0)]:
        answer = client.get(f"{TRANSACTIONS}?{query}", headers=org.user())
        assert created(answer, 200)["count"] == count


@pytest.mark.parametrize("query", ["", "&currency=points", "&type=credit"])
def test_transactions_page_without_gaps_or_repeats(client, org, query):
    effects = [
        {"type": "add_points", "amount": 2},
        {"type": "add_xp", "amount": 1},
        {"type": "deduct_points", "amount": 1},
    ]
    campaign(client, org, effects)
    purchase(client, org, 100)
    per_action = {"": 3, "&currency=points": 2, "&type=credit": 2}[query]
    seen, key, pages = [], "", 0
    while key is not None:
        path = f"{TRANSACTIONS}?limit=50&lastEvaluatedKey={key}{query}"
        data = created(client.get(path, headers=org.user()), 200)
        seen += [item["transactionId"] for item in data["transactions"]]
        key = data["lastEvaluatedKey"]
        pages += 1
    assert len(seen) == len(set(seen)) == 100 * per_action
    assert pages == 2 * per_action


def test_a_rare_match_is_found_page_by_page(client, org):
    campaign(client, org, [{"type": "add_xp", "amount": 1}], name="xp")
    rare = [{"type": "add_coins", "amount": 1}]
    campaign(client, org, rare, name="c", triggers=[{"eventType": "rare"}])
    rare_action = {"userId": "alice", "action": "rare"}
    client.post(ACTIONS, json=rare_action, headers=org.server())
    for _ in range(3):
        purchase(client, org, 1_000)
    path = f"{TRANSACTIONS}?currency=coins"
    first = created(client.get(path, headers=org.user()), 200)
    assert first["transactions"] == []
    assert first["lastEvaluatedKey"] is not None
    path += f"&lastEvaluatedKey={first['lastEvaluatedKey']}"
    second = created(client.get(path, headers=org.user()), 200)
    assert (second["count"], second["lastEvaluatedKey"]) == (1, None)


def test_a_key_of_another_user_or_list_is_refused(client, org):
    note = {"type": "send_notification", "title": "t", "message": "m"}
    campaign(client, org, [{"type": "add_points", "amount": 1}, note])
    purchase(client, org, 2)
    data = created(client.get(f"{TRANSACTIONS}?limit=1", headers=org.user()), 200)
    key = data["lastEvaluatedKey"]
    for path, user in [(TRANSACTIONS, "bob"), (NOTIFICATIONS, "alice")]:
        answer = client.get(f"{path}?lastEvaluatedKey={key}", headers=org.user(user))
        refused(answer, 400, "VALIDATION_ERROR", "lastEvaluatedKey")
    scope, _ = json.loads(base64.urlsafe_b64decode(key))
    for sequence in (-1, 0, 1 << 80, "x", None, [1]):
        text = json.dumps([scope, sequence]).encode()
        forged = base64.urlsafe_b64encode(text).decode()
        answer = client.get(
            f"{TRANSACTIONS}?lastEvaluatedKey={forged}", headers=org.user()
        )
        refused(answer, 400, "VALIDATION_ERROR", "lastEvaluatedKey")


def test_notifications_page_newest_first(client, org):
    note = {
        "type": "send_notification",
        "title": "Thanks",
        "message": "You earned it",
        "data": {"n": 1},
    }
    campaign(client, org, [note])
    purchase(client, org, 7)
    data = created(client.get(f"{NOTIFICATIONS}?limit=5", headers=org.user()), 200)
    assert data["unreadCount"] == 7
    path = f"{NOTIFICATIONS}?limit=5&lastEvaluatedKey={data['lastEvaluatedKey']}"
    rest = created(client.get(path, headers=org.user()), 200)
    both = data["notifications"] + rest["notifications"]
    assert len({item["notificationId"] for item in both}) == 7
    assert (len(rest["notifications"]), rest["lastEvaluatedKey"]) == (2, None)
    assert both[0]["title"] == "Thanks"
    assert both[0]["data"] == {"n": 1}
    assert (both[0]["read"], both[0]["readAt"]) == (False, None)
    unread = created(
        client.get(f"{NOTIFICATIONS}?unread=true", headers=org.user()), 200
    )
    assert len(unread["notifications"]) == 7
    none = created(client.get(NOTIFICATIONS, headers=org.user("bob")), 200)
    assert none == {"notifications": [], "unreadCount": 0, "lastEvaluatedKey": None}


def test_notifications_are_shown_for_90_days(client, org, make_client):
    note = {"type": "send_notification", "title": "t", "message": "m"}
    campaign(client, org, [note])
    purchase(client, org)
    later = make_client(clock_ms=lambda: wall_ms() + 91 * DAY_MS)
    headers = org.user(lifetime_s=600)
    data = created(later.get(NOTIFICATIONS, headers=headers), 200)
    assert (data["notifications"], data["unreadCount"]) == ([], 0)


def test_transactions_are_shown_for_400_days(client, org, make_client):
    campaign(client, org, [{"type": "add_points", "amount": 5}])
    purchase(client, org, times=2)
    for days, count in ((399, 2), (401, 0)):
        later = make_client(clock_ms=lambda days=days: wall_ms() + days * DAY_MS)
        seen = created(later.get(TRANSACTIONS, headers=org.user(lifetime_s=600)), 200)
        assert (seen["count"], seen["lastEvaluatedKey"]) == (count, None)


def test_many_profiles_in_the_order_asked_for(client, org, nothing_written):
    path = f"{AUDIENCE}/internal/profiles?user_ids=carol,alice,bob,alice,é"
    data = created(client.get(path, headers=org.server()), 200)
    assert (data["profiles"], data["count"]) == ([], 0)
    assert data["notFound"] == ["carol", "alice", "bob", "é"]


def test_profiles_that_exist_and_that_do_not(client, org, stack):
    for i in range(6):
        purchase(client, org, user=f"u{i}")
    path = f"{AUDIENCE}/internal/profiles?user_ids=u5,zoe,u0,u3"
    data = created(client.get(path, headers=org.server()), 200)
    assert [item["userId"] for item in data["profiles"]] == ["u5", "u0", "u3"]
    assert (data["notFound"], data["count"]) == (["zoe"], 3)
    assert data["profiles"][1] == profile(client, org, "u0")
    other = stack.new_org()
    data = created(client.get(path, headers=other.server()), 200)
    assert data["count"] == 0


def test_at_most_100_profiles_at_once(client, org):
    for count, status in [(100, 200), (101, 400)]:
        ids = ",".join(f"u{i}" for i in range(count))
        path = f"{AUDIENCE}/internal/profiles?user_ids={ids}"
        answer = client.get(path, headers=org.server())
        assert answer.status_code == status
    refused(answer, 400, "BATCH_TOO_LARGE", "user_ids")
