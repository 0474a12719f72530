"""The segments that a program asks for: membership, its cache, and what it reads."""

from rules.program import Program
from tests.worlds import (
    fired,
    make_campaign,
    make_config,
    make_segment,
    make_user,
    program_of,
)


def test_segments_any_of_them_criteria_all_excludes_any():
    segments = [
        make_segment(
            "gold",
            criteria=[
                {"field": "tier", "operator": "in", "value": ["gold"]},
                {"field": "points", "operator": ">=", "value": 5},
            ],
            exclude_criteria=[
                {"field": "customFields.test", "operator": "equals", "value": True},
                {"field": "badges", "operator": "contains", "value": ["banned"]},
            ],
        ),
        make_segment("staff", type="static", user_ids=["bob"]),
    ]
    program = program_of(
        make_campaign(segment_ids=["gold", "staff", "gone"]), segments=segments
    )

    def sees(user_id="alice", **state):
        return fired(program, user=make_user(user_id, **state)) == ["camp"]

    assert sees(tier="gold", points=5)
    assert not sees(tier="gold", points=4)
    assert not sees(tier="gold", points=5, custom_fields={"test": True})
    assert not sees(tier="gold", points=5, badges={"banned": 1})
    assert sees("bob")
    assert not sees("carol")
    assert program.segment_fields == {"tier", "points", "custom_fields", "badges"}


def test_a_deleted_segment_has_no_members():
    program = program_of(make_campaign(segment_ids=["gone"]))
    assert fired(program) == []
    assert program.is_member("gone", make_user()) is False


def test_unused_segments_are_answered_and_leave_no_trace_on_the_user():
    rich = make_segment("rich", criteria=[{"points": {"min": 10}}])
    program = program_of(make_campaign(), segments=[rich])
    user = make_user()
    assert program.is_member("rich", user) is False
    user.state.points = 10
    assert program.is_member("rich", user) is True
    assert program.segment_fields == frozenset()
    assert user.segment_known == 0


def test_membership_is_cached_until_it_is_forgotten_or_the_config_changes():
    rich = make_segment("rich", criteria=[{"points": {"min": 10}}])
    campaign = make_campaign(segment_ids=["rich"])
    program = program_of(campaign, segments=[rich])
    user = make_user(points=10)
    assert fired(program, user=user) == ["camp"]
    user.state.points = 0
    assert fired(program, user=user) == ["camp"]
    user.segment_known = 0
    assert fired(program, user=user) == []
    user.state.points = 10
    assert fired(program, user=user) == []
    newer = Program(make_config([campaign], segments=[rich], version=2), program)
    assert fired(newer, user=user) == ["camp"]


def test_segment_fields_name_the_attributes_that_used_segments_read():
    criteria = [
        {"field": "counts.buy", "operator": ">", "value": 1},
        {"field": "updatedAt", "operator": "<", "value": "2025-01-01"},
        {"field": "lifetime.coins", "operator": "exists"},
        {"field": "userId", "operator": "exists"},
    ]
    program = program_of(
        make_campaign(segment_ids=["seg"]), segments=[make_segment(criteria=criteria)]
    )
    expected = {"counts", "updated_at_ms", "lifetime_coins"}
    assert program.segment_fields == expected
