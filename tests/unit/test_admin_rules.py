"""Admin commands on rules: a rule and its campaign change together."""

import pytest

from tests.orgs import POINTS, RULE


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
