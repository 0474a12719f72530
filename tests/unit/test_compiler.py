"""Generated code: what each operator says of each type; what is never source."""

from decimal import Decimal

import pytest

from rules.accessor import parse_field
from rules.compiler import (
    ALWAYS,
    NEVER,
    all_of,
    any_of,
    checked_field,
    compile_accessor,
    compile_condition,
    within,
)
from rules.condition import parse_conditions
from rules.errors import InvariantError
from tests.worlds import NOW_MS, make_action, make_user

ABSENT = object()


def holds(raw, data=None, user=None, metadata=None):
    problems = []
    condition = parse_conditions(raw, "conditions", problems)
    assert problems == []
    action = make_action("buy", data, metadata, event_id="e1")
    return bool(compile_condition(condition)(user or make_user(), action, NOW_MS))


def leaf_holds(operator, value, actual):
    item = {"field": "f", "operator": operator}
    if value is not None:
        item["value"] = value
    return holds([item], {} if actual is ABSENT else {"f": actual})


@pytest.mark.parametrize(
    ("operator", "value", "actual", "expected"),
    [
        ("equals", 5, 5, True),
        ("equals", 5, Decimal("5.00"), True),
        ("equals", Decimal("5.0"), 5, True),
        ("equals", Decimal("0.1"), Decimal("0.10"), True),
        ("equals", 5, "5", False),
        ("equals", "5", 5, False),
        ("equals", 1, True, False),
        ("equals", 0, False, False),
        ("equals", True, 1, False),
        ("equals", True, True, True),
        ("equals", False, False, True),
        ("equals", False, 0, False),
        ("equals", False, ABSENT, False),
        ("equals", [1, True], [Decimal("1.0"), True], True),
        ("equals", [1, True], [1, 1], False),
        ("equals", {"a": [1]}, {"a": [Decimal(1)]}, True),
        ("equals", "a", None, False),
        ("not_equals", 5, 6, True),
        ("not_equals", 5, Decimal("5.0"), False),
        ("not_equals", 5, "5", True),
        ("not_equals", 1, True, True),
        ("not_equals", 5, ABSENT, True),
        ("not_equals", 5, None, True),
        (">", 5, 6, True),
        (">", 5, 5, False),
        (">", 5, Decimal("5.000000000000000000000000000000001"), True),
        (">=", 5, 5, True),
        (">=", 80, "80", False),
        (">=", 0, True, False),
        (">=", -1, ABSENT, False),
        (">=", -1, None, False),
        ("<", 5, Decimal("4.99"), True),
        ("<", 5, [1], False),
        ("<=", 5, 5, True),
        ("<=", 5, {"a": 1}, False),
        ("between", [1, 3], 1, True),
        ("between", [1, 3], Decimal("3.0"), True),
        ("between", [1, 3], Decimal("3.0001"), False),
        ("between", {"min": 1}, 10**30, True),
        ("between", {"max": 1}, 2, False),
        ("between", [1, 3], "2", False),
        ("between", ["2025-01-01", "2025-01-31"], "2025-01-31T00:00:00Z", True),
        ("between", ["2025-01-01", "2025-01-31"], "2025-01-31T00:00:00.1Z", False),
        ("between", ["2025-01-01", "2025-01-31"], 5, False),
        ("between", ["2025-01-01", "2025-01-31"], "soon", False),
        (">", "2025-01-01", "2025-01-01T00:00:00.000000001Z", True),
        (">", "2025-01-01", "2025-01-01T01:00:00+01:00", False),
        (">=", "2025-01-01", "2025-01-01T01:00:00+01:00", True),
        ("<", "2025-01-01", 5, False),
        ("<", 5, "2025-01-01", False),
        ("in", [1, 2], Decimal("2.0"), True),
        ("in", [1, 2], True, False),
        ("in", ["a", "b"], "b", True),
        ("in", ["a", "b"], 1, False),
        ("in", ["a", "b"], ["a"], False),
        ("in", ["a", 1, True, [1], None], [1], True),
        ("in", ["a", 1, True, [1], None], [True], False),
        ("in", ["a", 1, True, [1], None], True, True),
        ("in", ["a", 1, True, [1], None], False, False),
        ("in", ["a", None], None, False),
        ("in", ["a", None], ABSENT, False),
        ("in", [], "a", False),
        ("in", [{"a": 1}], {"a": Decimal("1.0")}, True),
        ("not_in", [1, 2], 3, True),
        ("not_in", [1, 2], 2, False),
        ("not_in", [1, 2], True, True),
        ("not_in", [1, 2], ABSENT, True),
        ("not_in", [], 1, True),
        ("contains", "a", "cat", True),
        ("contains", "a", ["cat", "a"], True),
        ("contains", "a", ["cat"], False),
        ("contains", "a", {"a": 1}, False),
        ("contains", "", "x", True),
        ("contains", 1, [Decimal("1.0")], True),
        ("contains", 1, [True], False),
        ("contains", 1, "1", False),
        ("contains", ["x", 1], ["y", 1], True),
        ("contains", ["x", 1], ["y", True], False),
        ("contains", ["a"], "cat", False),
        ("contains", {"a": 1}, [{"a": 1}], True),
        ("contains", True, [1], False),
        ("contains", "a", ABSENT, False),
        ("contains", "a", 5, False),
        ("not_contains", "a", ["b"], True),
        ("not_contains", "a", "cat", False),
        ("not_contains", "a", 5, True),
        ("not_contains", "a", ABSENT, True),
        ("starts_with", "ca", "cat", True),
        ("starts_with", "at", "cat", False),
        ("starts_with", "c", ["c"], False),
        ("starts_with", "", ABSENT, False),
        ("ends_with", "at", "cat", True),
        ("ends_with", "ca", "cat", False),
        ("ends_with", "5", 5, False),
        ("matches", "a.", "cat", True),
        ("matches", "^a", "cat", False),
        ("matches", "^cat$", "cat", True),
        ("matches", r"\bé", "un été", True),
        ("matches", "1", 1, False),
        ("matches", "", ABSENT, False),
        ("exists", None, False, True),
        ("exists", None, 0, True),
        ("exists", None, "", True),
        ("exists", None, [], True),
        ("exists", None, None, False),
        ("exists", None, ABSENT, False),
        ("not_exists", None, ABSENT, True),
        ("not_exists", None, None, True),
        ("not_exists", None, 0, False),
    ],
)
def test_operator_on_every_type(operator, value, actual, expected):
    assert leaf_holds(operator, value, actual) is expected


@pytest.mark.parametrize("a", [True, False])
@pytest.mark.parametrize("b", [True, False])
def test_groups_are_boolean_logic(a, b):
    data = {"a": a, "b": b}
    assert holds({"all": [{"a": True}, {"b": True}]}, data) is (a and b)
    assert holds({"any": [{"a": True}, {"b": True}]}, data) is (a or b)
    assert holds({"not": {"a": True}}, data) is (not a)
    assert holds([{"a": True}, {"not": {"any": [{"b": True}]}}], data) is (a and not b)


def test_empty_groups():
    assert holds({"all": []}) is True
    assert holds({"not": {"all": []}}) is False
    assert holds({"any": [{"all": []}, {"a": 1}]}) is True


def test_dots_descend_into_objects_and_stop_at_anything_else():
    assert holds({"vote.option": "x"}, {"vote": {"option": "x"}})
    for vote in (None, 5, "x", ["x"], {"option": None}, {"option": "y"}):
        assert not holds({"vote.option": "x"}, {"vote": vote})
    assert holds([{"field": "a.b.c", "operator": "not_exists"}], {"a": {"b": 5}})


def test_roots_of_fields():
    metadata = {"channel": {"name": "app"}}
    assert holds({"metadata.channel.name": "app"}, metadata=metadata)
    assert not holds({"channel.name": "app"}, metadata=metadata)
    assert holds({"action.type": "buy", "action.eventId": "e1"})
    assert holds({"action.userId": "alice", "user.userId": "alice"})
    assert holds({"action.occurredAt": "2025-10-05T12:00:00.000Z"})
    assert holds({"action.occurredAt": {"min": "2025-10-05T12:00:00Z"}})
    assert not holds({"action.occurredAt": {"min": "2025-10-05T12:00:00.0001Z"}})
    data = {"user": 1, "action": 2, "metadata": 3}
    assert holds({"user": 1, "action": 2, "metadata": 3}, data)


def test_fields_of_the_profile():
    user = make_user(
        points=5,
        lifetime_xp=7,
        tier="gold",
        badges={"b1": 0, "b2": 0},
        benefits={"held": NOW_MS + 1, "over": NOW_MS, "always": None},
        counts={"video.watched": 3},
        custom_fields={"a": {"b": 1}, "flag": True},
        preferences={"timezone": "Europe/Paris"},
        updated_at_ms=1_500,
        last_action_at_ms=None,
    )
    for raw in (
        {"user.points": 5, "user.lifetime.xp": {"min": 7, "max": 7}},
        {"user.points": [4, 5], "user.tier": ["gold"]},
        {"user.badges": ["x", ["b1", "b2"]]},
        [{"field": "user.badges", "operator": "contains", "value": "b1"}],
        [{"field": "user.badges", "operator": "contains", "value": ["x", "b2", 1]}],
        [{"field": "user.badges", "operator": "not_contains", "value": ["x", 1]}],
        [{"field": "user.badges", "operator": "not_contains", "value": 1}],
        {"user.benefits": [["held", "always"]]},
        {"user.counts.video.watched": 3, "user.counts.never": 0},
        {"user.customFields.a.b": 1, "user.customFields.flag": True},
        {"user.preferences.timezone": "Europe/Paris"},
        {"user.updatedAt": "1970-01-01T00:00:01.500Z"},
        {"user.updatedAt": {"max": "1970-01-01T00:00:01.5Z"}},
        [{"field": "user.updatedAt", "operator": ">", "value": "1970-01-01"}],
        [{"field": "user.lastActionAt", "operator": "not_exists"}],
        [{"not": {"user.lastActionAt": {"min": "1970-01-01"}}}],
        [{"not": {"user.updatedAt": {"min": 5}}}],
        [{"field": "user.email", "operator": "not_equals", "value": "x"}],
    ):
        assert holds(raw, user=user), raw


def test_absent_user_text_fails_plain_operators():
    assert not holds([{"field": "user.email", "operator": "contains", "value": ""}])


HOSTILE = [
    "'",
    '"',
    "\\",
    "\\'",
    "'''",
    "\n",
    "\r\n    pass",
    "') or True or ('",
    "{user}",
    "%s",
    "\x00",
    "\u2028",
    "é\U0001f600",
    "__import__('os')",
    "# x",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_operators_is_never_source(text):
    for operator in ("equals", "contains", "starts_with", "ends_with"):
        assert leaf_holds(operator, text, text) is True
        assert leaf_holds(operator, text, "other") is False
    assert leaf_holds("in", [text], text) is True
    assert leaf_holds("in", [text], "other") is False


@pytest.mark.parametrize("text", [t for t in HOSTILE if t.isprintable()])
def test_names_of_fields_are_never_source(text):
    # No dot: it would descend.
    name = text.replace(".", "")
    assert holds({name: 1}, {name: 1}) is True
    assert holds({name: 1}, {"other": 1}) is False
    counted = make_user(counts={text: 2})
    assert holds({f"user.counts.{text}": 2}, user=counted) is True
    fields = make_user(custom_fields={name: {"x": 1}})
    assert holds({f"user.customFields.{name}.x": 1}, user=fields) is True


def test_deepest_and_widest_conditions_compile():
    raw = {"a": 1}
    for _ in range(8):
        raw = {"not": raw}
    assert holds(raw, {"a": 1}) is True
    wide = [{"any": [{f"f{i}": i}, {"user.points": i}]} for i in range(50)]
    assert holds(wide, {f"f{i}": i for i in range(50)}) is True


def test_accessor_returns_what_the_profile_shows():
    user = make_user(badges={"b": 1}, counts={"x": 2}, updated_at_ms=1)
    action = make_action(data={"a": {"b": Decimal("1.5")}})
    for text, expected in (
        ("a.b", Decimal("1.5")),
        ("a.c", None),
        ("user.badges", ["b"]),
        ("user.counts.x", 2),
        ("user.counts.y", 0),
        ("user.updatedAt", "1970-01-01T00:00:00.001Z"),
        ("user.lastActionAt", None),
        ("user.customFields", {}),
    ):
        field = parse_field(text, "field", [])
        assert compile_accessor(field)(user, action, NOW_MS) == expected


def test_unchecked_fields_are_an_invariant():
    with pytest.raises(InvariantError):
        checked_field("user.nothing")


def test_constant_tests_are_folded_away():
    assert all_of([]) == all_of([ALWAYS]) == ALWAYS
    assert all_of(["a", NEVER]) == NEVER
    assert all_of([ALWAYS, "a", "a"]) == "a"
    assert any_of([]) == any_of([NEVER]) == NEVER
    assert any_of(["a", ALWAYS]) == ALWAYS
    assert within(None, None) == ALWAYS
    assert within(1, 2) == "(1 <= occurred_ms <= 2)"


@pytest.mark.parametrize(("chars", "held"), [(1_024, True), (1_025, False)])
def test_matches_looks_at_a_bounded_text(chars, held):
    assert leaf_holds("matches", "a$", "a" * chars) is held
