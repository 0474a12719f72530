import pytest

from rules.config import Segment
from rules.parse_segment import parse_segment, parse_segment_update

GOLD = {"field": "tier", "operator": "in", "value": ["gold", "platinum"]}
TEST = {"field": "customFields.testAccount", "operator": "equals", "value": True}
BANNED = {"field": "badges", "operator": "contains", "value": ["banned"]}
DYNAMIC = {
    "name": "VIP",
    "type": "dynamic",
    "url": None,
    "criteria": [GOLD],
    "excludeCriteria": [TEST, BANNED],
}
STATIC = {"name": "Friends", "type": "static", "userIds": ["alice", "bob", "alice"]}


def parsed(body):
    problems = []
    values = parse_segment(body, problems)
    assert problems == []
    return values


def refusals(body):
    problems = []
    assert parse_segment(body, problems) is None
    return [(p.code, p.field) for p in problems]


def update(body, current):
    times = {"created_at_ms": 1, "updated_at_ms": 1}
    row = Segment(segment_id="seg_1", **parsed(current), **times)
    problems = []
    values = parse_segment_update(body, row, problems)
    return values, [(p.code, p.field) for p in problems]


def test_dynamic_segment_keeps_its_lists():
    values = parsed(DYNAMIC)
    assert values["criteria"] == [GOLD]
    assert values["exclude_criteria"] == [TEST, BANNED]


def test_static_segment_names_each_user_once():
    assert parsed(STATIC)["user_ids"] == ["alice", "bob"]


def test_object_form_becomes_one_item_per_key():
    criteria = {"tier": "gold", "points": {"min": 5}, "email": ["a", "b"]}
    assert parsed({**DYNAMIC, "criteria": criteria})["criteria"] == [
        {"field": "tier", "operator": "equals", "value": "gold"},
        {"field": "points", "operator": "between", "value": {"min": 5}},
        {"field": "email", "operator": "in", "value": ["a", "b"]},
    ]


@pytest.mark.parametrize("criterion", [GOLD, {"any": [GOLD, TEST]}, {"not": BANNED}])
def test_one_leaf_or_group_becomes_a_list_of_one(criterion):
    assert parsed({**DYNAMIC, "criteria": criterion})["criteria"] == [criterion]


def test_what_object_form_becomes_is_accepted_again():
    criteria = parsed({**DYNAMIC, "criteria": {"points": {"max": 5}}})["criteria"]
    assert parsed({**DYNAMIC, "criteria": criteria})["criteria"] == criteria


def test_excluding_alone_makes_a_segment():
    assert parsed({"name": "n", "type": "dynamic", "excludeCriteria": [TEST]})


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"type": "dynamic", "criteria": [GOLD]}, "VALIDATION_ERROR", "name"),
        ({"name": "n", "criteria": [GOLD]}, "VALIDATION_ERROR", "type"),
        ({**DYNAMIC, "type": "live"}, "VALIDATION_ERROR", "type"),
        ({**DYNAMIC, "members": 3}, "VALIDATION_ERROR", "members"),
        ({**DYNAMIC, "url": "u" * 2_049}, "VALIDATION_ERROR", "url"),
        ({**DYNAMIC, "userIds": ["a"]}, "VALIDATION_ERROR", "userIds"),
        ({"name": "n", "type": "dynamic"}, "VALIDATION_ERROR", "criteria"),
        (
            {"name": "n", "type": "dynamic", "criteria": {}},
            "VALIDATION_ERROR",
            "criteria",
        ),
        ({**DYNAMIC, "criteria": "gold"}, "INVALID_CONDITION", "criteria"),
        (
            {**DYNAMIC, "criteria": [{"field": "tier", "operator": "is"}]},
            "INVALID_CONDITION",
            "criteria[0].operator",
        ),
        (
            {
                **DYNAMIC,
                "excludeCriteria": [TEST, {"field": "shoe", "operator": "exists"}],
            },
            "INVALID_CONDITION",
            "excludeCriteria[1].field",
        ),
        ({**STATIC, "userIds": None}, "VALIDATION_ERROR", "userIds"),
        ({**STATIC, "userIds": "alice"}, "VALIDATION_ERROR", "userIds"),
        ({**STATIC, "userIds": ["a", "b,c"]}, "VALIDATION_ERROR", "userIds[1]"),
        ({**STATIC, "userIds": [7]}, "VALIDATION_ERROR", "userIds[0]"),
        ({**STATIC, "criteria": [GOLD]}, "VALIDATION_ERROR", "criteria"),
        ({**STATIC, "excludeCriteria": [GOLD]}, "VALIDATION_ERROR", "excludeCriteria"),
    ],
)
def test_what_is_refused(body, code, field):
    assert refusals(body) == [(code, field)]


def test_no_more_than_ten_thousand_users():
    users = [f"u{i}" for i in range(10_000)]
    assert len(parsed({**STATIC, "userIds": users})["user_ids"]) == 10_000
    body = {**STATIC, "userIds": [*users, "one more"]}
    assert refusals(body) == [("VALIDATION_ERROR", "userIds")]


def test_row_has_a_bound():
    users = [f"{i:0>100}" for i in range(10_000)]
    assert refusals({**STATIC, "userIds": users}) == [("VALIDATION_ERROR", None)]


def test_no_more_than_a_hundred_leaves():
    body = {**DYNAMIC, "criteria": [GOLD] * 50, "excludeCriteria": [TEST] * 50}
    parsed(body)
    assert refusals({**body, "criteria": [GOLD] * 51}) == [
        ("INVALID_CONDITION", "criteria")
    ]


def test_update():
    assert update({"name": "Other"}, DYNAMIC) == ({"name": "Other"}, [])
    assert update({"type": "dynamic", "excludeCriteria": None}, DYNAMIC) == (
        {"type": "dynamic", "exclude_criteria": []},
        [],
    )
    assert update({"userIds": ["zoe"]}, STATIC) == ({"user_ids": ["zoe"]}, [])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, None),
        ({"type": "static"}, "type"),
        ({"userIds": ["a"]}, "userIds"),
        ({"criteria": [], "excludeCriteria": []}, "criteria"),
        ({"segmentId": "seg_1"}, "segmentId"),
    ],
)
def test_update_that_is_refused(body, field):
    values, problems = update(body, DYNAMIC)
    assert values is None
    assert ("VALIDATION_ERROR", field) in problems
