"""Tiers: the rung of an org's tier table that lifetime points reach."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from rules.config import Tier

NEVER_POINTS: Final = 1 << 128
"""More points than anybody's lifetime."""


def next_thresholds(tiers: Sequence[Tier]) -> dict[str, int]:
    """Return from how many lifetime points on each tier gives way to a higher one."""
    thresholds = {tier.name: above.threshold for tier, above in pairwise(tiers)}
    thresholds[tiers[-1].name] = NEVER_POINTS
    return thresholds


def raised_tier(tiers: Sequence[Tier], held: str, reached: str) -> str | None:
    """Return the tier to hold now, or None where it stays.

    Tiers are never taken away (policy ``never``): a table that an operator edits only
    moves users up. A tier that the table no longer names gives way.

    Args:
      tiers: The org's table, ascending.
      held: Name of the tier held.
      reached: Name of the tier that the lifetime points reach.
    """
    ranks = {tier.name: rank for rank, tier in enumerate(tiers)}
    if ranks.get(held, -1) >= ranks[reached]:
        return None
    return reached
