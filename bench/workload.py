"""The workload that every benchmark runs: one org, its campaigns, users and actions.

Seeded, so that every run and every competitor sees the same. Users are drawn by Zipf's
law (exponent 1.1): a few do much, most do little. About 1.6 entries are earned per
action.
"""

import itertools
import random
from collections.abc import Iterable, Iterator
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import msgspec

from rules.message import Action
from streams.log import Append
from streams.messages import encode_envelope
from streams.topics import USERS, partition_of

ORG: Final = "bench"
SEED: Final = 20_251_005
ZIPF_EXPONENT: Final = 1.1
CAMPAIGNS: Final = 500
TYPES: Final = 40
POPULATION: Final = 100_000
"""Users there are."""
PARTITIONS: Final = 4
PROBE_TYPE: Final = "bench.probe"
"""Actions of this type earn `PROBE_POINTS`, always; no other campaign listens to it."""
PROBE_POINTS: Final = 7
COUNTRIES: Final = ("GB", "FR", "DE", "ES", "IT", "NL", "SE", "PL")
CHANNELS: Final = ("web", "ios", "android", "store")
ENVELOPE_ACTIONS: Final = 100

_encode = msgspec.json.Encoder(decimal_format="number").encode


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


def probe_campaign() -> dict[str, Any]:
    """Return the campaign by which a benchmark sees that an action was folded."""
    return {
        "name": "Probe",
        "type": "Reward",
        "mode": "always-on",
        "status": "active",
        "triggers": [{"eventType": PROBE_TYPE}],
        "effects": [{"type": "add_points", "config": {"amount": PROBE_POINTS}}],
    }


@lru_cache(maxsize=4)
def _zipf_weights(users: int) -> list[float]:
    weights = (1 / rank**ZIPF_EXPONENT for rank in range(1, users + 1))
    return list(itertools.accumulate(weights))


def zipf_users(users: int, count: int, rng: random.Random) -> list[int]:
    """Return `count` user numbers below `users`, drawn by Zipf's law."""
    return rng.choices(range(users), cum_weights=_zipf_weights(users), k=count)


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
        yield _action(number, user, types, rng)


def first_visits(users: int, *, first: int, types: int = TYPES) -> Iterator[Action]:
    """Yield one action of every user, in random order: afterwards all are known.

    Args:
      users: Size of the population.
      first: Number of the first action.
      types: Number of action types.
    """
    rng = random.Random(f"{SEED}/first-visits")
    order = list(range(users))
    rng.shuffle(order)
    for number, user in enumerate(order, first):
        yield _action(number, user, types, rng)


def _action(number: int, user: int, types: int, rng: random.Random) -> Action:
    return Action(
        ORG,
        user_id(user),
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


def user_id(number: int) -> str:
    """Return the id of a user."""
    return f"user-{number:06d}"


def envelopes(actions: Iterable[Action], partitions: int) -> list[Append]:
    """Return actions as records of `users`, `ENVELOPE_ACTIONS` in each but the last."""
    filling: list[list[Action]] = [[] for _ in range(partitions)]
    records: list[Append] = []
    for action in actions:
        partition = partition_of(action.org, action.user, partitions)
        envelope = filling[partition]
        envelope.append(action)
        if len(envelope) == ENVELOPE_ACTIONS:
            records.append(Append(USERS, partition, None, encode_envelope(envelope)))
            filling[partition] = []
    records += [
        Append(USERS, partition, None, encode_envelope(envelope))
        for partition, envelope in enumerate(filling)
        if envelope
    ]
    return records


def bulk_body(actions: Iterable[Action]) -> bytes:
    """Return actions as the body of a bulk request, at most 1,000."""
    items = [
        {
            "userId": action.user,
            "action": action.type,
            "eventId": action.event_id,
            "data": action.data,
        }
        for action in actions
    ]
    return _encode({"actions": items})
