"""What the demo is made of: a coffee-shop club, six campaigns, 3,000 members.

Drawn from a seed, so every demo is the same; only its days are counted back from today.
"""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

SEED: Final = 20
MEMBERS: Final = 3_000
DAYS: Final = 60
HEROINE: Final = "ada"
"""A regular with a story to look at: README.md shows her."""

Json = dict[str, Any]

GOLD: Final[Json] = {
    "name": "Gold and platinum",
    "type": "dynamic",
    "criteria": [{"field": "tier", "operator": "in", "value": ["gold", "platinum"]}],
}

POINTS_PER_POUND: Final[Json] = {
    "name": "A point for every pound",
    "description": "Whole pounds, at most 500 points a purchase",
    "type": "Reward",
    "mode": "always-on",
    "status": "active",
    "priority": 9,
    "triggers": [{"eventType": "purchase"}],
    "effects": [
        {
            "type": "add_points",
            "amount": {"field": "amount", "round": "floor", "max": 500},
            "reason": "Purchase",
        }
    ],
}
DAILY_CHECK_IN: Final[Json] = {
    "name": "Daily check-in",
    "description": "5 xp for the first check-in of a day",
    "type": "Reward",
    "mode": "always-on",
    "status": "active",
    "triggers": [{"eventType": "check_in"}],
    "effects": [{"type": "add_xp", "amount": 5, "reason": "Check-in"}],
    "limits": {"perUser": {"count": 1, "period": "day"}},
}
TENTH_PURCHASE: Final[Json] = {
    "name": "The tenth purchase",
    "description": "A badge, a free coffee and a word of thanks",
    "type": "Reward",
    "mode": "always-on",
    "status": "active",
    "triggers": [{"eventType": "purchase", "conditions": {"user.counts.purchase": 10}}],
    "effects": [
        {"type": "award_badge", "badgeId": "regular"},
        {"type": "unlock_benefit", "benefitId": "free_coffee", "expiresInDays": 90},
        {
            "type": "send_notification",
            "title": "You are a regular now",
            "message": "Ten purchases: the next coffee is on us.",
        },
    ],
}


def gold_campaign(segment_id: str) -> Json:
    """Return the campaign that pays gold members twice; runs after the first one."""
    return {
        "name": "Gold members earn double",
        "description": "The same points again; sees the tier that this purchase gave",
        "type": "Reward",
        "mode": "always-on",
        "status": "active",
        "priority": 4,
        "segmentIds": [segment_id],
        "triggers": [{"eventType": "purchase"}],
        "effects": [
            {
                "type": "add_points",
                "amount": {"field": "amount", "round": "floor", "max": 500},
                "reason": "Gold bonus",
            }
        ],
    }


def weekend_campaign(today: date) -> Json:
    """Return the campaign of all weekends: coins that expire, at most 40 a weekend."""
    first = today - timedelta(days=DAYS + 7)
    saturday = first + timedelta(days=(5 - first.weekday()) % 7)
    return {
        "name": "Weekend coins",
        "description": "20 coins a purchase, good for 30 days",
        "type": "Reward",
        "mode": "recurring",
        "status": "active",
        "startDate": saturday.isoformat(),
        "recurrence": {"unit": "week", "every": 1, "windowDays": 2},
        "triggers": [{"eventType": "purchase", "conditions": {"amount": {"min": 5}}}],
        "effects": [{"type": "add_coins", "amount": 20, "expiresInDays": 30}],
        "limits": {
            "perUserAmount": {"currency": "coins", "amount": 40, "period": "ever"}
        },
    }


ADVOCATES: Final[Json] = {
    "name": "Advocates",
    "description": "An advanced campaign: its rules are attached to it",
    "type": "Reward",
    "mode": "always-on",
    "status": "active",
}
ADVOCATE_RULES: Final[tuple[Json, ...]] = (
    {
        "name": "A good review",
        "trigger": "review",
        "priority": 100,
        "conditions": [
            {"field": "stars", "operator": ">=", "value": 4},
            {"field": "text", "operator": "exists"},
        ],
        "effects": [{"type": "award_xp", "amount": 25}],
    },
    {
        "name": "Any review",
        "trigger": "review",
        "priority": 50,
        "effects": [{"type": "award_xp", "amount": 10}],
        "limits": {"perUser": {"count": 3, "period": "month"}},
    },
    {
        "name": "A friend",
        "trigger": "referral",
        "effects": [
            {"type": "award_points", "amount": 100, "reason": "You brought a friend"},
            {"type": "set_custom_field", "field": "ambassador", "value": True},
        ],
    },
)


def actions(now: datetime) -> Iterator[Json]:
    """Yield what the members did, in the order of time, up to now.

    Args:
      now: An instant in UTC; the last day of the demo.
    """
    draw = random.Random(SEED)  # noqa: S311  # a demo, not a secret
    done: list[tuple[datetime, str, str, Json]] = []
    for day in range(24):
        at = _moment(draw, now, DAYS - 1 - 2 * day)
        data = {"amount": _price(draw, 180, 320), "category": "beans"}
        done.append((at, HEROINE, "purchase", data))
    done.append((_moment(draw, now, 9), HEROINE, "referral", {"friend": "grace"}))
    done.append((_moment(draw, now, 8), HEROINE, "review", {"stars": 5, "text": "Mm."}))
    for member in range(MEMBERS):
        user = f"member-{member + 1:04}"
        for _ in range(min(int(draw.expovariate(0.25)) + 1, 40)):
            at = _moment(draw, now, draw.randrange(DAYS))
            done.append((at, user, *_deed(draw)))
    done.sort(key=lambda deed: deed[:3])
    for number, (at, user, action, data) in enumerate(done, 1):
        yield {
            "eventId": f"demo-{number}",
            "userId": user,
            "action": action,
            "timestamp": at.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "data": data,
        }


def _deed(draw: random.Random) -> tuple[str, Json]:
    kind = draw.choices(("purchase", "check_in", "review", "referral"), (60, 30, 8, 2))
    if kind == ["purchase"]:
        category = draw.choice(("coffee", "cake", "beans", "cups"))
        return "purchase", {"amount": _price(draw, 2, 60), "category": category}
    if kind == ["check_in"]:
        return "check_in", {"store": draw.choice(("north", "harbour", "station"))}
    if kind == ["review"]:
        review: Json = {"stars": draw.randint(1, 5)}
        if draw.randrange(2):
            review["text"] = "Nice place."
        return "review", review
    return "referral", {"friend": f"friend-{draw.randrange(10_000)}"}


def _price(draw: random.Random, low: int, high: int) -> Any:
    """Return pounds and pence, as an exact JSON number."""
    pence = draw.randrange(low * 100, high * 100)
    return Decimal(pence).scaleb(-2)


def _moment(draw: random.Random, now: datetime, days_ago: int) -> datetime:
    day = datetime.combine(now.date() - timedelta(days=days_ago), time(), UTC)
    return min(day + timedelta(seconds=draw.randrange(7 * 3_600, 20 * 3_600)), now)
