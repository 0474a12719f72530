"""Amounts by formula, in exact decimal arithmetic (semantics.md section 7)."""

from decimal import (
    ROUND_CEILING,
    ROUND_FLOOR,
    ROUND_HALF_UP,
    Context,
    Decimal,
    Inexact,
    InvalidOperation,
)
from typing import Any, Final

from rules.effect import Formula

_ROUNDINGS: Final = {
    "floor": ROUND_FLOOR,
    "ceil": ROUND_CEILING,
    "nearest": ROUND_HALF_UP,
}

# A factor and a field have at most 34 digits each; the product has at most 68 and, as
# an integer, at most 61. Within 100 digits nothing is ever rounded.
_EXACT: Final = Context(prec=100, traps=[Inexact, InvalidOperation])


def formula_amount(formula: Formula, value: Any) -> int | None:
    """Return multiply, round, clamp of a field's value; None if it is no number.

    Args:
      formula: The formula.
      value: What the field holds; bool is not a number.

    Returns:
      Whole units, of any sign or size; the caller checks the bounds.
    """
    kind = type(value)
    if kind is not int and kind is not Decimal:
        return None
    product = _EXACT.multiply(Decimal(value), formula.multiply)
    amount = int(product.to_integral_value(_ROUNDINGS[formula.round], _EXACT))
    if formula.min is not None and amount < formula.min:
        amount = formula.min
    if formula.max is not None and amount > formula.max:
        amount = formula.max
    return amount
