from decimal import Decimal

import msgspec
import pytest

from rules.profile import apply_profile_update, parse_profile_update
from rules.state import UserState


def user(**changes):
    return msgspec.structs.replace(UserState(1, 1), **changes)


def parsed(body):
    problems = []
    update = parse_profile_update(body, problems)
    assert problems == []
    return update


def refusals(body):
    problems = []
    assert parse_profile_update(body, problems) is None
    return [(p.code, p.field) for p in problems]


def applied(state, body):
    assert apply_profile_update(state, parsed(body), 9) == []
    return state


def test_objects_merge_and_null_deletes():
    state = user(
        display_name="Alice",
        preferences={"timezone": "Europe/London", "language": "en"},
        custom_fields={"old": 1, "kept": 2},
    )
    applied(
        state,
        {
            "displayName": "Ally",
            "preferences": {"timezone": "Europe/Paris"},
            "customFields": {"favouriteTeam": "red", "old": None},
        },
    )
    assert state.display_name == "Ally"
    assert state.preferences == {"timezone": "Europe/Paris", "language": "en"}
    assert state.custom_fields == {"kept": 2, "favouriteTeam": "red"}
    assert state.updated_at_ms == 9


def test_what_is_not_named_stays():
    state = user(display_name="Alice", preferences={"a": 1}, custom_fields={"b": 2})
    applied(state, {"preferences": {"c": 3}})
    assert (state.display_name, state.custom_fields) == ("Alice", {"b": 2})


def test_null_deletes_the_name_and_the_zone():
    state = user(display_name="Alice", preferences={"timezone": "Asia/Tokyo"})
    applied(state, {"displayName": None, "preferences": {"timezone": None}})
    assert (state.display_name, state.preferences) == (None, {})


def test_objects_merge_one_level_deep():
    state = user(preferences={"mail": {"news": True, "offers": True}})
    applied(state, {"preferences": {"mail": {"news": False}}})
    assert state.preferences == {"mail": {"news": False}}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, None),
        ({"points": 5}, "points"),
        ({"email": "a@b.example"}, "email"),
        ({"displayName": 5}, "displayName"),
        ({"displayName": ""}, "displayName"),
        ({"displayName": "n" * 101}, "displayName"),
        ({"displayName": "a\x00b"}, "displayName"),
        ({"preferences": None}, "preferences"),
        ({"preferences": []}, "preferences"),
        ({"preferences": {"timezone": "Mars/Olympus"}}, "preferences.timezone"),
        ({"preferences": {"timezone": "../etc/passwd"}}, "preferences.timezone"),
        ({"preferences": {"timezone": 1}}, "preferences.timezone"),
        ({"preferences": {"p": "x" * 4_089}}, "preferences"),
        ({"preferences": {"p": [[[[]]]]}}, "preferences"),
        ({"preferences": {"p": Decimal("1e31")}}, "preferences"),
        ({"preferences": {"a\nb": 1}}, "preferences.a?b"),
        ({"customFields": 1}, "customFields"),
        ({"customFields": {"a b": 1}}, "customFields.a b"),
        ({"customFields": {"f" * 65: 1}}, f"customFields.{'f' * 64}"),
        ({"customFields": {"f": "x" * 1_023}}, "customFields.f"),
        ({"customFields": {"f": [[[[[]]]]]}}, "customFields.f"),
    ],
)
def test_what_is_refused(body, field):
    assert refusals(body) == [("VALIDATION_ERROR", field)]


def test_bounds_themselves_are_fine():
    parsed(
        {
            "displayName": "n" * 100,
            "preferences": {"p": "x" * 4_088},
            "customFields": {"f" * 64: "x" * 1_022},
        }
    )


def test_no_more_than_a_hundred_custom_fields_and_nothing_changes():
    state = user(display_name="Alice", custom_fields={f"f{i}": i for i in range(100)})
    before = msgspec.json.encode(state)
    update = parsed({"displayName": "Ally", "customFields": {"one_more": 1}})
    problems = apply_profile_update(state, update, 9)
    assert [(p.code, p.field) for p in problems] == [
        ("VALIDATION_ERROR", "customFields")
    ]
    assert msgspec.json.encode(state) == before
    applied(state, {"customFields": {"one_more": 1, "f0": None}})
    assert len(state.custom_fields) == 100


def test_preferences_have_a_bound_once_merged():
    state = user(preferences={"a": "x" * 4_000})
    problems = apply_profile_update(state, parsed({"preferences": {"b": "x" * 100}}), 9)
    assert [p.field for p in problems] == ["preferences"]
    assert state.preferences == {"a": "x" * 4_000}
