import pytest

from rules.config import Rule
from rules.parse_rule import parse_rule, parse_rule_update

RULE = {
    "campaignId": "camp_1",
    "name": "Quiz master",
    "trigger": "quiz_completed",
    "priority": 90,
    "conditions": [{"field": "score", "operator": ">=", "value": 80}],
    "effects": [
        {"type": "award_points", "amount": 50},
        {"type": "award_badge", "badgeId": "quiz_master"},
    ],
}


def refusals(change):
    problems = []
    assert parse_rule({**RULE, **change}, problems) is None
    return [(p.code, p.field) for p in problems]


def parsed(body):
    problems = []
    values = parse_rule(body, problems)
    assert problems == []
    return values


def update(body):
    times = {"created_at_ms": 1, "updated_at_ms": 1}
    current = Rule(rule_id="rule_1", campaign_id="camp_1", **parsed(RULE), **times)
    problems = []
    values = parse_rule_update(body, current, problems)
    return values, [(p.code, p.field) for p in problems]


def test_rule_of_the_reference():
    assert parsed(RULE) == {
        "name": "Quiz master",
        "conditions": RULE["conditions"],
        "effects": RULE["effects"],
        "priority": 90,
        "trigger": "quiz_completed",
    }


def test_rule_without_a_name_is_named_after_its_trigger():
    values = parsed({"triggerType": "poll_vote", "effects": RULE["effects"]})
    assert (values["name"], values["trigger"]) == ("poll_vote", "poll_vote")


def test_trigger_may_be_given_under_two_names_if_they_agree():
    assert parsed({**RULE, "triggerType": "quiz_completed"})["trigger"] == (
        "quiz_completed"
    )
    assert refusals({"triggerType": "other"}) == [("VALIDATION_ERROR", "trigger")]


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"trigger": None}, "MISSING_TRIGGERS", "triggerType"),
        ({"trigger": 3}, "VALIDATION_ERROR", "trigger"),
        ({"trigger": "badge.awarded"}, "NOT_SUPPORTED", "trigger"),
        ({"effects": []}, "MISSING_EFFECTS", "effects"),
        ({"effects": None}, "VALIDATION_ERROR", "effects"),
        ({"effects": 1}, "VALIDATION_ERROR", "effects"),
        (
            {"effects": [{"type": "increment_streak"}]},
            "NOT_SUPPORTED",
            "effects[0].type",
        ),
        ({"name": ""}, "VALIDATION_ERROR", "name"),
        ({"name": None}, "VALIDATION_ERROR", "name"),
        ({"enabled": "yes"}, "VALIDATION_ERROR", "enabled"),
        ({"priority": 1_000_001}, "VALIDATION_ERROR", "priority"),
        ({"priority": "high"}, "VALIDATION_ERROR", "priority"),
        ({"limits": {"total": {"count": 1}}}, "NOT_SUPPORTED", "limits.total"),
        ({"when": 1}, "VALIDATION_ERROR", "when"),
        (
            {"conditions": [{"field": "f", "operator": "~", "value": 1}]},
            "INVALID_CONDITION",
            "conditions[0].operator",
        ),
        (
            {"conditions": [{"field": "f", "operator": "matches", "value": "("}]},
            "INVALID_CONDITION",
            "conditions[0].value",
        ),
    ],
)
def test_what_is_refused(change, code, field):
    assert (code, field) in refusals(change)


def test_missing_effects():
    problems = []
    parse_rule({"trigger": "x"}, problems)
    assert [(p.code, p.field) for p in problems] == [("MISSING_EFFECTS", "effects")]


def test_update_changes_only_what_it_names():
    assert update({"enabled": False}) == ({"enabled": False}, [])
    assert update({"eventType": "x.*"}) == ({"trigger": "x.*"}, [])
    assert update({"conditions": None, "priority": None}) == (
        {"conditions": None, "priority": 5},
        [],
    )


@pytest.mark.parametrize("body", [{}, {"campaignId": "camp_1"}])
def test_empty_update_is_refused(body):
    assert update(body) == (None, [("VALIDATION_ERROR", None)])


def test_update_is_checked_as_a_whole():
    assert update({"effects": []}) == (None, [("MISSING_EFFECTS", "effects")])
