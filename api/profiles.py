"""Profiles: users as they stand now, with what is due hidden.

The tables still hold units whose expiry has passed until their user's next message
settles them; a read must not show them (semantics.md section 11).
"""

from collections.abc import Sequence

from api.envelope import iso, now_ms
from api.services import read_settings, services
from rules.config import Tier
from rules.ledger import CURRENCIES
from rules.message import JsonObject
from rules.state import Lot, UserState
from tables.views import UserView

EXPIRING_MAX = 100
"""Longest `expiring` list; the soonest come first."""


def read_users(org: str, user_ids: Sequence[str]) -> dict[str, UserView | None]:
    """Return users by id, None where one was never seen; one read per partition."""
    held = services()
    by_partition: dict[int, list[str]] = {}
    for user_id in user_ids:
        _, partition = held.writer.locate(org, user_id)
        by_partition.setdefault(partition, []).append(user_id)
    found: dict[str, UserView | None] = {}
    for partition, ids in by_partition.items():
        users = held.view.users(partition, org, ids)
        found.update(zip(ids, users, strict=True))
    return found


def read_profile(org: str, user_id: str) -> JsonObject:
    """Return one user's profile; zeros and no `createdAt` for one never seen."""
    user = read_users(org, [user_id])[user_id]
    tiers = read_settings(org).tiers
    if user is None:
        user = UserView(user_id, UserState(0, 0), [])
        return {
            **profile(org, user, tiers, 0),
            "createdAt": None,
            "updatedAt": None,
        }
    return profile(org, user, tiers, now_ms())


def profile(org: str, user: UserView, tiers: Sequence[Tier], at_ms: int) -> JsonObject:
    """Return the profile of a user who exists, as it stands at an instant."""
    state = user.state
    live = [lot for lot in user.lots if lot.expires_at_ms > at_ms]
    balances = _balances(state, user.lots, at_ms)
    return {
        "userId": user.user_id,
        "orgId": org,
        "email": state.email,
        "displayName": state.display_name,
        "avatarUrl": state.avatar_url,
        "tier": state.tier or tiers[0].name,
        "tierProgress": _tier_progress(state, tiers),
        **balances,
        "lifetime": {
            "points": state.lifetime_points,
            "xp": state.lifetime_xp,
            "coins": state.lifetime_coins,
        },
        "pending": dict.fromkeys(CURRENCIES, 0),
        "expiring": _expiring(live),
        "badges": list(state.badges),
        "benefits": [
            benefit
            for benefit, until_ms in state.benefits.items()
            if until_ms is None or until_ms > at_ms
        ],
        "streaks": [],
        "activeChallenges": [],
        "preferences": state.preferences,
        "customFields": state.custom_fields,
        "createdAt": iso(state.created_at_ms),
        "updatedAt": iso(state.updated_at_ms),
    }


def _balances(state: UserState, lots: list[Lot], at_ms: int) -> dict[str, int]:
    balances = {"points": state.points, "xp": state.xp, "coins": state.coins}
    for lot in lots:
        if lot.expires_at_ms <= at_ms:
            balances[lot.currency] -= lot.remaining
    return balances


def _expiring(lots: list[Lot]) -> list[JsonObject]:
    """Return what expires when, one row for each currency and instant."""
    sums: dict[tuple[int, str], int] = {}
    for lot in lots:
        when = (lot.expires_at_ms, lot.currency)
        sums[when] = sums.get(when, 0) + lot.remaining
    return [
        {
            "currency": currency,
            "amount": sums[expires, currency],
            "expiresAt": iso(expires),
        }
        for expires, currency in sorted(sums)[:EXPIRING_MAX]
    ]


def _tier_progress(state: UserState, tiers: Sequence[Tier]) -> JsonObject:
    value = state.lifetime_points
    current = state.tier or tiers[0].name
    following = next((tier for tier in tiers if tier.threshold > value), None)
    if following is None:
        percentage = 100.0
    else:
        # Hundredths of a percent, floored, so that it reads 100 only on arrival.
        percentage = (value * 10_000 // following.threshold) / 100
    return {
        "current": current,
        "next": following.name if following else None,
        "metric": "points",
        "value": value,
        "threshold": following.threshold if following else None,
        "percentage": percentage,
    }
