"""Admin commands: orgs, and what holds of every command."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.admin import decide
from rules.message import Command
from rules.outcome import Place
from tests.orgs import (
    ADVANCED,
    IDS,
    JWT_KEY,
    KEY,
    PEM,
    RULE,
    SEGMENT,
    SIMPLE,
    Org,
    encode,
)


def test_org_gets_its_settings():
    org = Org()
    settings = {
        "name": "Acme",
        "timezone": "Europe/London",
        "dedupeHorizonMs": 90 * 86_400_000,
        "lateHorizonMs": None,
        "tiers": [{"name": "base", "threshold": 0}, {"name": "top", "threshold": 9}],
    }
    body = org.made("org.create", {"settings": settings})
    assert body["tiers"] == settings["tiers"]
    assert org.config.settings.tiers[1].threshold == 9
    assert org.config.settings.timezone == "Europe/London"
    assert org.config.settings.created_at_ms == 1_000
    assert org.config.version == 1


def test_org_has_defaults():
    org = Org()
    org.made("org.create", {})
    assert [t.name for t in org.config.settings.tiers] == [
        "bronze",
        "silver",
        "gold",
        "platinum",
    ]


def test_org_that_exists(org):
    assert org.refusal("org.create", {}) == (409, "ORG_EXISTS", None)


def test_an_org_and_its_first_keys_are_one_decision(org):
    body = {"keys": [KEY, {**KEY, "keyId": "sk_1"}], "jwtKeys": [JWT_KEY]}
    fresh = Org()
    decision = fresh.send("org.create", body)
    assert [change[0] for change in decision.changes] == ["settings"]
    assert [change[:2] for change in decision.private] == [
        ("api_key", "pk_1"),
        ("api_key", "sk_1"),
        ("jwt_key", "k1"),
    ]
    assert fresh.row("api_key", "pk_1").created_at_ms == 1_000
    before = dict(org.stored)
    assert org.refusal("org.create", body) == (409, "ORG_EXISTS", None)
    assert org.stored == before


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"keys": {}}, "keys"),
        ({"keys": [KEY, 5]}, "keys[1]"),
        ({"keys": [{**KEY, "kind": "admin"}]}, "keys[0].kind"),
        ({"keys": [{"keyId": "pk_1"}]}, "keys[0].secretSha256"),
        ({"keys": [KEY, KEY]}, "keys[1]"),
        ({"keys": [{**KEY, "keyId": f"k{i}"} for i in range(11)]}, "keys"),
        ({"jwtKeys": [{**JWT_KEY, "publicPem": PEM}]}, "jwtKeys[0].publicPem"),
        ({"keys": [{**KEY, "keyId": "k1"}], "jwtKeys": [JWT_KEY]}, "jwtKeys[0]"),
        ({"key": [KEY]}, "key"),
    ],
)
def test_first_keys_that_are_refused(body, field):
    assert Org().refusal("org.create", body) == (400, "VALIDATION_ERROR", field)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (5, "settings"),
        ({"colour": 1}, "settings.colour"),
        ({"timezone": "London"}, "settings.timezone"),
        ({"dedupeHorizonMs": 86_399_999}, "settings.dedupeHorizonMs"),
        ({"dedupeHorizonMs": 90 * 86_400_000 + 1}, "settings.dedupeHorizonMs"),
        ({"dedupeHorizonMs": None}, "settings.dedupeHorizonMs"),
        ({"lateHorizonMs": 0}, "settings.lateHorizonMs"),
        ({"tiers": []}, "settings.tiers"),
        ({"tiers": "gold"}, "settings.tiers"),
        ({"tiers": [{"name": "a", "threshold": 1}]}, "settings.tiers[0].threshold"),
        ({"tiers": [{"name": "a"}]}, "settings.tiers[0].threshold"),
        (
            {"tiers": [{"name": "a", "threshold": 0}, {"name": "a", "threshold": 1}]},
            "settings.tiers[1].name",
        ),
        (
            {"tiers": [{"name": "a", "threshold": 0}, {"name": "b", "threshold": 0}]},
            "settings.tiers[1].threshold",
        ),
        (
            {"tiers": [{"name": str(i), "threshold": i} for i in range(51)]},
            "settings.tiers",
        ),
    ],
)
def test_settings_that_are_refused(settings, field):
    refusal = Org().refusal("org.create", {"settings": settings})
    assert refusal == (400, "VALIDATION_ERROR", field)


def test_org_id_that_is_refused():
    command = Command("a/b", None, "cmd_1", "org.create", None, {})
    result = decide(Org(), command, Place(IDS, 0, 1)).result
    assert (result.status, result.error.field) == (400, "org")


@pytest.mark.parametrize(
    "name",
    [
        "key.create",
        "key.revoke",
        "jwt_key.create",
        "campaign.create",
        "campaign.update",
        "campaign.archive",
        "rule.create",
        "rule.update",
        "rule.delete",
        "segment.create",
        "segment.update",
        "segment.delete",
    ],
)
def test_unknown_org(name):
    assert Org().refusal(name) == (404, "ORG_NOT_FOUND", None)


def test_unknown_command(org):
    assert org.refusal("campaign.explode") == (400, "UNKNOWN_COMMAND", "name")


def test_same_command_at_the_same_place_makes_the_same_id(org):
    command = Command("acme", None, "cmd_x", "campaign.create", None, SIMPLE)
    place = Place(IDS, 7, 1)
    assert decide(org, command, place) == decide(org, command, place)


def test_what_is_broadcast_stays_under_900_kb(org):
    text = "v" * 1_000
    leaf = {"field": "f", "operator": "in", "value": [text] * 30}
    campaign = org.container(conditions=[leaf] * 8)
    decision = org.send("rule.create", {**RULE, "conditions": [leaf] * 8}, campaign)
    assert decision.result.status == 201
    assert 400_000 < len(encode(decision.changes)) < 900_000


NAMES = [
    *("name", "type", "mode", "status", "triggers", "effects", "conditions", "limits"),
    *("startDate", "endDate", "recurrence", "segmentIds", "metadata", "criteria"),
    *("excludeCriteria", "userIds", "trigger", "triggerType", "eventType", "settings"),
    *("config", "params", "amount", "field", "operator", "value", "perUser", "all"),
    *("tiers", "threshold", "timezone", "permissions", "publicPem", "simplifiedMode"),
]
WORDS = [
    *("Reward", "always-on", "recurring", "add_points", "set_custom_field", "static"),
    *("dynamic", "equals", "matches", "between", "tier", "2025-10-01", "RS256", "x"),
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(10**40), 10**40)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(WORDS)
)
KEYS = st.sampled_from(NAMES) | st.text(max_size=5)
JSON = st.recursive(
    SCALARS, lambda items: st.lists(items) | st.dictionaries(KEYS, items), max_leaves=20
)
BASES = st.sampled_from([{}, SIMPLE, ADVANCED, RULE, SEGMENT, KEY, JWT_KEY])


@settings(max_examples=50, deadline=None)
@given(BASES, st.dictionaries(KEYS, JSON))
def test_no_body_is_more_than_refused(base, body):
    org = Org()
    org.send("org.create", body)
    org.stored.clear()
    org.config = None
    org.made("org.create", {})
    simple, container = org.campaign(), org.container()
    rule = org.made("rule.create", RULE, container)["rule_id"]
    segment = org.made("segment.create", SEGMENT)["segment_id"]
    for name, target in [
        ("campaign.create", None),
        ("campaign.update", simple),
        ("campaign.update", container),
        ("rule.create", container),
        ("rule.update", rule),
        ("segment.create", None),
        ("segment.update", segment),
        ("key.create", None),
        ("jwt_key.create", None),
    ]:
        assert org.send(name, base | body, target).result.status in (200, 201, 400, 409)
        assert org.send(name, body, target).result.status in (200, 201, 400, 409)
