from decimal import Decimal

import pytest

from rules.effect import Cap, Effect, Formula
from rules.parse_effect import parse_effects, parse_limits


def refusals(effect):
    problems = []
    parse_effects([effect], "effects", problems)
    return [(p.code, p.field) for p in problems]


def accepted(*effects):
    problems = []
    parsed = parse_effects(list(effects), "effects", problems)
    assert problems == []
    return parsed


def credit(amount):
    return {"type": "add_points", "config": {"amount": amount}}


@pytest.mark.parametrize(
    "effect",
    [
        {"type": "add_points", "config": {"amount": 10, "reason": "hi"}},
        {"type": "award_points", "params": {"amount": 10, "reason": "hi"}},
        {"type": "award_points", "amount": 10, "reason": "hi"},
        {
            "type": "award_points",
            "amount": 10,
            "params": {"amount": 10, "reason": "hi"},
        },
    ],
)
def test_settings_stand_in_config_in_params_or_in_the_effect(effect):
    assert accepted(effect) == (
        Effect("credit", currency="points", amount=10, reason="hi"),
    )


@pytest.mark.parametrize("currency", ["points", "xp", "coins"])
@pytest.mark.parametrize(
    ("verb", "kind"), [("add", "credit"), ("award", "credit"), ("deduct", "debit")]
)
def test_every_currency_and_verb(currency, verb, kind):
    (effect,) = accepted({"type": f"{verb}_{currency}", "amount": 1})
    assert (effect.kind, effect.currency, effect.amount) == (kind, currency, 1)


def test_effects_that_are_not_money():
    assert accepted(
        {"type": "award_badge", "badgeId": "quiz:master.1"},
        {"type": "unlock_benefit", "config": {"benefitId": "b", "expiresInDays": 30}},
        {
            "type": "send_notification",
            "title": "T",
            "message": "a\nb",
            "data": {"k": 1},
        },
        {"type": "set_custom_field", "field": "team", "value": None},
    ) == (
        Effect("badge", item="quiz:master.1"),
        Effect("benefit", item="b", expires_in_days=30),
        Effect("notification", title="T", message="a\nb", data={"k": 1}),
        Effect("custom_field", item="team", value=None),
    )


def test_formula_keeps_its_factor_exact():
    formula = {"field": "total", "multiply": Decimal("1.50"), "min": 0, "max": 500}
    (effect,) = accepted(credit({**formula, "round": "ceil"}))
    assert effect.amount == Formula("total", Decimal("1.5"), "ceil", 0, 500)
    (effect,) = accepted(credit({"field": "total"}))
    assert effect.amount == Formula("total", Decimal(1), "floor", None, None)


@pytest.mark.parametrize("amount", [1, 1_000_000_000])
def test_amount_at_its_bounds(amount):
    assert accepted(credit(amount))[0].amount == amount


@pytest.mark.parametrize(
    "amount",
    [0, -1, 1_000_000_001, Decimal("10.0"), Decimal("1e3"), True, "10", [10], None],
)
def test_amount_that_is_no_whole_amount(amount):
    assert refusals(credit(amount)) == [
        ("VALIDATION_ERROR", "effects[0].config.amount")
    ]


@pytest.mark.parametrize(
    ("formula", "field"),
    [
        ({"multiply": 2}, "field"),
        ({"field": ""}, "field"),
        ({"field": 7}, "field"),
        ({"field": "x", "min": 2, "max": 1}, "min"),
        ({"field": "x", "min": Decimal("1.0")}, "min"),
        ({"field": "x", "max": True}, "max"),
        ({"field": "x", "multiply": 0}, "multiply"),
        ({"field": "x", "multiply": -1}, "multiply"),
        ({"field": "x", "multiply": "2"}, "multiply"),
        ({"field": "x", "multiply": True}, "multiply"),
        ({"field": "x", "multiply": Decimal("1e31")}, "multiply"),
        ({"field": "x", "multiply": Decimal("1e-31")}, "multiply"),
        ({"field": "x", "multiply": Decimal("1." + "3" * 34)}, "multiply"),
        ({"field": "x", "round": "up"}, "round"),
        ({"field": "x", "round": ""}, "round"),
        ({"field": "x", "rounding": "up"}, "rounding"),
    ],
)
def test_formula_that_is_refused(formula, field):
    assert refusals(credit(formula)) == [
        ("VALIDATION_ERROR", f"effects[0].config.amount.{field}")
    ]


@pytest.mark.parametrize(
    ("effect", "code", "field"),
    [
        ("add_points", "VALIDATION_ERROR", ""),
        ({}, "VALIDATION_ERROR", ".type"),
        ({"type": "add_gold"}, "VALIDATION_ERROR", ".type"),
        ({"type": ["add_points"]}, "VALIDATION_ERROR", ".type"),
        ({"type": "increment_streak", "streakType": "d"}, "NOT_SUPPORTED", ".type"),
        ({"type": "add_competition_score"}, "NOT_SUPPORTED", ".type"),
        ({"type": "add_xp"}, "VALIDATION_ERROR", ".amount"),
        ({"type": "add_xp", "config": {}}, "VALIDATION_ERROR", ".amount"),
        ({"type": "add_xp", "config": 5, "amount": 1}, "VALIDATION_ERROR", ".config"),
        ({"type": "add_xp", "amount": 1, "bonus": 2}, "VALIDATION_ERROR", ".bonus"),
        (
            {"type": "add_xp", "amount": 1, "config": {"amount": 2}},
            "VALIDATION_ERROR",
            ".config.amount",
        ),
        (
            {"type": "add_xp", "params": {"amount": 1, "x": 2}},
            "VALIDATION_ERROR",
            ".params.x",
        ),
        (
            {"type": "deduct_xp", "amount": 1, "expiresInDays": 2},
            "VALIDATION_ERROR",
            ".expiresInDays",
        ),
        (
            {"type": "add_xp", "amount": 1, "expiresInDays": 0},
            "VALIDATION_ERROR",
            ".expiresInDays",
        ),
        (
            {"type": "add_xp", "amount": 1, "reason": "x" * 201},
            "VALIDATION_ERROR",
            ".reason",
        ),
        ({"type": "add_badge"}, "VALIDATION_ERROR", ".badgeId"),
        ({"type": "add_badge", "badgeId": "a b"}, "VALIDATION_ERROR", ".badgeId"),
        ({"type": "add_badge", "badgeId": "a\n"}, "VALIDATION_ERROR", ".badgeId"),
        ({"type": "add_badge", "badgeId": "b" * 129}, "VALIDATION_ERROR", ".badgeId"),
        ({"type": "unlock_benefit", "benefitId": 1}, "VALIDATION_ERROR", ".benefitId"),
        ({"type": "send_notification", "title": "t"}, "VALIDATION_ERROR", ".message"),
        (
            {"type": "send_notification", "title": "a\nb", "message": "m"},
            "VALIDATION_ERROR",
            ".title",
        ),
        (
            {"type": "send_notification", "title": "t", "message": "m", "data": 1},
            "VALIDATION_ERROR",
            ".data",
        ),
        ({"type": "set_custom_field", "field": "f"}, "VALIDATION_ERROR", ".value"),
        (
            {"type": "set_custom_field", "field": "a b", "value": 1},
            "VALIDATION_ERROR",
            ".field",
        ),
        (
            {"type": "set_custom_field", "field": "f", "value": "v" * 1_023},
            "VALIDATION_ERROR",
            ".value",
        ),
        (
            {"type": "set_custom_field", "field": "f", "value": [[[[[]]]]]},
            "VALIDATION_ERROR",
            ".value",
        ),
        (
            {"type": "set_custom_field", "field": "f", "value": [Decimal("1e99")]},
            "VALIDATION_ERROR",
            ".value",
        ),
    ],
)
def test_effect_that_is_refused(effect, code, field):
    assert refusals(effect) == [(code, f"effects[0]{field}")]


def test_custom_value_at_its_bounds():
    accepted(
        {"type": "set_custom_field", "field": "f", "value": "v" * 1_022},
        {"type": "set_custom_field", "field": "f", "value": [[[[]]]]},
    )


def test_no_more_than_ten_effects():
    accepted(*[credit(1)] * 10)
    problems = []
    assert parse_effects([credit(1)] * 11, "effects", problems) == ()
    assert [p.field for p in problems] == ["effects"]


def test_every_problem_is_named_but_no_more_than_twenty():
    problems = []
    bad = [{"type": "add_points", "a": 1, "b": 2, "c": 3}] * 10
    parse_effects(bad, "effects", problems)
    assert len(problems) == 20
    assert problems[0].field == "effects[0].a"
    assert problems[4].field == "effects[1].a"


def test_caps():
    problems = []
    limits = {
        "perUser": {"count": 1, "period": "day"},
        "perUserAmount": {"currency": "xp", "amount": 500, "period": "ever"},
    }
    caps = parse_limits(limits, "limits", problems)
    assert caps == (Cap("count", 1, "day"), Cap("xp", 500, "ever"))
    assert parse_limits(None, "limits", problems) == ()
    assert parse_limits({}, "limits", problems) == ()
    assert problems == []


@pytest.mark.parametrize(
    ("limits", "code", "field"),
    [
        ([], "VALIDATION_ERROR", "limits"),
        ({"total": {"count": 5}}, "NOT_SUPPORTED", "limits.total"),
        ({"each": 1}, "VALIDATION_ERROR", "limits.each"),
        ({"perUser": 1}, "VALIDATION_ERROR", "limits.perUser"),
        ({"perUser": {"count": 1}}, "VALIDATION_ERROR", "limits.perUser.period"),
        (
            {"perUser": {"count": 0, "period": "day"}},
            "VALIDATION_ERROR",
            "limits.perUser.count",
        ),
        (
            {"perUser": {"count": 1, "period": "year"}},
            "VALIDATION_ERROR",
            "limits.perUser.period",
        ),
        (
            {"perUserAmount": {"currency": "gold", "amount": 1, "period": "day"}},
            "VALIDATION_ERROR",
            "limits.perUserAmount.currency",
        ),
        (
            {"perUserAmount": {"currency": "xp", "period": "day"}},
            "VALIDATION_ERROR",
            "limits.perUserAmount.amount",
        ),
        (
            {"perUser": {"count": 1, "period": "day", "currency": "xp"}},
            "VALIDATION_ERROR",
            "limits.perUser.currency",
        ),
    ],
)
def test_caps_that_are_refused(limits, code, field):
    problems = []
    parse_limits(limits, "limits", problems)
    assert [(p.code, p.field) for p in problems] == [(code, field)]


def test_setting_given_twice_may_be_nested_without_end():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    effect = {"type": "set_custom_field", "field": "f", "value": deep}
    assert refusals({**effect, "config": {"value": deep}}) == [
        ("VALIDATION_ERROR", "effects[0].config.value"),
        ("VALIDATION_ERROR", "effects[0].config.value"),
    ]
