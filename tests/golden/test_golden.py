"""Every example campaign of this folder, through the real engine and the oracle.

A file reads like documentation: what an operator sends (camelCase, as on the wire; type
Reward, mode always-on and status active may be left out), and tests that say what users
then do and get.
"""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from rules.config import Campaign, Rule, Segment, row_to_json
from rules.parse_campaign import parse_campaign
from rules.parse_rule import parse_rule
from rules.parse_segment import parse_segment
from tests.oracle import Oracle, public
from tests.real_engine import RealEngine

FILES = sorted(Path(__file__).parent.glob("*.json"))
ORG = "acme"
FIRST_MS = 1_748_865_600_000  # 2025-06-02T12:00:00Z, a Monday
DAY_MS = 86_400_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def load(path):
    return json.loads(path.read_text(), parse_float=Decimal)


def cases():
    for path in FILES:
        example = load(path)
        for test in example["tests"]:
            name = f"{path.stem}: {test['name']}"
            yield pytest.param(example, test, id=name)


CASES = list(cases())


def instant(text):
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - EPOCH) // timedelta(milliseconds=1)


def parsed_changes(config, version):
    """Return config rows as the product makes them of what an operator sends."""
    changes = settings_change(config)
    parsers = (
        ("campaigns", parse_campaign, campaign_row),
        ("rules", parse_rule, rule_row),
        ("segments", parse_segment, segment_row),
    )
    for key, parse, make_row in parsers:
        for place, sent in enumerate(config.get(key, [])):
            body = {k: v for k, v in sent.items() if k not in ("id", "createdAt")}
            if key == "campaigns":
                body = {"type": "Reward", "mode": "always-on", **body}
                body = {"name": sent["id"], "status": "active", **body}
                # Later in its life a campaign may have a status that none begins with.
                status = body["status"]
                body["status"] = "active" if status != "draft" else "draft"
            if key == "segments":
                body = {"name": sent["id"], **body}
            problems = []
            row = parse(body, problems)
            assert not problems, (sent["id"], problems)
            if key == "campaigns":
                row["status"] = status
            created = instant(sent["createdAt"]) if "createdAt" in sent else place
            changes.append(
                (key[:-1], sent["id"], make_row(sent, row, created, version))
            )
    return changes


def campaign_row(sent, row, created, version):
    times = {"created_at_ms": created, "updated_at_ms": created}
    row = {"campaign_id": sent["id"], "version": version, **row, **times}
    return row_to_json(Campaign(**row))


def rule_row(sent, row, created, version):
    times = {"created_at_ms": created, "updated_at_ms": created}
    ids = {"rule_id": sent["id"], "campaign_id": sent["campaignId"]}
    return row_to_json(Rule(**ids, version=version, **row, **times))


def segment_row(sent, row, created, _version):
    times = {"created_at_ms": created, "updated_at_ms": created}
    return row_to_json(Segment(segment_id=sent["id"], **row, **times))


def settings_change(config):
    sent = config.get("settings")
    if sent is None:
        return []
    late_days = sent.get("lateHorizonDays")
    row = {
        "name": ORG,
        "dedupe_horizon_ms": sent.get("dedupeHorizonDays", 7) * DAY_MS,
        "late_horizon_ms": None if late_days is None else late_days * DAY_MS,
        "future_tolerance_ms": sent.get("futureToleranceMinutes", 5) * 60_000,
        "timezone": sent.get("timezone"),
    }
    if "tiers" in sent:
        row["tiers"] = sent["tiers"]
    return [("settings", ORG, row)]


def plain_changes(config, version):
    """Return the same rows for the oracle, made by renaming keys and nothing else."""
    changes = settings_change(config)
    names = {
        "id": None,
        "campaignId": "campaign_id",
        "startDate": "start_ms",
        "endDate": "end_ms",
        "segmentIds": "segment_ids",
        "excludeCriteria": "exclude_criteria",
        "userIds": "user_ids",
    }
    for key in ("campaigns", "rules", "segments"):
        for place, sent in enumerate(config.get(key, [])):
            row = {names.get(k, k): v for k, v in sent.items() if names.get(k, k)}
            row |= {f"{key[:-1]}_id": sent["id"], "version": version}
            created = row.pop("createdAt", None)
            row["created_at_ms"] = instant(created) if created else place
            for name in ("start_ms", "end_ms"):
                if name in row:
                    row[name] = instant(row[name])
            row.setdefault("status", "active")
            changes.append((key[:-1], sent["id"], row))
    return changes


def messages(example, test, change_rows):
    """Yield (stamp, message, what the test says of it) of a test."""
    version = 1
    first = change_rows(example, version)
    yield 0, ["config", ORG, version, first, ["orgs", 0, version, 0]], {}
    clock = FIRST_MS
    for place, step in enumerate(test["actions"]):
        clock = instant(step["at"]) if "at" in step else clock + 60_000
        user = step.get("user", "alice")
        if "config" in step:
            version += 1
            changes = change_rows(step["config"], version)
            source = ["orgs", 0, version, 0]
            yield clock, ["config", ORG, version, changes, source], step
        elif "profile" in step:
            body = step["profile"]
            head = ["command", ORG, user, f"cmd_{place}", "profile.update", None]
            yield clock, [*head, body, None, user], step
        else:
            occurred = instant(step["timestamp"]) if "timestamp" in step else None
            head = ["action", ORG, user, step.get("eventId"), step["action"], occurred]
            payload = [step.get("data", {}), step.get("metadata", {})]
            for _ in range(step.get("times", 1)):
                yield clock, [*head, *payload, step.get("keepId", False)], step


def run(engine, steps):
    """Fold everything; return what each step did, without the config's own."""
    outcomes = []
    for stamp, message, _ in steps:
        outcome = engine.fold(stamp, message)
        if message[0] != "config":
            outcomes.append(outcome)
    return outcomes


@pytest.mark.parametrize(("example", "test"), CASES)
def test_engine(example, test):
    engine = RealEngine()
    outcomes = run(engine, messages(example, test, parsed_changes))
    check(test, outcomes, lambda user: engine.profile(ORG, user))


@pytest.mark.parametrize(("example", "test"), CASES)
def test_oracle(example, test):
    oracle = Oracle()
    outcomes = run(oracle, messages(example, test, plain_changes))
    check(test, outcomes, lambda user: public(oracle.users.get((ORG, user))))


def check(test, outcomes, profile_of):
    expect = dict(test["expect"])
    everybody = expect.pop("users", {})
    if "fates" in expect:
        fates = [outcome["reason"] or outcome["fate"] for outcome in outcomes]
        assert fates == expect.pop("fates")
    if "counted" in expect:
        counted = {}
        for outcome in outcomes:
            for name, times in outcome["counts"].items():
                counted[name] = counted.get(name, 0) + times
        assert counted == expect.pop("counted")
    if expect:
        everybody["alice"] = expect
    for user, expected in everybody.items():
        check_user(user, expected, outcomes, profile_of(user))


def check_user(user, expected, outcomes, profile):
    if expected is None:
        assert profile is None
        return
    assert profile is not None, f"{user} does not exist"
    shown = {
        **profile,
        **profile["balance"],
        "badges": list(profile["badges"]),
        "benefits": list(profile["benefits"]),
    }
    mine = [e for o in outcomes for e in o["entries"] if e["user"] == user]
    shown["notifications"] = [n for o in outcomes for n in o["notifications"]]
    for name, value in expected.items():
        if name == "entries":
            assert len(mine) == len(value), mine
            for entry, wanted in zip(mine, value, strict=True):
                check_entry(entry, wanted)
        elif name.endswith("At"):
            assert shown[name] == instant(value), name
        else:
            assert shown[name] == value, name


def check_entry(entry, wanted):
    names = {
        "balanceAfter": "balance_after",
        "campaign": "campaign_id",
        "rule": "rule_id",
        "campaignVersion": "campaign_version",
        "eventId": "event_id",
        "expiresAt": "expires_at_ms",
        "occurredAt": "occurred_at_ms",
    }
    for key, value in wanted.items():
        timed = key.endswith("At") and value is not None
        found = entry[names.get(key, key)]
        assert found == (instant(value) if timed else value), (key, entry)


def test_every_example_has_a_description_and_tests():
    assert len(FILES) >= 12
    for path in FILES:
        example = load(path)
        assert example["name"], path
        assert example["description"], path
        assert example["tests"], path
