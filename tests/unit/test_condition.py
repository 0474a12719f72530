"""Parsing conditions: every form, every operand, every bound."""

from decimal import Decimal

import pytest

from rules.condition import (
    AllOf,
    AnyOf,
    Leaf,
    Not,
    count_leaves,
    leaves_of,
    parse_conditions,
)


def parse(raw, scope="action"):
    problems = []
    condition = parse_conditions(raw, "conditions", problems, scope=scope)
    assert problems == []
    return condition


def refusals(raw, scope="action"):
    problems = []
    assert parse_conditions(raw, "conditions", problems, scope=scope) is None
    return [(p.code, p.field) for p in problems]


def leaf(operator, value=None, field="f"):
    item = {"field": field, "operator": operator}
    return item if value is None else item | {"value": value}


def test_nothing_parses_to_what_always_holds():
    assert parse(None) == parse({}) == parse([]) == AllOf()


def test_object_form_is_equality_range_and_membership():
    raw = {"a": 1, "b": {"min": 2}, "c": {"max": 3, "min": None}, "d": [1, "x"]}
    assert parse(raw) == AllOf(
        (
            Leaf("a", "equals", 1),
            Leaf("b", "between", {"min": 2}),
            Leaf("c", "between", {"max": 3}),
            Leaf("d", "in", [1, "x"]),
        )
    )


def test_object_form_compares_objects_that_are_no_range():
    assert parse({"a": {"x": 1}}) == Leaf("a", "equals", {"x": 1})
    assert parse({"a": {}}) == Leaf("a", "equals", {})


def test_object_form_may_test_fields_called_field_or_value():
    raw = {"field": "pitch", "value": {"min": 1}}
    assert [x.field for x in leaves_of(parse(raw))] == ["field", "value"]


def test_list_form_and_groups_nest_and_mix():
    raw = [
        leaf("=", 1),
        {"any": [{"g": "x"}, {"all": [leaf("exists"), {"h": [1]}]}]},
        {"not": leaf("matches", "^a")},
    ]
    assert parse(raw) == AllOf(
        (
            Leaf("f", "equals", 1),
            AnyOf(
                (
                    Leaf("g", "equals", "x"),
                    AllOf((Leaf("f", "exists"), Leaf("h", "in", [1]))),
                )
            ),
            Not(Leaf("f", "matches", "^a")),
        )
    )
    assert count_leaves(parse(raw)) == 5


def test_a_group_or_a_single_leaf_may_stand_at_the_top():
    assert parse({"any": [{"a": 1}]}) == AnyOf((Leaf("a", "equals", 1),))
    assert parse(leaf(">", 1)) == Leaf("f", ">", 1)


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("==", "equals"),
        ("=", "equals"),
        ("equals", "equals"),
        ("!=", "not_equals"),
        ("gt", ">"),
        ("gte", ">="),
        ("lt", "<"),
        ("lte", "<="),
        (">=", ">="),
    ],
)
def test_operators_get_their_canonical_name(name, canonical):
    assert parse([leaf(name, 5)]).parts[0].operator == canonical


def test_between_takes_a_list_or_an_object():
    both = Leaf("f", "between", {"min": 1, "max": 2})
    assert parse(leaf("between", [1, 2])) == both
    assert parse(leaf("between", {"min": 1, "max": 2})) == both
    assert parse(leaf("between", {"max": 2})) == Leaf("f", "between", {"max": 2})
    dates = ["2025-01-01", "2025-01-01T00:00:00Z"]
    assert parse(leaf("between", dates)).value["max"] == dates[1]


def test_exists_takes_no_value_or_true():
    assert parse(leaf("exists", True)) == Leaf("f", "exists")
    assert refusals(leaf("exists", False)) == [
        ("INVALID_CONDITION", "conditions.value")
    ]


@pytest.mark.parametrize(
    ("operator", "value"),
    [
        ("equals", None),
        ("not_equals", None),
        ("in", None),
        ("in", "x"),
        ("not_in", {"a": 1}),
        (">", "x"),
        (">=", True),
        ("<", [1]),
        ("<=", "2025-02-30"),
        ("between", 5),
        ("between", [1]),
        ("between", [1, 2, 3]),
        ("between", [2, 1]),
        ("between", [1, "2025-01-01"]),
        ("between", [None, 1]),
        ("between", ["2025-01-02", "2025-01-01"]),
        ("between", ["a", "b"]),
        ("between", {}),
        ("between", {"min": 1, "more": 2}),
        ("between", {"min": True}),
        ("starts_with", 5),
        ("ends_with", ["a"]),
        ("matches", 5),
        ("matches", "("),
        ("matches", r"(a)\1"),
        ("matches", "(?=a)"),
        ("matches", "a" * 1_001),
        ("matches", "((a{1,100}){1,10}){1,10}"),
        ("equals", 10**31),
        ("in", [1, Decimal("1e31")]),
        ("equals", "x" * 32_767),
        ("in", list(range(1_001))),
    ],
)
def test_operands_that_make_no_sense_are_refused(operator, value):
    assert refusals([leaf(operator, value)]) == [
        ("INVALID_CONDITION", "conditions[0].value")
    ]


def test_operands_up_to_the_bounds_are_accepted():
    parse([leaf("in", list(range(1_000)))])
    parse([leaf("equals", "x" * 32_766)])
    parse([leaf("matches", "a" * 1_000)])
    parse([leaf("between", [1, Decimal("1.0")])])
    parse([leaf("in", [])])
    parse([leaf("contains", [None, {"a": [True]}])])


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ("x", "conditions"),
        (5, "conditions"),
        ([5], "conditions[0]"),
        ([[]], "conditions[0]"),
        ([{"field": "f"}], "conditions[0].operator"),
        ([{"field": "f", "operator": "like", "value": 1}], "conditions[0].operator"),
        ([{"field": "f", "operator": ["="], "value": 1}], "conditions[0].operator"),
        ([{"operator": "=", "value": 1}], "conditions[0].field"),
        ([leaf("=", 1) | {"extra": 1}], "conditions[0].extra"),
        ([leaf("=", 1, field=5)], "conditions[0].field"),
        ({"all": [], "any": []}, "conditions"),
        ({"all": {}}, "conditions.all"),
        ({"any": []}, "conditions.any"),
        ({"not": []}, "conditions.not"),
        ({"": 1}, "conditions."),
        ({"f": None}, "conditions.f"),
        ({"a.": 1}, "conditions.a."),
        ({"a..b": 1}, "conditions.a..b"),
        ({".".join("a" * 18): 1}, "conditions." + ".".join("a" * 18)),
        ({"f": {"min": None}}, "conditions.f"),
        ({"f": {"min": 1, "x": 2}}, "conditions.f"),
    ],
)
def test_malformed_conditions_are_refused_with_their_field(raw, field):
    assert refusals(raw)[0] == ("INVALID_CONDITION", field)


def test_every_problem_is_named():
    raw = [leaf("like", 1), leaf("in", 5), {"g": None}]
    fields = [field for _, field in refusals(raw)]
    assert fields == [
        "conditions[0].operator",
        "conditions[1].value",
        "conditions[2].g",
    ]


def test_groups_nest_eight_deep_and_no_deeper():
    raw = leaf("exists")
    for _ in range(8):
        raw = {"not": raw}
    assert count_leaves(parse(raw)) == 1
    assert refusals({"not": raw})[0][0] == "INVALID_CONDITION"
    for _ in range(5_000):
        raw = {"all": [raw]}
    assert len(refusals(raw)) == 1


def test_a_hundred_leaves_and_no_more():
    assert count_leaves(parse([leaf("exists")] * 100)) == 100
    assert refusals([leaf("exists")] * 101) == [("INVALID_CONDITION", "conditions")]
    assert refusals({f"f{i}": i for i in range(101)}) == [
        ("INVALID_CONDITION", "conditions")
    ]
    assert refusals([{"any": [leaf("exists")] * 60}] * 2)


@pytest.mark.parametrize(
    "field",
    [
        "score",
        "vote.option",
        "user",
        "action",
        "metadata",
        "metadata.channel",
        "action.type",
        "action.occurredAt",
        "action.eventId",
        "action.userId",
        "user.tier",
        "user.points",
        "user.lifetime.coins",
        "user.customFields.x.y",
        "user.preferences.timezone",
        "user.counts.video.watched..twice",
        "user.badges",
        "user.benefits",
        "user.updatedAt",
    ],
)
def test_fields_of_an_action(field):
    assert parse([leaf("exists", field=field)]).parts[0].field == field


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("user.nickname", "INVALID_CONDITION"),
        ("user.points.x", "INVALID_CONDITION"),
        ("user.counts.", "INVALID_CONDITION"),
        ("user.lifetime", "INVALID_CONDITION"),
        ("user.customFields.", "INVALID_CONDITION"),
        ("action.nothing", "INVALID_CONDITION"),
        ("user.streaks.daily", "NOT_SUPPORTED"),
        ("user.tierProgress.value", "NOT_SUPPORTED"),
        ("x" * 257, "INVALID_CONDITION"),
    ],
)
def test_unknown_fields_of_profile_and_envelope_are_refused(field, code):
    path = "conditions[0].field"
    assert refusals([leaf("exists", field=field)]) == [(code, path)]


@pytest.mark.parametrize("field", ["tier", "user.tier"])
def test_fields_of_a_segment_are_the_profiles_with_or_without_prefix(field):
    condition = parse([leaf("exists", field=field)], scope="segment")
    assert condition.parts[0].field == "user.tier"


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("score", "INVALID_CONDITION"),
        ("action.type", "INVALID_CONDITION"),
        ("metadata.x", "INVALID_CONDITION"),
        ("benefits", "NOT_SUPPORTED"),
    ],
)
def test_a_segment_has_no_action(field, code):
    path = "conditions[0].field"
    raw = [leaf("exists", field=field)]
    assert refusals(raw, scope="segment") == [(code, path)]
