"""The trace of a program: why a campaign fired, or did not."""

from rules import trace as rules_trace
from tests.worlds import (
    NOW_MS,
    fired,
    make_action,
    make_advanced,
    make_campaign,
    make_rule,
    make_user,
    program_of,
)


def trace(program, user=None, at_ms=NOW_MS, **action):
    names = []
    lines = program.trace(
        user or make_user(),
        make_action(**action),
        at_ms,
        lambda c: names.append(c.rule_id or c.campaign_id),
    )
    return lines, names


def test_trace_says_why_for_every_candidate_in_order():
    program = program_of(
        make_campaign("fires", priority=9),
        make_campaign("late", priority=8, end_ms=NOW_MS - 1),
        make_campaign("closed", priority=7, segment_ids=["gone"]),
        make_campaign("unmet", priority=6, conditions={"a": 1}),
        make_campaign("draft", priority=5, status="draft"),
        make_advanced("paused", priority=4, status="paused"),
        make_advanced("rules", priority=3),
        make_campaign("other", triggers=[{"eventType": "sell"}]),
        rules=[
            make_rule("p1", "paused"),
            make_rule("on", "rules", priority=2),
            make_rule("off", "rules", priority=1, enabled=False),
        ],
    )
    lines, names = trace(program)
    assert [(x["campaignId"], x["ruleId"], x["reason"]) for x in lines] == [
        ("fires", None, "fired"),
        ("late", None, "outside_window"),
        ("closed", None, "not_in_segment"),
        ("unmet", None, "conditions_not_met"),
        ("draft", None, "not_active"),
        ("paused", "p1", "not_active"),
        ("rules", "on", "fired"),
        ("rules", "off", "not_active"),
    ]
    assert [x["fired"] for x in lines] == [x["reason"] == "fired" for x in lines]
    assert names == fired(program) == ["fires", "on"]


def test_trace_shows_what_each_condition_saw():
    conditions = [
        {"any": [{"total": {"min": 100}}, {"user.badges": [["vip"]]}]},
        {"not": {"field": "coupon", "operator": "exists"}},
    ]
    program = program_of(make_campaign(conditions=conditions))
    user = make_user(badges={"vip": 1})
    lines, names = trace(program, user=user, data={"total": 5})
    assert names == ["camp"]
    assert lines[0]["conditions"] == [
        {
            "field": "total",
            "operator": "between",
            "expected": {"min": 100},
            "actual": 5,
            "held": False,
        },
        {
            "field": "user.badges",
            "operator": "in",
            "expected": [["vip"]],
            "actual": ["vip"],
            "held": True,
        },
        {
            "field": "coupon",
            "operator": "exists",
            "expected": None,
            "actual": None,
            "held": False,
        },
    ]


def test_trace_fires_as_it_goes():
    program = program_of(
        make_campaign("a", priority=9),
        make_campaign("b", conditions={"user.points": 1}),
    )
    user = make_user()

    def fire(_candidate):
        user.state.points += 1

    lines = program.trace(user, make_action(), NOW_MS, fire)
    assert [x["reason"] for x in lines] == ["fired", "fired"]
    assert user.state.points == 2


def test_trace_keeps_a_bounded_number_of_conditions(monkeypatch):
    monkeypatch.setattr(rules_trace, "LEAVES_CACHED_MAX", 5)
    program = program_of(
        *(make_campaign(f"c{i}", conditions={"a": i, "b": i}) for i in range(10))
    )
    for i in range(10):
        _, names = trace(program, data={"a": i, "b": i})
        assert names == [f"c{i}"]
        assert len(program._tracer._tests) <= 2
