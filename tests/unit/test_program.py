"""The program of an org: who fires, in which order, and why."""

import pytest

from rules.calendar import parse_timestamp_ms
from rules.errors import InvariantError
from rules.program import Program
from tests.worlds import (
    NOW_MS,
    fired,
    make_action,
    make_advanced,
    make_campaign,
    make_config,
    make_rule,
    make_segment,
    make_user,
    program_of,
)


def test_campaigns_run_by_priority_then_age_then_id():
    program = program_of(
        make_campaign("d", priority=1),
        make_campaign("c", priority=5, created_at_ms=2),
        make_campaign("b", priority=5, created_at_ms=1),
        make_campaign("a", priority=5, created_at_ms=2),
        make_campaign("e", priority=9, created_at_ms=9),
    )
    assert fired(program) == ["e", "b", "a", "c", "d"]


def test_rules_run_at_their_campaigns_place_by_their_own_priority():
    program = program_of(
        make_campaign("first", priority=9),
        make_advanced("mid", priority=5),
        make_campaign("last", priority=1),
        rules=[
            make_rule("r3", "mid", priority=100, created_at_ms=4),
            make_rule("r1", "mid", priority=90),
            make_rule("r2", "mid", priority=100, created_at_ms=5),
            make_rule("off", "mid", enabled=False),
            make_rule("other", "mid", trigger="sell"),
            make_rule("orphan", "gone"),
        ],
    )
    assert fired(program) == ["first", "r3", "r2", "r1", "last"]


def test_a_simple_campaign_fires_once_however_many_triggers_match():
    triggers = [{"eventType": "buy"}, {"trigger": "*"}, {"triggerType": "buy"}]
    assert fired(program_of(make_campaign(triggers=triggers))) == ["camp"]


def test_either_triggers_conditions_suffice_and_the_campaigns_must_hold():
    campaign = make_campaign(
        conditions={"ok": True},
        triggers=[
            {"eventType": "buy", "conditions": {"a": 1}},
            {"eventType": "buy", "conditions": [{"b": 2}]},
            {"eventType": "sell"},
        ],
    )
    program = program_of(campaign)
    assert fired(program, data={"ok": True, "a": 1}) == ["camp"]
    assert fired(program, data={"ok": True, "b": 2}) == ["camp"]
    assert fired(program, data={"ok": True}) == []
    assert fired(program, data={"a": 1, "b": 2}) == []
    assert fired(program, "sell", data={"ok": True}) == ["camp"]


def test_a_trigger_that_never_holds_leaves_the_others_alone():
    never = {"not": {"all": []}}
    campaign = make_campaign(
        triggers=[
            {"eventType": "buy", "conditions": never},
            {"eventType": "buy", "conditions": {"a": 1}},
        ]
    )
    assert fired(program_of(campaign), data={"a": 1}) == ["camp"]
    assert fired(program_of(campaign), data={"a": 2}) == []


def test_rules_need_their_campaigns_conditions_too():
    campaign = make_advanced(conditions={"ok": True})
    program = program_of(campaign, rules=[make_rule(conditions={"a": 1})])
    assert fired(program, data={"ok": True, "a": 1}) == ["rule"]
    assert fired(program, data={"a": 1}) == []


@pytest.mark.parametrize(
    ("pattern", "action_type", "matches"),
    [
        ("user.login", "user.login", True),
        ("user.login", "user.Login", False),
        ("user.login", "user.login.x", False),
        ("user.*", "user.login", True),
        ("user.*", "user.a.b", True),
        ("user.*", "user.", True),
        ("user.*", "user", False),
        ("user.*", "users.login", False),
        ("user.a.*", "user.a.b", True),
        ("user.a.*", "user.b", False),
        ("*", "anything", True),
    ],
)
def test_triggers_match_types_and_prefixes(pattern, action_type, matches):
    program = program_of(make_campaign(triggers=[{"eventType": pattern}]))
    assert fired(program, action_type) == (["camp"] if matches else [])


@pytest.mark.parametrize("status", ["draft", "paused", "completed"])
def test_only_active_campaigns_fire(status):
    assert fired(program_of(make_campaign(status=status))) == []


def test_window_is_inclusive_at_both_ends():
    program = program_of(make_campaign(start_ms=10, end_ms=20))
    assert [bool(fired(program, at_ms=t)) for t in (9, 10, 20, 21)] == [
        False,
        True,
        True,
        False,
    ]


def test_recurring_campaign_fires_in_its_windows_and_scopes_its_caps():
    campaign = make_campaign(
        mode="recurring",
        start_ms=parse_timestamp_ms("2025-01-04"),
        recurrence={"unit": "week", "every": 1, "windowDays": 2},
        limits={"perUser": {"count": 1, "period": "ever"}},
    )
    program = program_of(campaign)
    saturday, monday = "2025-10-04T12:00:00Z", "2025-10-06T00:00:00Z"
    assert fired(program, at_ms=parse_timestamp_ms(saturday)) == ["camp"]
    assert fired(program, at_ms=parse_timestamp_ms(monday)) == []
    found = []
    at_ms = parse_timestamp_ms(saturday)
    program.evaluate(make_user(), make_action(), at_ms, found.append)
    window = program.window_of(found[0], at_ms)
    assert window == 39
    assert found[0].cap_scope(window) == "camp#w39"
    assert found[0].cap_scope(None) == "camp"


def test_recurring_windows_begin_at_the_orgs_midnight():
    campaign = make_campaign(
        start_ms=parse_timestamp_ms("2025-01-01T05:00:00Z"),
        recurrence={"unit": "day", "every": 2, "windowDays": 1},
    )
    program = program_of(campaign, timezone="America/New_York")
    inside, outside = "2025-01-04T04:59:59.999Z", "2025-01-04T05:00:00Z"
    assert fired(program, at_ms=parse_timestamp_ms(inside)) == ["camp"]
    assert fired(program, at_ms=parse_timestamp_ms(outside)) == []


def test_rules_keep_their_own_caps_and_their_campaigns():
    limits = {"perUser": {"count": 1, "period": "day"}}
    rule = make_rule(limits={"perUser": {"count": 2, "period": "week"}})
    program = program_of(make_advanced(limits=limits), rules=[rule])
    found = []
    program.evaluate(make_user(), make_action(), NOW_MS, found.append)
    assert [cap.limit for cap in found[0].caps] == [2]
    assert [cap.limit for cap in found[0].campaign_caps] == [1]
    assert found[0].cap_scope(None) == "rule"
    assert found[0].campaign_cap_scope(3) == "camp#w3"


def test_each_candidate_sees_the_user_as_those_before_left_it():
    first = make_campaign("a", priority=9, conditions={"user.points": 0})
    second = make_campaign("b", conditions={"user.points": {"min": 10}})
    third = make_campaign("c", priority=1, segment_ids=["rich"])
    rich = make_segment("rich", criteria=[{"points": {"min": 10}}])
    program = program_of(first, second, third, segments=[rich])
    user = make_user()
    assert program.is_member("rich", user) is False
    names = []

    def fire(candidate):
        names.append(candidate.campaign_id)
        user.state.points += 10
        user.segment_known = 0

    program.evaluate(user, make_action(), NOW_MS, fire)
    assert names == ["a", "b", "c"]


def test_names_type_is_exact_triggers_and_counted_types():
    program = program_of(
        make_campaign(
            "a",
            status="draft",
            triggers=[{"eventType": "buy"}, {"eventType": "user.*"}, {"trigger": "*"}],
            conditions={"user.counts.video.watched": 1},
        ),
        make_campaign(
            "b",
            effects=[{"type": "add_points", "amount": {"field": "user.counts.run"}}],
        ),
        segments=[make_segment(criteria=[{"counts.walk": {"min": 1}}])],
    )
    for action_type in ("buy", "video.watched", "run", "walk"):
        assert program.names_type(action_type)
    for action_type in ("sell", "user.login", "*", "user.*x"):
        assert not program.names_type(action_type)


def test_types_counted_by_triggers_and_rules_alone_are_known_in_later_versions_too():
    counting = {"trigger": "buy", "conditions": {"user.counts.walk": 1}}
    campaigns = [make_campaign("a", triggers=[counting]), make_advanced("b")]
    rules = [make_rule("r", "b", conditions={"user.counts.run": 1})]
    before = Program(make_config(campaigns, rules))
    newer = make_config([*campaigns, make_campaign("c")], rules, version=2)
    for program in (before, Program(newer, before)):
        assert program.names_type("walk")
        assert program.names_type("run")
        assert not program.names_type("swim")


def test_zone_is_the_users_else_the_orgs_else_utc():
    program = program_of(timezone="Asia/Tokyo")
    paris = make_user(preferences={"timezone": "Europe/Paris"})
    assert program.zone_of(paris.state).key == "Europe/Paris"
    for preferences in ({}, {"timezone": "Mars/Base"}, {"timezone": 5}):
        user = make_user(preferences=preferences)
        assert program.zone_of(user.state).key == "Asia/Tokyo"
        assert program_of().zone_of(user.state).key == "UTC"


@pytest.mark.parametrize(
    ("points", "tier"),
    [
        (0, "bronze"),
        (999, "bronze"),
        (1_000, "silver"),
        (4_999, "silver"),
        (5_000, "gold"),
        (19_999, "gold"),
        (20_000, "platinum"),
        (10**15, "platinum"),
    ],
)
def test_tier_changes_at_its_threshold(points, tier):
    assert program_of().tier_of(points) == tier


def test_resolve_looks_fields_up_as_conditions_do():
    program = program_of()
    user = make_user(points=7)
    action = make_action(data={"a": {"b": 5}}, metadata={"m": 6})
    for field, expected in (
        ("a.b", 5),
        ("metadata.m", 6),
        ("user.points", 7),
        ("a.c", None),
        ("user.nothing", None),
        ("a..b", None),
    ):
        assert program.resolve(field, user, action, NOW_MS) == expected


def test_resolve_keeps_a_bounded_number_of_fields():
    program = program_of()
    for i in range(5_000):
        # Parsed and refused: nothing is compiled for these.
        program.resolve(f"user.x{i}", make_user(), make_action(), NOW_MS)
    assert len(program._accessors) <= 4_096


def test_rows_that_stay_are_not_parsed_again():
    campaigns = [make_campaign("a"), make_advanced("b"), make_advanced("c")]
    rules = [make_rule("r", "b"), make_rule("s", "c")]
    segment = make_segment(criteria=[{"points": 1}])
    before = Program(make_config(campaigns, rules, [segment]))
    changed = make_rule("s", "c", trigger="sell")
    after = Program(
        make_config(campaigns, [rules[0], changed], [segment], version=2), before
    )
    assert [after._parsed[i] is before._parsed[i] for i in ("a", "b", "c")] == [
        True,
        True,
        False,
    ]
    assert after._segments["seg"] is before._segments["seg"]
    assert fired(after) == ["a", "r"]
    assert fired(before) == ["a", "r", "s"]


@pytest.mark.parametrize(
    "config",
    [
        make_config([make_campaign(conditions=[{"field": "x"}])]),
        make_config([make_campaign(effects=[{"type": "nothing"}])]),
        make_config([make_campaign(limits={"perUser": 5})]),
        make_config([make_campaign(triggers=[{"trigger": "x", "conditions": 5}])]),
        make_config([make_advanced()], [make_rule(conditions={"a": None})]),
        make_config([], segments=[make_segment(criteria=[{"score": 1}])]),
        make_config(timezone="Mars/Base"),
    ],
)
def test_a_stored_row_that_does_not_parse_is_an_invariant(config):
    with pytest.raises(InvariantError):
        Program(config)
