"""The demo against a running API, whatever an earlier start had done of it."""

import json
import threading
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from plaudit import demo_data
from plaudit.credentials import read_credentials
from plaudit.demo import create_campaigns
from plaudit.loading.client import Client
from tests.e2e.running import Running, command, eventually

pytestmark = pytest.mark.slow

NOW = datetime(2025, 10, 6, 12, tzinfo=UTC)
NAMES = sorted(
    [
        demo_data.POINTS_PER_POUND["name"],
        demo_data.DAILY_CHECK_IN["name"],
        demo_data.TENTH_PURCHASE["name"],
        demo_data.gold_campaign("")["name"],
        demo_data.weekend_campaign(NOW.date())["name"],
        demo_data.ADVOCATES["name"],
    ]
)


def create(process, now):
    """Create the demo's campaigns under a key whose idempotency keys are all free."""
    made = command("keys", "create", "-d", process.data_dir, "--json")
    key = json.loads(made.stdout)
    credentials = msgspec.structs.replace(
        read_credentials(process.data_dir / "credentials.json"),
        api_key=key["keyId"],
        api_secret=key["secret"],
    )
    client = Client(credentials, threading.Event())
    try:
        create_campaigns(client, now)
    finally:
        client.close()


def names(process, path):
    token = process.credentials["adminToken"]
    status, _, body = process.call("GET", f"/loyalty/v1/{path}", token=token)
    assert status == 200, body
    found = body["data"][path.rpartition("/")[2]]
    return {one["name"]: one for one in found}, sorted(one["name"] for one in found)


def test_what_is_there_is_found_and_what_is_missing_is_made(tmp_path):
    with Running(tmp_path) as process:
        create(process, NOW)
        campaigns, found = names(process, "campaigns")
        assert found == NAMES
        rules_at = f"campaigns/{campaigns['Advocates']['campaignId']}/rules"
        rules, rule_names = names(process, rules_at)
        token = process.credentials["adminToken"]
        for path in (
            f"campaigns/{campaigns['Weekend coins']['campaignId']}",
            f"rules/{rules['A friend']['ruleId']}",
        ):
            process.call("DELETE", f"/loyalty/v1/{path}", token=token)
        # Days later: no request is known any more, and the weekend is another one.
        create(process, NOW + timedelta(days=9))
        assert names(process, "campaigns")[1] == NAMES
        assert names(process, rules_at)[1] == rule_names
        assert names(process, "segments")[1] == [demo_data.GOLD["name"]]


def test_a_killed_demo_is_complete_after_the_next_start(tmp_path):
    state = tmp_path / "demo.json"
    with Running(tmp_path, "--demo") as process:
        eventually(lambda: "now" in json.loads(state.read_text()))
        process.process.kill()
        process.process.wait(10)
    assert json.loads(state.read_text())["state"] == "wanted"
    with Running(tmp_path) as process:
        eventually(lambda: json.loads(state.read_text()) == {"state": "done"}, 120)
        assert names(process, "campaigns")[1] == NAMES
        assert names(process, "segments")[1] == [demo_data.GOLD["name"]]
