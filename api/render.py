"""Config rows and ledger rows as the API shows them (camelCase, ISO instants)."""

from typing import Any

from api.envelope import iso, iso_or_none
from rules.ledger import Entry
from rules.message import JsonObject
from rules.outcome import Notification
from rules.public_id import public_id

_ENDS_ITSELF = ("active", "paused")


def status_of(row: JsonObject, now_ms: int) -> str:
    """Return a campaign row's status; ``completed`` once its end has passed."""
    ended = row["end_ms"] is not None and row["end_ms"] < now_ms
    if ended and row["status"] in _ENDS_ITSELF:
        return "completed"
    return str(row["status"])


def campaign(org: str, row: JsonObject, now_ms: int) -> JsonObject:
    """Return a campaign. An advanced one has null `triggers` and `effects`."""
    return {
        "campaignId": row["campaign_id"],
        "orgId": org,
        "name": row["name"],
        "description": row["description"],
        "type": row["type"],
        "mode": row["mode"],
        "status": status_of(row, now_ms),
        "simplifiedMode": row["simplified_mode"],
        "startDate": iso_or_none(row["start_ms"]),
        "endDate": iso_or_none(row["end_ms"]),
        "recurrence": row["recurrence"],
        "triggers": row["triggers"],
        "effects": row["effects"],
        "conditions": row["conditions"],
        "limits": row["limits"],
        "priority": row["priority"],
        "segmentIds": row["segment_ids"],
        "metadata": row["metadata"],
        "version": row["version"],
        "createdAt": iso(row["created_at_ms"]),
        "updatedAt": iso(row["updated_at_ms"]),
    }


def _effect(effect: JsonObject) -> JsonObject:
    """Return an effect with its settings both flat and under ``params``."""
    settings = {
        key: value
        for key, value in effect.items()
        if key not in ("type", "config", "params")
    }
    for nested in ("config", "params"):
        settings.update(effect.get(nested) or {})
    return {"type": effect["type"], **settings, "params": settings}


def rule(row: JsonObject) -> JsonObject:
    """Return a rule under the names of both route families."""
    return {
        "ruleId": row["rule_id"],
        "campaignId": row["campaign_id"],
        "name": row["name"],
        "trigger": row["trigger"],
        "triggerType": row["trigger"],
        "conditions": [] if row["conditions"] is None else row["conditions"],
        "effects": [_effect(effect) for effect in row["effects"]],
        "limits": row["limits"],
        "priority": row["priority"],
        "enabled": row["enabled"],
        "version": row["version"],
        "createdAt": iso(row["created_at_ms"]),
        "updatedAt": iso(row["updated_at_ms"]),
    }


def segment(org: str, row: JsonObject) -> JsonObject:
    """Return a segment; `memberCount` of a dynamic one is not kept, so null."""
    user_ids = row["user_ids"]
    return {
        "segmentId": row["segment_id"],
        "orgId": org,
        "name": row["name"],
        "description": row["description"],
        "type": row["type"],
        "url": row["url"],
        "criteria": row["criteria"],
        "excludeCriteria": row["exclude_criteria"],
        "userIds": user_ids,
        "memberCount": None if user_ids is None else len(user_ids),
        "createdAt": iso(row["created_at_ms"]),
        "updatedAt": iso(row["updated_at_ms"]),
    }


def transaction(entry: Entry) -> JsonObject:
    """Return a credit or debit entry."""
    return {
        "transactionId": public_id("txn", entry.entry_id),
        "userId": entry.user,
        "type": entry.kind,
        "currency": entry.currency,
        "amount": entry.amount,
        "balanceAfter": entry.balance_after,
        "reason": entry.reason,
        "source": entry.source,
        "campaignId": entry.campaign_id,
        "ruleId": entry.rule_id,
        "campaignVersion": entry.campaign_version,
        "eventId": entry.event_id,
        "expiresAt": iso_or_none(entry.expires_at_ms),
        "reversalOf": None,
        "metadata": {},
        "occurredAt": iso(entry.occurred_at_ms),
        "createdAt": iso(entry.created_at_ms),
    }


def notification(note: Notification) -> JsonObject:
    """Return a notification; all are unread."""
    data: Any = note.data
    return {
        "notificationId": public_id("ntf", note.notification_id),
        "type": note.type,
        "title": note.title,
        "message": note.message,
        "read": False,
        "readAt": None,
        "data": {} if data is None else data,
        "createdAt": iso(note.created_at_ms),
    }
