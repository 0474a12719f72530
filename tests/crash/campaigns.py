"""Campaigns of the crash tests."""

POINTS = {
    "name": "Points",
    "type": "Reward",
    "mode": "always-on",
    "status": "active",
    "triggers": [{"eventType": "purchase", "conditions": {}}],
    "effects": [
        {"type": "add_points", "amount": {"field": "amount"}, "expiresInDays": 30},
        {"type": "add_badge", "badgeId": "buyer"},
    ],
    "limits": {"perUserAmount": {"currency": "points", "amount": 500, "period": "day"}},
}
COINS = {
    "name": "Coins",
    "type": "Reward",
    "mode": "always-on",
    "status": "active",
    "triggers": [{"eventType": "purchase", "conditions": {"amount": {"min": 50}}}],
    "effects": [{"type": "add_coins", "amount": 3}],
}
