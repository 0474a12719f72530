"""From an operator's JSON to effects and caps (semantics.md section 7).

Example: ``{"type": "award_points", "amount": 10}``, ``{"type": "add_points", "config":
{"amount": 10}}`` and the same with ``params`` all give a credit of 10 points.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias

from rules.accessor import parse_field
from rules.config import EFFECTS_MAX
from rules.effect import AMOUNT_MAX, Cap, Effect, EffectKind, Formula, Period
from rules.errors import Rejection
from rules.fields import (
    ID_PATTERN,
    NAME_CHARS_MAX,
    check_choice,
    check_integer,
    check_json,
    check_keys,
    check_list,
    check_object,
    check_pattern,
    check_text,
    child,
    number_fits,
    refuse,
)
from rules.ledger import BALANCE_MAX, CURRENCIES
from rules.message import JsonObject
from rules.value import equal, json_problem

Rounding: TypeAlias = Literal["floor", "ceil", "nearest"]

REASON_CHARS_MAX = 200
MESSAGE_CHARS_MAX = 1_000
EXPIRES_IN_DAYS_MAX = 36_500
VALUE_BYTES_MAX = 1_024
VALUE_DEPTH_MAX = 4
COUNT_MAX = 1_000_000_000
CUSTOM_FIELD_PATTERN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
PERIODS: Final[tuple[Period, ...]] = ("day", "week", "month", "ever")

_ROUNDINGS: Final[tuple[Rounding, ...]] = ("floor", "ceil", "nearest")
_LATER: Final = ("increment_streak", "add_competition_score")

# type -> (what it does, wallet)
_TYPES: Final[dict[str, tuple[EffectKind, str | None]]] = {
    **{f"{verb}_{c}": ("credit", c) for c in CURRENCIES for verb in ("add", "award")},
    **{f"deduct_{c}": ("debit", c) for c in CURRENCIES},
    "add_badge": ("badge", None),
    "award_badge": ("badge", None),
    "unlock_benefit": ("benefit", None),
    "send_notification": ("notification", None),
    "set_custom_field": ("custom_field", None),
}


class _Config:
    """An effect's settings, wherever they stand, with the path of each.

    What a rule reads back as has its settings both in ``params`` and flattened, so the
    same key twice is fine as long as both say the same.
    """

    def __init__(
        self, effect: JsonObject, path: str, problems: list[Rejection]
    ) -> None:
        """Gather what stands in the effect itself, in `config` and in `params`."""
        self.values: JsonObject = {}
        self.path = path
        self.problems = problems
        self._paths: dict[str, str] = {}
        flat = {
            k: v for k, v in effect.items() if k not in ("type", "config", "params")
        }
        self._take(flat, path)
        for key in ("config", "params"):
            if effect.get(key) is not None:
                nested = check_object(effect[key], child(path, key), problems)
                self._take(nested or {}, child(path, key))

    def _take(self, settings: JsonObject, path: str) -> None:
        for key, value in settings.items():
            if key not in self.values:
                self.values[key] = value
                # A missing setting is best named where the others stand.
                self.path = path
            elif json_problem(value, "") or not equal(self.values[key], value):
                refuse(self.problems, child(path, key), "given twice, differently")
            self._paths[key] = child(path, key)

    def where(self, key: str) -> str:
        """Return the path of a setting, present or not."""
        return self._paths.get(key) or child(self.path, key)

    def check_keys(self, *allowed: str) -> None:
        """Refuse every setting that the effect does not know."""
        for key in self.values:
            if key not in allowed:
                refuse(self.problems, self.where(key), "unknown field")

    def required(self, key: str) -> Any:
        """Return a setting, or None with a problem."""
        value = self.values.get(key)
        if value is None:
            refuse(self.problems, self.where(key), "is required")
        return value

    def text(self, key: str, chars_max: int, *, prose: bool = False) -> str | None:
        """Return a required text, or None with a problem."""
        raw = self.required(key)
        if raw is None:
            return None
        return check_text(raw, chars_max, self.where(key), self.problems, prose=prose)

    def pattern(self, key: str, pattern: re.Pattern[str]) -> str | None:
        """Return a required string of a pattern, or None with a problem."""
        raw = self.required(key)
        if raw is None:
            return None
        return check_pattern(raw, pattern, self.where(key), self.problems)

    def expires_in_days(self) -> int | None:
        """Return `expiresInDays`, or None."""
        raw = self.values.get("expiresInDays")
        if raw is None:
            return None
        path = self.where("expiresInDays")
        return check_integer(raw, 1, EXPIRES_IN_DAYS_MAX, path, self.problems)


def parse_effects(raw: Any, path: str, problems: list[Rejection]) -> tuple[Effect, ...]:
    """Parse the effects of a campaign or rule.

    Args:
      raw: A list of at most EFFECTS_MAX effects; whether it may be empty, the caller
        decides.
      path: Its dotted path, ``effects``.
      problems: Where each problem goes: VALIDATION_ERROR, or NOT_SUPPORTED for a type
        whose mechanic is not built.

    Returns:
      The effects that are in order; all of them if no problem was added.
    """
    items = check_list(raw, EFFECTS_MAX, path, problems) or []
    effects = (
        _parse_effect(item, f"{path}[{i}]", problems) for i, item in enumerate(items)
    )
    return tuple(effect for effect in effects if effect is not None)


def parse_limits(raw: Any, path: str, problems: list[Rejection]) -> tuple[Cap, ...]:
    """Parse the caps of a campaign or rule.

    Args:
      raw: ``{"perUser": {"count", "period"}, "perUserAmount": {"currency", "amount",
        "period"}}``, either optional; None: no caps.
      path: Its dotted path, ``limits``.
      problems: Where each problem goes; `total` is NOT_SUPPORTED.

    Returns:
      The caps that are in order, `perUser` first; all of them if no problem was added.
    """
    limits = None if raw is None else check_object(raw, path, problems)
    if limits is None:
        return ()
    check_keys(limits, ("perUser", "perUserAmount", "total"), path, problems)
    if limits.get("total") is not None:
        refuse(
            problems,
            child(path, "total"),
            "budgets over all users are not supported yet",
            "NOT_SUPPORTED",
        )
    caps = (
        _parse_cap(limits, "perUser", "count", path, problems),
        _parse_cap(limits, "perUserAmount", "amount", path, problems),
    )
    return tuple(cap for cap in caps if cap is not None)


def _parse_effect(raw: Any, path: str, problems: list[Rejection]) -> Effect | None:
    effect = check_object(raw, path, problems)
    if effect is None:
        return None
    effect_type = effect.get("type")
    if effect_type in _LATER:
        message = f"{effect_type} is not supported yet"
        refuse(problems, child(path, "type"), message, "NOT_SUPPORTED")
        return None
    if not isinstance(effect_type, str) or effect_type not in _TYPES:
        refuse(problems, child(path, "type"), "must be a known effect type")
        return None
    kind, currency = _TYPES[effect_type]
    before = len(problems)
    config = _Config(effect, path, problems)
    if currency is not None:
        parsed = _money(kind, currency, config)
    else:
        parsed = _PARSERS[kind](config)
    return parsed if len(problems) == before else None


def _money(kind: EffectKind, currency: str, config: _Config) -> Effect:
    if kind == "credit":
        config.check_keys("amount", "reason", "expiresInDays")
    else:
        config.check_keys("amount", "reason")
    reason = config.values.get("reason")
    if reason is not None:
        path = config.where("reason")
        reason = check_text(reason, REASON_CHARS_MAX, path, config.problems, empty=True)
    return Effect(
        kind,
        currency=currency,
        amount=_amount(config.required("amount"), config),
        reason=reason,
        expires_in_days=config.expires_in_days() if kind == "credit" else None,
    )


def _amount(raw: Any, config: _Config) -> int | Formula | None:
    path = config.where("amount")
    if raw is None:
        return None
    if isinstance(raw, dict):
        return _formula(raw, path, config.problems)
    if type(raw) is int and 1 <= raw <= AMOUNT_MAX:
        return raw
    message = f"must be an integer between 1 and {AMOUNT_MAX:,}, or a formula"
    refuse(config.problems, path, message)
    return None


def _formula(raw: JsonObject, path: str, problems: list[Rejection]) -> Formula | None:
    check_keys(raw, ("field", "multiply", "round", "min", "max"), path, problems)
    field = _formula_field(raw.get("field"), child(path, "field"), problems)
    multiply = raw.get("multiply")
    if multiply is None:
        multiply = 1
    exact = type(multiply) is int or isinstance(multiply, Decimal)
    if not exact or not number_fits(multiply) or multiply <= 0:
        message = "must be a number above 0 of at most 34 digits within 1e-30..1e30"
        refuse(problems, child(path, "multiply"), message)
        return None
    rounding: Rounding | None = "floor"
    if raw.get("round") is not None:
        where = child(path, "round")
        rounding = check_choice(raw["round"], _ROUNDINGS, where, problems)
    low, high = (
        None
        if raw.get(key) is None
        else check_integer(
            raw[key], -AMOUNT_MAX, AMOUNT_MAX, child(path, key), problems
        )
        for key in ("min", "max")
    )
    if low is not None and high is not None and low > high:
        refuse(problems, child(path, "min"), "must not be above max")
    if field is None or rounding is None:
        return None
    return Formula(field, Decimal(multiply), rounding, low, high)


def _formula_field(raw: Any, path: str, problems: list[Rejection]) -> str | None:
    if raw is None:
        refuse(problems, path, "is required")
        return None
    bad: list[Rejection] = []
    field = parse_field(raw, path, bad)
    for problem in bad:
        code = (
            "NOT_SUPPORTED" if problem.code == "NOT_SUPPORTED" else "VALIDATION_ERROR"
        )
        refuse(problems, path, problem.message, code)
    return None if field is None else field.text


def _badge(config: _Config) -> Effect:
    config.check_keys("badgeId")
    return Effect("badge", item=config.pattern("badgeId", ID_PATTERN))


def _benefit(config: _Config) -> Effect:
    config.check_keys("benefitId", "expiresInDays")
    return Effect(
        "benefit",
        item=config.pattern("benefitId", ID_PATTERN),
        expires_in_days=config.expires_in_days(),
    )


def _notification(config: _Config) -> Effect:
    config.check_keys("title", "message", "data")
    data = config.values.get("data")
    if data is not None:
        path = config.where("data")
        if check_object(data, path, config.problems) is not None:
            check_json(data, VALUE_BYTES_MAX, VALUE_DEPTH_MAX, path, config.problems)
    return Effect(
        "notification",
        title=config.text("title", NAME_CHARS_MAX),
        message=config.text("message", MESSAGE_CHARS_MAX, prose=True),
        data=data,
    )


def _custom_field(config: _Config) -> Effect:
    config.check_keys("field", "value")
    path = config.where("value")
    if "value" not in config.values:
        refuse(config.problems, path, "is required; null deletes the field")
    value = config.values.get("value")
    check_json(value, VALUE_BYTES_MAX, VALUE_DEPTH_MAX, path, config.problems)
    field = config.pattern("field", CUSTOM_FIELD_PATTERN)
    return Effect("custom_field", item=field, value=value)


_PARSERS: Final[dict[EffectKind, Callable[[_Config], Effect]]] = {
    "badge": _badge,
    "benefit": _benefit,
    "notification": _notification,
    "custom_field": _custom_field,
}


def _parse_cap(
    limits: JsonObject, key: str, limit_key: str, path: str, problems: list[Rejection]
) -> Cap | None:
    raw = limits.get(key)
    at = child(path, key)
    cap = None if raw is None else check_object(raw, at, problems)
    if cap is None:
        return None
    measure: str | None = "count"
    limit_max = COUNT_MAX
    if key == "perUserAmount":
        where = child(at, "currency")
        measure = check_choice(cap.get("currency"), CURRENCIES, where, problems)
        limit_max = BALANCE_MAX
        check_keys(cap, ("currency", "amount", "period"), at, problems)
    else:
        check_keys(cap, ("count", "period"), at, problems)
    where = child(at, limit_key)
    limit = check_integer(cap.get(limit_key), 1, limit_max, where, problems)
    period = check_choice(cap.get("period"), PERIODS, child(at, "period"), problems)
    if measure is None or limit is None or period is None:
        return None
    return Cap(measure, limit, period)
