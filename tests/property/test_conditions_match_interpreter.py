"""Generated code says what a plain interpreter of the same JSON says."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from rules.compiler import compile_condition
from rules.condition import parse_conditions
from rules.program import Program
from tests.interpreter import firing_order, verdict
from tests.worlds import (
    NOW_MS,
    as_json,
    make_action,
    make_campaign,
    make_config,
    make_rule,
    make_segment,
    make_user,
    make_world,
)

# Few values that collide often: equal numbers spelled apart, booleans, near instants.
NUMBERS = st.sampled_from(
    [0, 1, 5, -1, Decimal("1.0"), Decimal("0.0"), Decimal("5.5"), Decimal("1e2"), 100]
)
INSTANTS = st.sampled_from(
    [
        "2025-10-05",
        "2025-10-05T00:00:00Z",
        "2025-10-05T02:00:00+02:00",
        "2025-10-05T12:00:00.000Z",
        "2025-10-05T12:00:00.0001Z",
        "1970-01-01T00:00:00Z",
        "2024-02-29",
    ]
)
WORDS = st.sampled_from(
    ["", "a", "ab", "b", "gold", "5", "true", "2025-02-30", "2025-10-05 12:00:00Z"]
)
TEXTS = st.one_of(WORDS, INSTANTS, st.text(max_size=4))
SCALARS = st.one_of(NUMBERS, TEXTS, st.booleans())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(st.one_of(inner, st.none()), max_size=3),
        st.dictionaries(st.sampled_from(["x", "y"]), inner, max_size=2),
    ),
    max_leaves=4,
)
PAYLOADS = st.dictionaries(
    st.sampled_from(["f", "g", "user", "a'b"]), st.one_of(VALUES, st.none()), max_size=4
)
FIELDS = st.sampled_from(
    [
        "f",
        "g",
        "f.x",
        "f.x.y",
        "user",
        "a'b",
        "metadata.f",
        "metadata.g.x",
        "action.type",
        "action.occurredAt",
        "action.eventId",
    ]
)
PROFILE_FIELDS = st.sampled_from(
    [
        "user.points",
        "user.lifetime.points",
        "user.tier",
        "user.email",
        "user.badges",
        "user.benefits",
        "user.customFields.f",
        "user.customFields.f.x",
        "user.counts.buy",
        "user.counts.a.b",
        "user.updatedAt",
        "user.lastActionAt",
    ]
)
PATTERNS = st.sampled_from(["a", "^a", "b$", "^$", "[0-9]+", "a|g", "^a.?b$"])
COMPARISONS = [">", ">=", "<", "<=", "gt", "gte", "lt", "lte"]


def leaf(field, operator, value):
    return {"field": field, "operator": operator, "value": value}


def leaves(fields):
    def of(operators, values):
        return st.builds(leaf, fields, st.sampled_from(operators), values)

    return st.one_of(
        of(["equals", "==", "=", "not_equals", "!="], VALUES),
        of(COMPARISONS, st.one_of(NUMBERS, INSTANTS)),
        of(["between"], st.one_of(ends(NUMBERS), ends(INSTANTS))),
        of(["in", "not_in"], st.lists(st.one_of(VALUES, st.none()), max_size=4)),
        of(["in", "not_in"], st.lists(NUMBERS, max_size=3)),
        of(["in", "not_in"], st.lists(TEXTS, max_size=3)),
        of(["contains", "not_contains"], VALUES),
        of(["starts_with", "ends_with"], TEXTS),
        of(["matches"], PATTERNS),
        of(["exists", "not_exists"], st.none()),
    )


def ends(values):
    pairs = st.lists(values, min_size=2, max_size=2)
    low, high = st.builds(dict, min=values), st.builds(dict, max=values)
    return st.one_of(pairs, low, high, st.builds(dict, min=values, max=values))


def conditions(fields):
    short = st.dictionaries(fields, st.one_of(VALUES, ends(NUMBERS)), max_size=3)
    item = st.recursive(
        st.one_of(leaves(fields), short),
        lambda inner: st.one_of(
            st.builds(dict, all=st.lists(inner, max_size=3)),
            st.builds(dict, any=st.lists(inner, min_size=1, max_size=3)),
            st.builds(lambda part: {"not": part}, inner),
        ),
        max_leaves=5,
    )
    return st.one_of(st.none(), item, st.lists(item, max_size=3))


USERS = st.builds(
    make_user,
    points=st.sampled_from([0, 1, 5, 100]),
    lifetime_points=st.sampled_from([0, 1, 100]),
    tier=st.sampled_from(["gold", "a"]),
    email=st.one_of(st.none(), WORDS),
    badges=st.dictionaries(WORDS, st.just(1), max_size=2),
    benefits=st.dictionaries(
        WORDS, st.sampled_from([None, NOW_MS, NOW_MS + 1]), max_size=2
    ),
    counts=st.dictionaries(st.sampled_from(["buy", "a.b"]), st.integers(1, 5)),
    custom_fields=st.dictionaries(st.just("f"), VALUES),
    updated_at_ms=st.sampled_from([0, 1_500, NOW_MS]),
    last_action_at_ms=st.sampled_from([None, 0, NOW_MS]),
)
TYPES = st.sampled_from(["buy", "user.login", "user.a.b", "sell", "user"])
ACTIONS = st.builds(
    make_action, TYPES, PAYLOADS, PAYLOADS, st.sampled_from([None, "e1"])
)


def accepted(raw):
    """Return the parsed condition, or None where the parser refuses it."""
    return parse_conditions(raw, "conditions", [])


@settings(max_examples=400, deadline=None)
@given(conditions(st.one_of(FIELDS, PROFILE_FIELDS)), USERS, ACTIONS)
def test_a_condition_holds_where_the_interpreter_says_so(raw, user, action):
    condition = accepted(raw)
    if condition is None:
        return
    world = make_world(user, action, NOW_MS)
    found = compile_condition(condition)(user, action, NOW_MS)
    assert bool(found) == verdict(raw, world)


@settings(max_examples=300, deadline=None)
@given(
    leaves(st.one_of(FIELDS, PROFILE_FIELDS)),
    USERS,
    ACTIONS,
)
def test_a_leaf_holds_where_the_interpreter_says_so(raw, user, action):
    condition = accepted([raw])
    if condition is None:
        return
    world = make_world(user, action, NOW_MS)
    found = compile_condition(condition)(user, action, NOW_MS)
    assert bool(found) == verdict([raw], world)


def mostly(usual, *others):
    return st.sampled_from([usual] * (1 + len(others)) + list(others))


@st.composite
def programs(draw):
    """Draw campaigns, rules and segments that the parser accepts."""
    drawn = conditions(st.one_of(FIELDS, PROFILE_FIELDS))
    some = st.one_of(st.none(), drawn.filter(lambda raw: accepted(raw) is not None))
    patterns = mostly("*", "buy", "user.*", "user.login", "user.a.*")
    triggers = st.builds(
        lambda key, pattern, raw: {key: pattern, "conditions": raw},
        st.sampled_from(["eventType", "triggerType", "trigger"]),
        patterns,
        some,
    )
    campaigns, rules = [], []
    for i in range(draw(st.integers(1, 4))):
        simple = draw(st.booleans())
        fields = {
            "priority": draw(st.integers(1, 3)),
            "created_at_ms": draw(st.integers(0, 1)),
            "status": draw(mostly("active", "draft")),
            "start_ms": draw(mostly(None, NOW_MS, NOW_MS + 1)),
            "end_ms": draw(mostly(None, NOW_MS, NOW_MS - 1)),
            "segment_ids": draw(
                mostly([], ["s0"], ["s1"], ["s0", "s1"], ["gone", "s0"], ["gone"])
            ),
            "conditions": draw(some),
            "triggers": None,
            "effects": None,
        }
        if simple:
            fields["triggers"] = draw(st.lists(triggers, min_size=1, max_size=3))
            fields["effects"] = [{"type": "add_points", "amount": 1}]
        campaigns.append(make_campaign(f"c{i}", **fields))
        for j in range(0 if simple else draw(st.integers(0, 3))):
            rule = make_rule(
                f"r{i}{j}",
                f"c{i}",
                trigger=draw(patterns),
                conditions=draw(some),
                priority=draw(st.integers(1, 2)),
                created_at_ms=draw(st.integers(0, 1)),
                enabled=draw(mostly(True, False)),
            )
            rules.append(rule)
    profile = PROFILE_FIELDS.filter(lambda name: name != "user.benefits")
    segments = []
    for name in ("s0", "s1"):
        criteria = draw(st.lists(leaves(profile), max_size=2).filter(accepted_list))
        exclude = draw(st.lists(leaves(profile), max_size=2).filter(accepted_list))
        segments.append(make_segment(name, criteria=criteria, exclude_criteria=exclude))
    return campaigns, rules, segments


def accepted_list(raw):
    return accepted(raw) is not None


@settings(max_examples=80, deadline=None)
@given(programs(), USERS, ACTIONS)
def test_programs_fire_in_the_order_of_the_interpreter(rows, user, action):
    campaigns, rules, segments = rows
    program = Program(make_config(campaigns, rules, segments))
    world = make_world(user, action, NOW_MS)
    world["members"] = {
        row.segment_id: verdict(row.criteria, world)
        and not any(verdict([item], world) for item in row.exclude_criteria)
        for row in segments
    }
    expected = firing_order(
        [as_json(row) for row in campaigns],
        [as_json(row) for row in rules],
        world,
        NOW_MS,
    )
    fired = []
    program.evaluate(user, action, NOW_MS, fired.append)
    assert [(c.campaign_id, c.rule_id) for c in fired] == expected
    traced = []
    lines = program.trace(user, action, NOW_MS, traced.append)
    assert traced == fired
    assert [
        (line["campaignId"], line["ruleId"]) for line in lines if line["fired"]
    ] == expected
    for row in segments:
        assert (
            program.is_member(row.segment_id, user)
            == (world["members"][row.segment_id])
        )
