"""What a campaign does to a user: parsed effects, amounts and caps.

The parsers (rules/parse_effect.py) turn an operator's JSON into these; rules/grant.py
carries them out.
"""

from decimal import Decimal
from typing import Any, Literal, TypeAlias

import msgspec

AMOUNT_MAX = 1_000_000_000

EffectKind: TypeAlias = Literal[
    "credit", "debit", "badge", "benefit", "notification", "custom_field"
]
Period: TypeAlias = Literal["day", "week", "month", "ever"]


class Formula(msgspec.Struct, frozen=True):
    """An amount computed from a field: multiply, round, then clamp.

    Attributes:
      field: As in conditions (`orderTotal`, `metadata.x`, `user.points`).
      multiply: Exact factor, > 0.
      round: ``floor``, ``ceil`` or ``nearest`` (half away from zero).
      min: Lower clamp, whole units, or None.
      max: Upper clamp, whole units, or None; never below `min`.
    """

    field: str
    multiply: Decimal = Decimal(1)
    round: Literal["floor", "ceil", "nearest"] = "floor"
    min: int | None = None
    max: int | None = None


class Effect(msgspec.Struct, frozen=True):
    """One effect of a campaign or rule.

    Attributes:
      kind: What it does.
      currency: Wallet, for credits and debits.
      amount: Whole units 1..AMOUNT_MAX, or a formula; for credits and debits.
      reason: Shown on the entry.
      expires_in_days: For credits and benefits; None: never.
      item: Badge id, benefit id or custom field name.
      title, message, data: Of a notification.
      value: Of a custom field; None deletes it.
    """

    kind: EffectKind
    currency: str | None = None
    amount: int | Formula | None = None
    reason: str | None = None
    expires_in_days: int | None = None
    item: str | None = None
    title: str | None = None
    message: str | None = None
    data: Any = None
    value: Any = None


class Cap(msgspec.Struct, frozen=True):
    """A per-user limit of a campaign or rule.

    Attributes:
      measure: ``count`` (actions on which an effect changed something) or a currency.
      limit: Most per period, >= 1.
      period: Local calendar period, or ``ever``.
    """

    measure: str
    limit: int
    period: Period
