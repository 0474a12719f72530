"""Campaigns as most people would write them: dicts, looked at one by one.

Campaigns are grouped by event type and sorted by priority once, at the start; that much
everybody does.
"""

import operator
from collections.abc import Callable, Iterator
from typing import Any, Final

OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    ">=": operator.ge,
    "in": lambda value, wanted: value in wanted,
    "not_equals": operator.ne,
}
CURRENCIES: Final = {"add_points": "points", "add_xp": "xp", "add_coins": "coins"}
TIERS: Final = [("platinum", 20_000), ("gold", 5_000), ("silver", 1_000), ("bronze", 0)]


def by_event_type(campaigns: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the active campaigns that listen to each type, by priority."""
    found: dict[str, list[dict[str, Any]]] = {}
    for campaign in sorted(campaigns, key=lambda c: -c.get("priority", 5)):
        if campaign["status"] == "active":
            for trigger in campaign["triggers"]:
                found.setdefault(trigger["eventType"], []).append(campaign)
    return found


def rewards(
    campaigns: list[dict[str, Any]], event_type: str, data: dict[str, Any]
) -> Iterator[tuple[str, str, int]]:
    """Yield (campaign, currency, amount) for each effect that an action earns."""
    for campaign in campaigns:
        for trigger in campaign["triggers"]:
            if trigger["eventType"] == event_type and matches(trigger, data):
                for effect in campaign["effects"]:
                    amount = amount_of(effect["config"]["amount"], data)
                    if amount > 0:
                        yield campaign["name"], CURRENCIES[effect["type"]], amount
                break


def matches(trigger: dict[str, Any], data: dict[str, Any]) -> bool:
    """Tell whether an action's data meet all conditions of a trigger."""
    for condition in trigger.get("conditions", ()):
        value = data.get(condition["field"])
        if value is None:
            return False
        if not OPERATORS[condition["operator"]](value, condition["value"]):
            return False
    return True


def amount_of(amount: Any, data: dict[str, Any]) -> int:
    """Return an effect's amount: a number, or a formula over the action's data."""
    if isinstance(amount, dict):
        value = data[amount["field"]] * amount["multiply"]
        return int(min(value, amount["max"]))
    return int(amount)


def tier_of(lifetime_points: int) -> str:
    """Return the tier that lifetime points reach."""
    return next(name for name, least in TIERS if lifetime_points >= least)
