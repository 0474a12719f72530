"""The cache of compiled functions: shared, bounded, and the same at any size."""

import pytest

from rules import evaluators
from rules.evaluators import Evaluators, Sources
from rules.program import Program
from rules.triggers import TriggerIndex
from tests.worlds import NOW_MS, make_action, make_campaign, make_config, make_user


def build(campaigns):
    program = Program(make_config(campaigns))
    sources = Sources(program._members, program.window_of)
    return Evaluators(program._units, TriggerIndex(program._units), sources)


def fired(functions, action_type, data=None):
    names = []
    function = functions.of_type(action_type)
    action = make_action(action_type, data)
    function(make_user(), action, NOW_MS, lambda c: names.append(c.campaign_id))
    return names


def test_types_that_match_the_same_share_a_function():
    functions = build(
        [
            make_campaign("all", triggers=[{"eventType": "*"}]),
            make_campaign("user", triggers=[{"eventType": "user.*"}]),
        ]
    )
    assert functions.of_type("a") is functions.of_type("b")
    assert functions.of_type("user.a") is functions.of_type("user.b")
    assert fired(functions, "a") == ["all"]
    assert fired(functions, "user.a") == ["all", "user"]


def test_types_beyond_the_bound_are_served(monkeypatch):
    monkeypatch.setattr(evaluators, "TYPES_CACHED_MAX", 3)
    functions = build([make_campaign(triggers=[{"eventType": "*"}])])
    for i in range(10):
        assert fired(functions, f"t{i}") == ["camp"]
        assert len(functions._by_type) <= 3
    assert len(functions._by_match) == 1


def test_conditions_beyond_the_bound_are_served(monkeypatch):
    monkeypatch.setattr(evaluators, "LEAVES_CACHED_MAX", 10)
    types = [f"t{i}" for i in range(20)]
    functions = build(
        [
            make_campaign(
                name, triggers=[{"eventType": name, "conditions": {"a": 1, "b": 2}}]
            )
            for name in types
        ]
    )
    for name in types * 2:
        assert fired(functions, name, {"a": 1, "b": 2}) == [name]
        assert len(functions._by_match) <= 2


@pytest.mark.parametrize("per_function", [1, 29, 30, 1_000])
def test_a_match_cut_into_blocks_fires_the_same_in_order(monkeypatch, per_function):
    monkeypatch.setattr(evaluators, "LEAVES_PER_FUNCTION_MAX", per_function)
    monkeypatch.setattr(evaluators, "LEAVES_PER_BLOCK", 4)
    campaigns = [
        make_campaign(
            f"c{i}", created_at_ms=i, triggers=[{"eventType": "*"}], conditions={"a": i}
        )
        for i in range(15)
    ]
    campaigns[7].conditions = {"a": {"min": 3}}
    campaigns[2].conditions = None
    functions = build(campaigns)
    assert fired(functions, "t", {"a": 9}) == ["c2", "c7", "c9"]
    assert fired(functions, "t", {"a": 14}) == ["c2", "c7", "c14"]
    assert fired(functions, "t", {"a": 1}) == ["c1", "c2"]


def test_types_share_the_blocks_that_they_have_in_common(monkeypatch):
    monkeypatch.setattr(evaluators, "LEAVES_PER_FUNCTION_MAX", 10)
    monkeypatch.setattr(evaluators, "LEAVES_PER_BLOCK", 4)
    campaigns = [
        make_campaign(f"c{i:02}", triggers=[{"eventType": "*"}], conditions={"a": 1})
        for i in range(20)
    ]
    campaigns.append(make_campaign("c20", triggers=[{"eventType": "x"}]))
    functions = build(campaigns)
    names = fired(functions, "t", {"a": 1})
    blocks = len(functions._by_match)
    assert blocks > 5
    assert fired(functions, "x", {"a": 1}) == [*names, "c20"]
    assert len(functions._by_match) == blocks + 1
