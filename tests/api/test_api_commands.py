"""Commands whose outcome comes later than the wait for it."""

import pytest

from api.config import ApiConfig
from streams.log import LogUnavailable
from tests.api.shapes import AUDIENCE, CAMPAIGNS, created, refused, simple_campaign
from tests.api.stack import PARTITIONS, paused

HASTY = ApiConfig(partitions=PARTITIONS, command_timeout_ms=20)


@pytest.fixture(scope="module")
def hasty(make_client):
    return make_client(HASTY)


def send_late(hasty, stack, method, path, body, headers):
    """Send a command that is folded after the answer; return where it can be read."""
    with paused(stack):
        answer = hasty.send(method, path, json=body, headers=headers)
        pending = created(answer, 202)
        assert pending["status"] == "pending"
        where = answer.headers["Location"]
        assert where.startswith(f"{AUDIENCE}/internal/commands/")
        still = created(hasty.get(where, headers=headers), 200)
        assert still == pending
    return where


def test_a_late_success_is_read_at_its_location(hasty, org, stack):
    body = simple_campaign()
    where = send_late(hasty, stack, "POST", CAMPAIGNS, body, org.admin())
    outcome = created(hasty.get(where, headers=org.admin()), 200)
    assert (outcome["status"], outcome["httpStatus"]) == ("succeeded", 201)
    path = f"{CAMPAIGNS}/{outcome['result']['campaignId']}"
    assert created(hasty.get(path, headers=org.admin()), 200) == outcome["result"]


def test_a_late_refusal_is_read_at_its_location(hasty, org, stack):
    body = simple_campaign()
    created(hasty.post(CAMPAIGNS, json=body, headers=org.admin()))
    where = send_late(hasty, stack, "POST", CAMPAIGNS, body, org.admin())
    outcome = created(hasty.get(where, headers=org.admin()), 200)
    assert (outcome["status"], outcome["httpStatus"]) == ("refused", 409)
    assert outcome["error"]["code"] == "DUPLICATE_NAME"
    assert outcome["result"] is None


def test_a_late_profile_update_is_its_users_own(hasty, org, stack):
    path, body = f"{AUDIENCE}/profile", {"displayName": "Al"}
    where = send_late(hasty, stack, "PATCH", path, body, org.user())
    outcome = created(hasty.get(where, headers=org.user()), 200)
    assert outcome["result"]["displayName"] == "Al"
    for headers in (org.user("bob"), org.server(), org.admin()):
        answer = hasty.get(where, headers=headers)
        refused(answer, 404, "COMMAND_NOT_FOUND")


def test_a_late_delete_has_no_result(hasty, org, stack):
    made = created(hasty.post(CAMPAIGNS, json=simple_campaign(), headers=org.admin()))
    path = f"{CAMPAIGNS}/{made['campaignId']}"
    where = send_late(hasty, stack, "DELETE", path, None, org.admin())
    outcome = created(hasty.get(where, headers=org.admin()), 200)
    assert (outcome["httpStatus"], outcome["result"]) == (204, None)


def test_a_location_of_another_org_or_none_at_all_is_a_404(hasty, org, stack):
    where = send_late(hasty, stack, "POST", CAMPAIGNS, simple_campaign(), org.admin())
    answer = hasty.get(where, headers=stack.new_org().admin())
    refused(answer, 404, "COMMAND_NOT_FOUND")
    forged = where[:-4] + ("AAAA" if where[-4:] != "AAAA" else "BBBB")
    for path in [forged, where[:-1], f"{AUDIENCE}/internal/commands/cmd_1",
                 f"{AUDIENCE}/internal/commands/{'A' * 5_000}"]:  # fmt: skip
        answer = hasty.get(path, headers=org.admin())
        refused(answer, 404, "COMMAND_NOT_FOUND")
    answer = hasty.get(where, headers={"X-Monterosa-Org-ID": org.id})
    refused(answer, 401, "UNAUTHORIZED")


def test_a_command_names_its_position(client, org):
    answer = client.post(CAMPAIGNS, json=simple_campaign(), headers=org.admin())
    seen = {"X-Plaudit-Position": answer.headers["X-Plaudit-Position"]}
    assert seen["X-Plaudit-Position"].startswith("orgs-0-")
    listed = client.get(CAMPAIGNS, headers=org.admin() | seen)
    assert len(created(listed, 200)["campaigns"]) == 1


def test_a_log_that_does_not_answer_is_a_503(client, org, stack):
    stack.failure = LogUnavailable("slow")
    try:
        answer = client.post(CAMPAIGNS, json=simple_campaign(), headers=org.admin())
    finally:
        stack.failure = None
    refused(answer, 503, "SERVICE_UNAVAILABLE")
