"""The workload that every benchmark runs: one org, its campaigns, users and actions.

Seeded, so that every run and every competitor sees the same. Users are drawn by Zipf's
law (exponent 1.1): a few do much, most do little. About 1.6 entries are earned per
action.
"""

import itertools
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from rules.message import Action

ORG: Final = "bench"
SEED: Final = 20_251_005
ZIPF_EXPONENT: Final = 1.1
TYPES: Final = 40
COUNTRIES: Final = ("GB", "FR", "DE", "ES", "IT", "NL", "SE", "PL")
CHANNELS: Final = ("web", "ios", "android", "store")
ENVELOPE_ACTIONS: Final = 100


def action_type(number: int) -> str:
    """Return the name of an action type."""
    return f"shop.type_{number:02d}"


def campaigns(count: int, types: int = TYPES) -> list[dict[str, Any]]:
    """Return campaign bodies as an operator sends them, spread over the types.

    Each has three conditions of its own; thresholds are such that 500 campaigns over 40
    types earn about 1.6 entries per action.
    """
    rng = random.Random(SEED)
    bodies = []
    for number in range(count):
        # Twelve or so per type; each fires for about one action in eight.
        floor = rng.choice((20, 40, 50, 70, 90))
        wanted = rng.sample(COUNTRIES, 3)
        bodies.append(
            {
                "name": f"Campaign {number:03d}",
                "type": "Reward",
                "mode": "always-on",
                "status": "active",
                "priority": rng.randint(1, 10),
                "triggers": [
                    {
                        "eventType": action_type(number % types),
                        "conditions": [
                            {"field": "amount", "operator": ">=", "value": floor},
                            {"field": "country", "operator": "in", "value": wanted},
                            {
                                "field": "channel",
                                "operator": "not_equals",
                                "value": rng.choice(CHANNELS),
                            },
                        ],
                    }
                ],
                "effects": [_effect(rng, number)],
            }
        )
    return bodies


def _effect(rng: random.Random, number: int) -> dict[str, Any]:
    if number % 5 == 0:
        formula = {"field": "amount", "multiply": Decimal("0.5"), "max": 50}
        return {"type": "add_points", "config": {"amount": formula}}
    kind = ("add_points", "add_xp", "add_coins")[number % 3]
    return {"type": kind, "config": {"amount": rng.randint(1, 50)}}


def zipf_users(users: int, count: int, rng: random.Random) -> list[int]:
    """Return `count` user numbers below `users`, drawn by Zipf's law."""
    weights = itertools.accumulate(
        1 / rank**ZIPF_EXPONENT for rank in range(1, users + 1)
    )
    return rng.choices(range(users), cum_weights=list(weights), k=count)


def actions(
    count: int, users: int, *, first: int = 0, types: int = TYPES
) -> Iterator[Action]:
    """Yield actions, each with an event id of its own.

    Args:
      count: How many.
      users: Size of the population.
      first: Number of the first; other numbers, other event ids and other actions.
      types: Number of action types.
    """
    rng = random.Random(f"{SEED}/{first}")
    for number, user in enumerate(zipf_users(users, count, rng), first):
        yield Action(
            ORG,
            f"user-{user:06d}",
            f"order-{number:09d}",
            action_type(rng.randrange(types)),
            None,
            {
                "orderId": f"ORD-{number:09d}",
                "amount": Decimal(rng.randrange(10_000)) / 100,
                "country": rng.choice(COUNTRIES),
                "channel": rng.choice(CHANNELS),
            },
            {},
        )
