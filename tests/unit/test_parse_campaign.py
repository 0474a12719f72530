from decimal import Decimal

import pytest

from rules.config import Campaign
from rules.parse_campaign import parse_campaign, parse_campaign_update
from rules.parse_trigger import trigger_type

POINTS = {"type": "add_points", "config": {"amount": 10}}
SIMPLE = {
    "name": "Votes",
    "type": "Reward",
    "mode": "always-on",
    "triggers": [{"eventType": "user.vote", "conditions": {}}],
    "effects": [POINTS],
}
ADVANCED = {"name": "Container", "type": "Reward", "mode": "always-on"}
OCTOBER = {
    "startDate": "2025-10-01T00:00:00.000Z",
    "endDate": "2025-10-31T23:59:59.000Z",
}
OCTOBER_START_MS = 1_759_276_800_000


def parsed(body):
    problems = []
    values = parse_campaign(body, problems)
    assert problems == []
    return values


def refusals(body):
    problems = []
    assert parse_campaign(body, problems) is None
    return [(p.code, p.field) for p in problems]


def row(body):
    times = {"created_at_ms": 1, "updated_at_ms": 1}
    return Campaign(campaign_id="camp_1", **parsed(body), **times)


def update(body, current=SIMPLE):
    problems = []
    values = parse_campaign_update(body, row(current), problems)
    return values, [(p.code, p.field) for p in problems]


def without(body, *keys):
    return {k: v for k, v in body.items() if k not in keys}


def test_simple_campaign_with_defaults():
    assert parsed(SIMPLE) == {
        "type": "Reward",
        "name": "Votes",
        "mode": "always-on",
        "triggers": SIMPLE["triggers"],
        "effects": SIMPLE["effects"],
        "status": "draft",
        "simplified_mode": True,
    }


def test_everything_that_a_campaign_may_say():
    limits = {"perUser": {"count": 1, "period": "day"}}
    conditions = [{"field": "user.tier", "operator": "in", "value": ["gold"]}]
    values = parsed(
        {
            **SIMPLE,
            **OCTOBER,
            "mode": "time-bound",
            "description": "two\nlines",
            "status": "active",
            "simplifiedMode": True,
            "conditions": conditions,
            "limits": limits,
            "priority": 10,
            "segmentIds": ["seg_a", "seg_b", "seg_a"],
            "metadata": {"owner": {"team": 1}},
        }
    )
    assert values["start_ms"] == OCTOBER_START_MS
    assert values["end_ms"] == OCTOBER_START_MS + 31 * 86_400_000 - 1_000
    assert values["segment_ids"] == ["seg_a", "seg_b"]
    assert values["limits"] is limits
    assert values["conditions"] is conditions
    assert (values["status"], values["priority"]) == ("active", 10)


def test_date_without_a_time_is_midnight_utc():
    assert parsed({**SIMPLE, "startDate": "2025-10-01"})["start_ms"] == OCTOBER_START_MS


def test_neither_triggers_nor_effects_make_an_advanced_campaign():
    assert parsed(ADVANCED)["simplified_mode"] is False
    nothing = {"triggers": None, "effects": None}
    assert parsed({**ADVANCED, **nothing})["simplified_mode"] is False
    empty = {"simplifiedMode": False, "triggers": [], "effects": []}
    assert parsed({**ADVANCED, **empty})["triggers"] is None


@pytest.mark.parametrize("key", ["eventType", "trigger", "triggerType"])
def test_names_of_a_trigger(key):
    (trigger,) = parsed({**SIMPLE, "triggers": [{key: "user.*"}]})["triggers"]
    assert trigger_type(trigger) == "user.*"


def test_recurring_campaign():
    recurrence = {"unit": "month", "every": 1, "windowDays": 31}
    body = {**SIMPLE, "mode": "recurring", "startDate": "2025-10-01"}
    assert parsed({**body, "recurrence": recurrence})["recurrence"] == recurrence


def test_segment_id_stands_for_a_list_of_one():
    assert parsed({**SIMPLE, "segmentId": "seg_a"})["segment_ids"] == ["seg_a"]
    assert parsed({**SIMPLE, "segmentId": None})["segment_ids"] == []


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"name": None}, "VALIDATION_ERROR", "name"),
        ({"name": "  "}, "VALIDATION_ERROR", "name"),
        ({"name": "n" * 201}, "VALIDATION_ERROR", "name"),
        ({"name": "a\x07"}, "VALIDATION_ERROR", "name"),
        ({"name": 5}, "VALIDATION_ERROR", "name"),
        ({"description": "d" * 2_001}, "VALIDATION_ERROR", "description"),
        ({"type": "Coupon"}, "INVALID_CAMPAIGN_TYPE", "type"),
        ({"type": ["Reward"]}, "INVALID_CAMPAIGN_TYPE", "type"),
        ({"type": "Challenge"}, "NOT_SUPPORTED", "type"),
        ({"type": "Badge"}, "NOT_SUPPORTED", "type"),
        ({"type": "Streak"}, "NOT_SUPPORTED", "type"),
        ({"type": "Competition"}, "NOT_SUPPORTED", "type"),
        ({"challengeConfig": {"steps": []}}, "NOT_SUPPORTED", "challengeConfig"),
        ({"ties": "shared"}, "NOT_SUPPORTED", "ties"),
        ({"mode": "sometimes"}, "VALIDATION_ERROR", "mode"),
        ({"status": "paused"}, "VALIDATION_ERROR", "status"),
        ({"status": "completed"}, "VALIDATION_ERROR", "status"),
        ({"bonus": 1}, "VALIDATION_ERROR", "bonus"),
        ({"simplifiedMode": 1}, "VALIDATION_ERROR", "simplifiedMode"),
        ({"startDate": "yesterday"}, "VALIDATION_ERROR", "startDate"),
        ({"startDate": "2025-02-30"}, "VALIDATION_ERROR", "startDate"),
        ({"startDate": 1_759_276_800_000}, "VALIDATION_ERROR", "startDate"),
        (
            {"startDate": "2025-10-02", "endDate": "2025-10-01"},
            "VALIDATION_ERROR",
            "endDate",
        ),
        ({"priority": 0}, "VALIDATION_ERROR", "priority"),
        ({"priority": 11}, "VALIDATION_ERROR", "priority"),
        ({"priority": Decimal("5.0")}, "VALIDATION_ERROR", "priority"),
        ({"priority": True}, "VALIDATION_ERROR", "priority"),
        ({"segmentIds": "seg_a"}, "VALIDATION_ERROR", "segmentIds"),
        ({"segmentIds": ["s"] * 6}, "VALIDATION_ERROR", "segmentIds"),
        ({"segmentIds": ["a", "b c"]}, "VALIDATION_ERROR", "segmentIds[1]"),
        ({"segmentIds": ["a"], "segmentId": "b"}, "VALIDATION_ERROR", "segmentId"),
        ({"metadata": []}, "VALIDATION_ERROR", "metadata"),
        ({"metadata": {"x": "m" * 16_384}}, "VALIDATION_ERROR", "metadata"),
        ({"metadata": {"n": Decimal("1e31")}}, "VALIDATION_ERROR", "metadata"),
        ({"metadata": {"prizes": []}}, "NOT_SUPPORTED", "metadata.prizes"),
        ({"metadata": {"freezes": {}}}, "NOT_SUPPORTED", "metadata.freezes"),
        ({"recurrence": {}}, "VALIDATION_ERROR", "recurrence"),
        ({"limits": {"total": {"count": 1}}}, "NOT_SUPPORTED", "limits.total"),
        ({"triggers": {}}, "VALIDATION_ERROR", "triggers"),
        ({"triggers": ["vote"]}, "VALIDATION_ERROR", "triggers[0]"),
        ({"triggers": []}, "MISSING_TRIGGERS", "triggers"),
        ({"triggers": None}, "MISSING_TRIGGERS", "triggers"),
        ({"triggers": [{}]}, "VALIDATION_ERROR", "triggers[0].eventType"),
        ({"effects": []}, "MISSING_EFFECTS", "effects"),
        ({"effects": None}, "MISSING_EFFECTS", "effects"),
        ({"effects": [{}]}, "VALIDATION_ERROR", "effects[0].type"),
    ],
)
def test_what_is_refused(change, code, field):
    assert refusals({**SIMPLE, **change}) == [(code, field)]


@pytest.mark.parametrize("key", ["name", "type", "mode"])
def test_what_must_be_given(key):
    assert refusals(without(SIMPLE, key)) == [("VALIDATION_ERROR", key)]


def test_simplified_mode_asks_for_triggers_and_effects():
    assert refusals({**ADVANCED, "simplifiedMode": True}) == [
        ("MISSING_TRIGGERS", "triggers"),
        ("MISSING_EFFECTS", "effects"),
    ]


def test_advanced_campaign_has_neither_triggers_nor_effects():
    assert refusals({**SIMPLE, "simplifiedMode": False}) == [
        ("VALIDATION_ERROR", "triggers"),
        ("VALIDATION_ERROR", "effects"),
    ]


def test_time_bound_needs_both_dates():
    body = {**SIMPLE, "mode": "time-bound"}
    assert refusals(body) == [
        ("MISSING_START_DATE", "startDate"),
        ("MISSING_END_DATE", "endDate"),
    ]
    assert refusals({**body, **without(OCTOBER, "endDate")}) == [
        ("MISSING_END_DATE", "endDate")
    ]


def test_a_window_may_be_one_instant():
    instant = "2025-10-01T00:00:00Z"
    parsed({**SIMPLE, "mode": "time-bound", "startDate": instant, "endDate": instant})


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"startDate": None}, "MISSING_START_DATE", "startDate"),
        ({"recurrence": None}, "VALIDATION_ERROR", "recurrence"),
        ({"recurrence": 3}, "VALIDATION_ERROR", "recurrence"),
        (
            {"recurrence": {"unit": "year", "every": 1}},
            "VALIDATION_ERROR",
            "recurrence.unit",
        ),
        (
            {"recurrence": {"unit": "day", "every": 0}},
            "VALIDATION_ERROR",
            "recurrence.every",
        ),
        (
            {"recurrence": {"unit": "week", "every": 2, "windowDays": 15}},
            "VALIDATION_ERROR",
            "recurrence.windowDays",
        ),
        (
            {"recurrence": {"unit": "week", "every": 2, "days": 1}},
            "VALIDATION_ERROR",
            "recurrence.days",
        ),
    ],
)
def test_recurring_campaign_that_is_refused(change, code, field):
    body = {
        **SIMPLE,
        "mode": "recurring",
        "startDate": "2025-10-01",
        "recurrence": {"unit": "day", "every": 1},
    }
    assert (code, field) in refusals({**body, **change})


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("", "VALIDATION_ERROR"),
        (5, "VALIDATION_ERROR"),
        ("a,b", "VALIDATION_ERROR"),
        ("a\nb", "VALIDATION_ERROR"),
        ("é" * 65, "VALIDATION_ERROR"),
        ("us*er", "VALIDATION_ERROR"),
        ("user*", "VALIDATION_ERROR"),
        ("badge.awarded", "NOT_SUPPORTED"),
        ("tier.changed", "NOT_SUPPORTED"),
        ("audience.*", "NOT_SUPPORTED"),
    ],
)
def test_trigger_that_is_refused(name, code):
    body = {**SIMPLE, "triggers": [{"eventType": "ok"}, {"trigger": name}]}
    assert refusals(body) == [(code, "triggers[1].trigger")]


@pytest.mark.parametrize("name", ["*", "user.*", "é" * 64, "audience.seen", "a b"])
def test_trigger_that_is_accepted(name):
    parsed({**SIMPLE, "triggers": [{"eventType": name}]})


def test_no_more_than_fifty_triggers():
    trigger = {"eventType": "x"}
    parsed({**SIMPLE, "triggers": [trigger] * 50})
    body = {**SIMPLE, "triggers": [trigger] * 51}
    assert refusals(body) == [("VALIDATION_ERROR", "triggers")]


def test_regex_that_re2_refuses():
    condition = {"field": "sku", "operator": "matches", "value": "(?=x)"}
    body = {**SIMPLE, "triggers": [{"eventType": "x", "conditions": [condition]}]}
    assert refusals(body) == [
        ("INVALID_CONDITION", "triggers[0].conditions[0].value"),
    ]
    assert refusals({**SIMPLE, "conditions": [condition]}) == [
        ("INVALID_CONDITION", "conditions[0].value"),
    ]


def test_no_more_than_a_hundred_leaves_in_a_campaign():
    fifty = {f"f{i}": i for i in range(50)}
    trigger = {"eventType": "x", "conditions": fifty}
    parsed({**SIMPLE, "triggers": [trigger], "conditions": fifty})
    body = {**SIMPLE, "triggers": [trigger, trigger], "conditions": {"one": 1}}
    assert refusals(body) == [("INVALID_CONDITION", "conditions")]


def test_row_has_a_bound():
    values = ["v" * 1_000] * 30
    condition = {"field": "f", "operator": "in", "value": values}
    body = {**SIMPLE, "conditions": [condition] * 8}
    parsed(body)
    assert refusals({**SIMPLE, "conditions": [condition] * 9}) == [
        ("VALIDATION_ERROR", None)
    ]


def test_update_changes_only_what_it_names():
    values, problems = update({"status": "active", "description": None})
    assert (values, problems) == ({"status": "active", "description": None}, [])


@pytest.mark.parametrize("status", ["draft", "active", "paused", "archived"])
def test_update_of_the_status(status):
    assert update({"status": status}) == ({"status": status}, [])


def test_update_may_repeat_the_type_and_the_kind():
    body = {"type": "Reward", "simplifiedMode": True, "priority": 1}
    assert update(body) == ({"simplified_mode": True, "priority": 1}, [])


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "VALIDATION_ERROR", None),
        ({"type": "Badge"}, "CAMPAIGN_TYPE_IMMUTABLE", "type"),
        ({"status": "completed"}, "VALIDATION_ERROR", "status"),
        ({"status": None}, "VALIDATION_ERROR", "status"),
        ({"simplifiedMode": False}, "VALIDATION_ERROR", "simplifiedMode"),
        ({"campaignId": "camp_1"}, "VALIDATION_ERROR", "campaignId"),
        ({"mode": "recurring"}, "MISSING_START_DATE", "startDate"),
        ({"triggers": []}, "MISSING_TRIGGERS", "triggers"),
        ({"effects": None}, "MISSING_EFFECTS", "effects"),
    ],
)
def test_update_that_is_refused(body, code, field):
    values, problems = update(body)
    assert values is None
    assert (code, field) in problems


def test_update_is_checked_as_a_whole():
    october = {**SIMPLE, **OCTOBER, "mode": "time-bound"}
    assert update({"endDate": "2025-09-01"}, october) == (
        None,
        [("VALIDATION_ERROR", "endDate")],
    )
    assert update({"startDate": None}, october) == (
        None,
        [("MISSING_START_DATE", "startDate")],
    )


def test_update_of_an_advanced_campaign_takes_no_triggers():
    assert update({"triggers": SIMPLE["triggers"]}, ADVANCED) == (
        None,
        [("VALIDATION_ERROR", "triggers")],
    )
