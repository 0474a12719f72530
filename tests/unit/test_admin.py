import itertools
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.admin import decide
from rules.config import ApiKey, apply_change, row_from_json
from rules.ledger import IdSpace
from rules.message import Command
from rules.outcome import Place

encode = msgspec.json.Encoder(decimal_format="number").encode
decode = msgspec.json.Decoder(float_hook=Decimal).decode
IDS = IdSpace("0" * 32, "orgs", 0)
POINTS = {"type": "add_points", "config": {"amount": 10}}
SIMPLE = {
    "name": "Votes",
    "type": "Reward",
    "mode": "always-on",
    "triggers": [{"eventType": "vote"}],
    "effects": [POINTS],
}
ADVANCED = {"name": "Container", "type": "Reward", "mode": "always-on"}
RULE = {"trigger": "vote", "effects": [POINTS]}
SEGMENT = {
    "name": "VIP",
    "type": "dynamic",
    "criteria": [{"field": "tier", "operator": "equals", "value": "gold"}],
}
KEY = {"keyId": "pk_1", "secretSha256": "a" * 64, "kind": "api"}
JWT_KEY = {"kid": "k1", "algorithm": "HS256", "sealedSecret": "c2VhbGVk"}
PEM = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n"


class Org:
    """An org in memory, folded as the orgs partition folds it."""

    def __init__(self):
        self.config = None
        self.stored = {}
        self.numbers = itertools.count()

    def row(self, kind, row_id):
        value = self.stored.get((kind, row_id))
        return None if value is None else row_from_json(kind, decode(value))

    def rows(self, kind):
        return [self.row(*key) for key in self.stored if key[0] == kind]

    def send(self, name, body=None, target=None):
        number = next(self.numbers)
        command = Command("acme", None, f"cmd_{number}", name, target, body or {})
        before = encode(self.config)
        decision = decide(self, command, Place(IDS, number, 1_000 + number))
        assert encode(self.config) == before, "decide changed the config"
        assert decision.result.command_id == f"cmd_{number}"
        if decision.result.status >= 400:
            assert decision.result.error == decision.result.details[0]
            assert (decision.changes, decision.private) == ([], [])
        self.keep(decision)
        return decision

    def keep(self, decision):
        if decision.changes:
            version = 1 if self.config is None else self.config.version + 1
            self.config = apply_change(self.config, "acme", version, decision.changes)
        for kind, row_id, value in decision.changes + decision.private:
            if value is None:
                del self.stored[kind, row_id]
            else:
                self.stored[kind, row_id] = encode(value)

    def made(self, name, body, target=None):
        decision = self.send(name, body, target)
        assert decision.result.status == 201, decision.result
        return decision.result.body

    def campaign(self, **changes):
        return self.made("campaign.create", {**SIMPLE, **changes})["campaign_id"]

    def container(self, **changes):
        return self.made("campaign.create", {**ADVANCED, **changes})["campaign_id"]

    def refusal(self, name, body=None, target=None):
        result = self.send(name, body, target).result
        assert result.status >= 400, result
        return result.status, result.error.code, result.error.field


@pytest.fixture
def org():
    org = Org()
    org.made("org.create", {"settings": {"name": "Acme"}})
    return org


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


def test_key_is_private_and_its_secret_is_not_shown(org):
    decision = org.send("key.create", {**KEY, "permissions": ["actions:write"]})
    assert decision.changes == []
    assert "secret_sha256" not in decision.result.body
    assert org.row("api_key", "pk_1").secret_sha256 == "a" * 64
    assert org.config.version == 1


def test_key_is_revoked_once(org):
    org.made("key.create", KEY)
    first = org.send("key.revoke", target="pk_1")
    assert first.result.body["revoked_at_ms"] == 1_002
    second = org.send("key.revoke", target="pk_1")
    assert (second.result.status, second.private) == (200, [])
    assert second.result.body["revoked_at_ms"] == 1_002


def test_key_that_is_refused(org):
    org.made("key.create", KEY)
    assert org.refusal("key.create", KEY) == (409, "KEY_EXISTS", "keyId")
    assert org.refusal("key.revoke", target="pk_2") == (404, "KEY_NOT_FOUND", "keyId")
    for change, field in [
        ({"keyId": "a b"}, "keyId"),
        ({"keyId": None}, "keyId"),
        ({"secretSha256": "A" * 64}, "secretSha256"),
        ({"kind": "admin"}, "kind"),
        ({"permissions": ["all"]}, "permissions[0]"),
        ({"secret": "hush"}, "secret"),
    ]:
        assert org.refusal("key.create", {**KEY, **change}) == (
            400,
            "VALIDATION_ERROR",
            field,
        )


def test_keys_have_a_limit(org):
    for i in range(1_000):
        key = ApiKey(key_id=f"k{i}", secret_sha256="a" * 64, kind="api")
        org.stored["api_key", f"k{i}"] = encode(key)
    assert org.refusal("key.create", KEY) == (409, "KEY_LIMIT_REACHED", None)
    org.send("key.revoke", target="k0")
    org.made("key.create", KEY)


def test_jwt_keys(org):
    body = org.made("jwt_key.create", JWT_KEY)
    assert "sealed_secret" not in body
    org.made("jwt_key.create", {"kid": "k2", "algorithm": "ES256", "publicPem": PEM})
    assert org.row("jwt_key", "k2").public_pem == PEM
    assert org.refusal("jwt_key.create", JWT_KEY) == (409, "KEY_EXISTS", "kid")


def test_a_key_id_is_unique_over_both_kinds(org):
    org.made("key.create", KEY)
    taken = {**JWT_KEY, "kid": KEY["keyId"]}
    assert org.refusal("jwt_key.create", taken) == (409, "KEY_EXISTS", "kid")


def test_a_jwt_key_is_revoked_once_and_makes_room(org):
    for i in range(100):
        org.made("jwt_key.create", {**JWT_KEY, "kid": f"k{i}"})
    full = (409, "KEY_LIMIT_REACHED", None)
    assert org.refusal("jwt_key.create", {**JWT_KEY, "kid": "next"}) == full
    first = org.send("key.revoke", target="k7")
    assert (first.result.status, "sealed_secret" in first.result.body) == (200, False)
    revoked_at = org.row("jwt_key", "k7").revoked_at_ms
    assert revoked_at == first.result.body["revoked_at_ms"] > 1_000
    assert org.send("key.revoke", target="k7").private == []
    org.made("jwt_key.create", {**JWT_KEY, "kid": "next"})
    assert org.refusal("jwt_key.create", {**JWT_KEY, "kid": "k7"})[1] == "KEY_EXISTS"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"algorithm": "none"}, "algorithm"),
        ({"algorithm": None}, "algorithm"),
        ({"sealedSecret": None}, "sealedSecret"),
        ({"publicPem": PEM}, "publicPem"),
        ({"algorithm": "RS256", "sealedSecret": None}, "publicPem"),
        ({"algorithm": "RS256", "publicPem": PEM}, "sealedSecret"),
        (
            {
                "algorithm": "RS256",
                "sealedSecret": None,
                "publicPem": "-----BEGIN PRIVATE KEY-----\n",
            },
            "publicPem",
        ),
    ],
)
def test_jwt_key_that_is_refused(org, change, field):
    result = org.send("jwt_key.create", {**JWT_KEY, **change}).result
    assert result.status == 400
    assert field in [problem.field for problem in result.details]


def test_campaign_is_created(org):
    body = org.made("campaign.create", SIMPLE)
    campaign_id = body["campaign_id"]
    assert campaign_id.startswith("camp_")
    assert [len(part) for part in campaign_id[5:].split("-")] == [8, 4, 4, 4, 12]
    assert (body["version"], body["status"]) == (1, "draft")
    assert (body["created_at_ms"], body["updated_at_ms"]) == (1_001, 1_001)
    assert org.config.campaigns[campaign_id].triggers == SIMPLE["triggers"]
    assert org.config.version == 2


def test_same_command_at_the_same_place_makes_the_same_id(org):
    command = Command("acme", None, "cmd_x", "campaign.create", None, SIMPLE)
    place = Place(IDS, 7, 1)
    assert decide(org, command, place) == decide(org, command, place)


def test_campaign_that_is_invalid_names_every_problem(org):
    result = org.send("campaign.create", {"name": "", "type": "Reward"}).result
    assert result.status == 400
    assert [p.field for p in result.details] == ["name", "mode"]


def test_campaign_names_are_unique_among_live_ones(org):
    first = org.campaign()
    duplicate = (409, "DUPLICATE_NAME", "name")
    assert org.refusal("campaign.create", SIMPLE) == duplicate
    other = org.campaign(name="votes")
    assert org.refusal("campaign.update", {"name": "Votes"}, other) == duplicate
    assert org.send("campaign.update", {"name": "Votes"}, first).result.status == 200
    org.send("campaign.archive", target=first)
    org.campaign()


def test_campaigns_have_a_limit(org):
    ids = [org.campaign(name=f"c{i}") for i in range(500)]
    limit = (409, "CAMPAIGN_LIMIT_REACHED", None)
    assert org.refusal("campaign.create", SIMPLE) == limit
    org.send("campaign.archive", target=ids[0])
    org.campaign()


def test_segments_of_a_campaign_must_exist(org):
    segment = org.made("segment.create", SEGMENT)["segment_id"]
    campaign = org.campaign(segmentIds=[segment])
    unknown = {"segmentIds": [segment, "seg_x"]}
    missing = (400, "SEGMENT_NOT_FOUND", "segmentIds[1]")
    assert org.refusal("campaign.create", {**SIMPLE, "name": "n", **unknown}) == missing
    assert org.refusal("campaign.update", unknown, campaign) == missing
    assert org.refusal("campaign.update", {"segmentId": "seg_x"}, campaign) == (
        400,
        "SEGMENT_NOT_FOUND",
        "segmentId",
    )


def test_campaign_update_raises_its_version(org):
    campaign = org.campaign()
    decision = org.send("campaign.update", {"status": "active"}, campaign)
    body = decision.result.body
    assert (decision.result.status, body["status"], body["version"]) == (
        200,
        "active",
        2,
    )
    assert (body["created_at_ms"], body["updated_at_ms"]) == (1_001, 1_002)
    assert [change[:2] for change in decision.changes] == [("campaign", campaign)]


def test_campaign_update_that_is_refused(org):
    campaign = org.campaign()
    assert org.refusal("campaign.update", {"status": "active"}, "camp_x") == (
        404,
        "CAMPAIGN_NOT_FOUND",
        "campaignId",
    )
    assert org.refusal("campaign.update", {}, campaign) == (
        400,
        "VALIDATION_ERROR",
        None,
    )
    assert org.refusal("campaign.update", {"type": "Badge"}, campaign) == (
        400,
        "CAMPAIGN_TYPE_IMMUTABLE",
        "type",
    )


def test_archived_is_final(org):
    campaign = org.campaign()
    assert org.send("campaign.archive", target=campaign).result.status == 204
    assert campaign not in org.config.campaigns
    assert org.row("campaign", campaign).status == "archived"
    assert org.refusal("campaign.update", {"status": "active"}, campaign) == (
        409,
        "CONFLICT",
        "campaignId",
    )
    again = org.send("campaign.archive", target=campaign)
    assert (again.result.status, again.changes) == (204, [])
    assert org.refusal("campaign.archive", target="camp_x")[0] == 404


def test_update_archives_too(org):
    campaign = org.campaign()
    org.send("campaign.update", {"status": "archived"}, campaign)
    assert campaign not in org.config.campaigns


def test_rule_and_its_campaign_change_in_one_version(org):
    campaign = org.container()
    decision = org.send("rule.create", RULE, campaign)
    rule_id = decision.result.body["rule_id"]
    assert [change[:2] for change in decision.changes] == [
        ("campaign", campaign),
        ("rule", rule_id),
    ]
    assert org.config.campaigns[campaign].version == 2
    org.send("rule.update", {"priority": 90}, rule_id)
    assert org.config.campaigns[campaign].version == 3
    assert org.config.rules[rule_id].version == 2
    assert org.config.rules[rule_id].updated_at_ms == 1_003
    assert org.config.campaigns[campaign].updated_at_ms == 1_003
    assert org.send("rule.delete", target=rule_id).result.status == 204
    assert org.config.campaigns[campaign].version == 4
    assert org.config.rules == {}


def test_rule_names_its_campaign_in_the_body_or_the_target(org):
    campaign = org.container()
    org.made("rule.create", {**RULE, "campaignId": campaign})
    org.made("rule.create", {**RULE, "campaignId": campaign}, campaign)
    assert len(org.config.rules) == 2


@pytest.mark.parametrize(
    ("body", "target", "refusal"),
    [
        (RULE, None, (400, "VALIDATION_ERROR", "campaignId")),
        ({**RULE, "campaignId": ["x"]}, None, (400, "VALIDATION_ERROR", "campaignId")),
        (
            {**RULE, "campaignId": "x"},
            "simple",
            (400, "VALIDATION_ERROR", "campaignId"),
        ),
        (RULE, "camp_x", (404, "CAMPAIGN_NOT_FOUND", "campaignId")),
        (RULE, "simple", (400, "SIMPLE_MODE_RULES_FORBIDDEN", "campaignId")),
        (RULE, "archived", (409, "CONFLICT", "campaignId")),
        ({"effects": [POINTS]}, "advanced", (400, "MISSING_TRIGGERS", "triggerType")),
        ({"trigger": "x"}, "advanced", (400, "MISSING_EFFECTS", "effects")),
    ],
)
def test_rule_that_is_refused(org, body, target, refusal):
    archived = org.container(name="archived")
    org.send("campaign.archive", target=archived)
    targets = {"simple": org.campaign(), "advanced": org.container()}
    targets["archived"] = archived
    assert org.refusal("rule.create", body, targets.get(target, target)) == refusal


def test_rule_update_that_is_refused(org):
    campaign, other = org.container(), org.container(name="other")
    rule = org.made("rule.create", RULE, campaign)["rule_id"]
    unknown = (404, "RULE_NOT_FOUND", "ruleId")
    another = (400, "VALIDATION_ERROR", "campaignId")
    assert org.refusal("rule.update", {"priority": 1}, "rule_x") == unknown
    assert org.refusal("rule.delete", target="rule_x") == unknown
    assert org.refusal("rule.update", {}, rule) == (400, "VALIDATION_ERROR", None)
    moved = {"priority": 1, "campaignId": other}
    assert org.refusal("rule.update", moved, rule) == another
    assert org.refusal("rule.delete", {"campaignId": other}, rule) == another
    assert org.refusal("rule.update", {"effects": []}, rule) == (
        400,
        "MISSING_EFFECTS",
        "effects",
    )
    org.send("campaign.archive", target=campaign)
    assert org.refusal("rule.update", {"priority": 1}, rule)[:2] == (409, "CONFLICT")


def test_rules_of_a_campaign_have_a_limit(org):
    campaign, other = org.container(), org.container(name="other")
    for _ in range(100):
        org.made("rule.create", RULE, campaign)
    assert org.refusal("rule.create", RULE, campaign) == (
        409,
        "RULE_LIMIT_REACHED",
        None,
    )
    org.made("rule.create", RULE, other)


def test_leaves_are_counted_over_a_campaign_and_its_rules(org):
    fifty = {f"f{i}": i for i in range(50)}
    campaign = org.container(conditions=fifty)
    rule = org.made("rule.create", {**RULE, "conditions": fifty}, campaign)["rule_id"]
    too_many = (400, "INVALID_CONDITION", "conditions")
    one = {"one": 1}
    assert org.refusal("rule.create", {**RULE, "conditions": one}, campaign) == too_many
    more = {"conditions": {**fifty, **one}}
    assert org.refusal("rule.update", more, rule) == too_many
    assert org.refusal("campaign.update", more, campaign) == too_many
    assert org.send("rule.update", {"conditions": one}, rule).result.status == 200
    assert org.send("campaign.update", more, campaign).result.status == 200


def test_segment_lives(org):
    body = org.made("segment.create", SEGMENT)
    segment = body["segment_id"]
    assert segment.startswith("seg_")
    assert org.config.segments[segment].criteria == SEGMENT["criteria"]
    campaign = org.campaign(segmentIds=[segment])
    updated = org.send("segment.update", {"name": "Other"}, segment).result
    assert (updated.status, updated.body["name"]) == (200, "Other")
    assert updated.body["updated_at_ms"] == 1_003
    assert org.send("segment.delete", target=segment).result.status == 204
    assert org.config.segments == {}
    assert org.config.campaigns[campaign].segment_ids == [segment]
    assert org.config.campaigns[campaign].version == 1
    assert org.send("campaign.update", {"priority": 1}, campaign).result.status == 200


def test_segment_that_is_refused(org):
    unknown = (404, "SEGMENT_NOT_FOUND", "segmentId")
    assert org.refusal("segment.update", {"name": "x"}, "seg_x") == unknown
    assert org.refusal("segment.delete", target="seg_x") == unknown
    assert org.refusal("segment.create", {**SEGMENT, "type": "live"}) == (
        400,
        "VALIDATION_ERROR",
        "type",
    )
    segment = org.made("segment.create", SEGMENT)["segment_id"]
    assert org.refusal("segment.update", {}, segment) == (400, "VALIDATION_ERROR", None)


def test_segments_have_a_limit(org):
    for _ in range(500):
        org.made("segment.create", SEGMENT)
    assert org.refusal("segment.create", SEGMENT) == (
        409,
        "SEGMENT_LIMIT_REACHED",
        None,
    )


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
