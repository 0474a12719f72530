"""Users, actions, configs and programs for tests of rules/, and plain JSON of them."""

import msgspec

from rules.calendar import format_ms
from rules.config import Campaign, OrgConfig, OrgSettings, Rule, Segment
from rules.message import Action
from rules.program import Program
from rules.state import User, UserState
from tests.memory_rows import MemoryRows

NOW_MS = 1_759_665_600_000


def make_user(user_id="alice", **fields):
    state = UserState(**({"created_at_ms": 0, "updated_at_ms": 0} | fields))
    return User("acme", user_id, state, MemoryRows())


def make_action(action_type="buy", data=None, metadata=None, event_id=None):
    return Action(
        "acme", "alice", event_id, action_type, NOW_MS, data or {}, metadata or {}
    )


def make_campaign(campaign_id="camp", **fields):
    row = {
        "campaign_id": campaign_id,
        "name": campaign_id,
        "type": "Reward",
        "mode": "always-on",
        "status": "active",
        "simplified_mode": "rules" not in fields,
        "triggers": [{"eventType": "buy"}],
        "effects": [{"type": "add_points", "amount": 1}],
        "created_at_ms": 0,
        "updated_at_ms": 0,
    }
    return Campaign(**(row | fields))


def make_advanced(campaign_id="camp", **fields):
    plain = {"simplified_mode": False, "triggers": None, "effects": None}
    return make_campaign(campaign_id, **(plain | fields))


def make_rule(rule_id="rule", campaign_id="camp", **fields):
    row = {
        "rule_id": rule_id,
        "campaign_id": campaign_id,
        "name": rule_id,
        "trigger": "buy",
        "effects": [{"type": "add_points", "amount": 1}],
        "created_at_ms": 0,
        "updated_at_ms": 0,
    }
    return Rule(**(row | fields))


def make_segment(segment_id="seg", **fields):
    row = {
        "segment_id": segment_id,
        "name": segment_id,
        "type": "dynamic",
        "created_at_ms": 0,
        "updated_at_ms": 0,
    }
    return Segment(**(row | fields))


def make_config(campaigns=(), rules=(), segments=(), version=1, **settings):
    return OrgConfig(
        "acme",
        version,
        OrgSettings(**settings),
        {row.campaign_id: row for row in campaigns},
        {row.rule_id: row for row in rules},
        {row.segment_id: row for row in segments},
    )


def as_json(row):
    return msgspec.structs.asdict(row)


def make_world(user, action, occurred_ms, members=None):
    """Return what tests/interpreter.py looks at."""
    state = user.state
    last_ms = state.last_action_at_ms
    return {
        "data": action.data,
        "metadata": action.metadata,
        "action": {
            "type": action.type,
            "eventId": action.event_id,
            "userId": action.user,
            "occurredAt": format_ms(occurred_ms),
        },
        "user": {
            "userId": user.user_id,
            "tier": state.tier,
            "points": state.points,
            "xp": state.xp,
            "coins": state.coins,
            "lifetime": {
                "points": state.lifetime_points,
                "xp": state.lifetime_xp,
                "coins": state.lifetime_coins,
            },
            "email": state.email,
            "displayName": state.display_name,
            "badges": list(state.badges),
            "benefits": [
                benefit
                for benefit, until_ms in state.benefits.items()
                if until_ms is None or occurred_ms < until_ms
            ],
            "customFields": state.custom_fields,
            "preferences": state.preferences,
            "createdAt": format_ms(state.created_at_ms),
            "updatedAt": format_ms(state.updated_at_ms),
            "lastActionAt": None if last_ms is None else format_ms(last_ms),
        },
        "counts": state.counts,
        "members": members or {},
    }


def program_of(*campaigns, rules=(), segments=(), **settings):
    """Return the program of an org with these campaigns."""
    return Program(make_config(campaigns, rules, segments, **settings))


def fired(program, action_type="buy", user=None, at_ms=NOW_MS, **action):
    """Return the ids of the campaigns and rules that fire, in order."""
    names = []
    program.evaluate(
        user or make_user(),
        make_action(action_type, **action),
        at_ms,
        lambda c: names.append(c.rule_id or c.campaign_id),
    )
    return names
