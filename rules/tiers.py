"""Tiers: the rung of an org's tier table that lifetime points reach."""

from collections.abc import Sequence

from rules.config import Tier


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
