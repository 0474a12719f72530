"""A second engine, as plain as can be: dicts, ints and fractions; for tests only.

It folds the messages of one partition as semantics.md says and knows nothing of how the
real engine does it: nothing of rules/, tables/ or streams/ is imported. A message is
the JSON array of rules/message.py, ``["action", org, user, event_id, type, ...]``, with
numbers as int or Decimal; an entry is a dict with the field names of rules/ledger.py.
"""

import math

from tests.interpreter import verdict
from tests.oracle_checks import Refused, check_action, check_profile_update
from tests.oracle_effects import CURRENCIES, Effects
from tests.oracle_time import DAY_MS

SETTINGS = {
    "dedupe_horizon_ms": 7 * DAY_MS,
    "late_horizon_ms": None,
    "future_tolerance_ms": 5 * 60_000,
    "timezone": None,
    "tiers": [
        {"name": "bronze", "threshold": 0},
        {"name": "silver", "threshold": 1_000},
        {"name": "gold", "threshold": 5_000},
        {"name": "platinum", "threshold": 20_000},
    ],
}


class Oracle:
    """One partition: a clock, a number, every org's config rows, every user."""

    def __init__(self):
        self.clock = 0
        self.number = 0
        self.orgs = {}
        self.users = {}

    def fold(self, stamp_ms, message):
        """Fold one message; return {fate, reason, entries, notifications, counts}."""
        self.clock = max(self.clock, stamp_ms)
        step = Step(self, message)
        try:
            step.run()
        except Refused as refusal:
            step.fate, step.reason = "refused", refusal.args[0]
        self.number += 1
        return {
            "fate": step.fate,
            "reason": step.reason,
            "entries": step.entries,
            "notifications": step.notifications,
            "counts": step.counts,
        }


def new_org():
    return {"settings": SETTINGS, "campaign": {}, "rule": {}, "segment": {}}


def new_user(clock, tiers):
    return {
        "createdAt": clock,
        "updatedAt": clock,
        "lastActionAt": None,
        "balance": dict.fromkeys(CURRENCIES, 0),
        "lifetime": dict.fromkeys(CURRENCIES, 0),
        "tier": tiers[0]["name"],
        "badges": {},
        "benefits": {},
        "counts": {},
        "preferences": {},
        "customFields": {},
        "displayName": None,
        "entries": 0,
        "notifications": 0,
        # What the rest of the world does not see:
        "lots": [],  # every credit: {currency, expires, sequence, left}
        "seen": {},  # event id -> clock until which it is a duplicate
        "used": {},  # (scope, measure, period, first day) -> how much of a cap is used
        "newest_day": None,
    }


class Step(Effects):
    """One message and what it does."""

    def __init__(self, oracle, message):
        self.oracle = oracle
        self.clock = oracle.clock
        self.message = message
        self.fate, self.reason = "applied", None
        self.entries, self.notifications, self.counts = [], [], {}
        self.counted_scopes = set()

    def run(self):
        kind, org_id = self.message[0], self.message[1]
        if kind == "genesis":
            return
        self.org_id = org_id
        self.org = self.oracle.orgs.setdefault(org_id, new_org())
        if kind == "config":
            self.change_config()
            return
        self.user_id = self.message[2]
        self.user = self.oracle.users.get((org_id, self.user_id))
        if kind == "action":
            self.take_action()
        else:
            self.take_command()

    def count(self, name):
        self.counts[name] = self.counts.get(name, 0) + 1

    def change_config(self):
        for kind, row_id, row in self.message[3]:
            if kind == "settings":
                self.org["settings"] = {**SETTINGS, **row}
            elif row is None or row.get("status") == "archived":
                self.org[kind].pop(row_id, None)
            else:
                self.org[kind][row_id] = row

    def be_born(self):
        if self.user is None:
            self.user = new_user(self.clock, self.org["settings"]["tiers"])
            self.oracle.users[self.org_id, self.user_id] = self.user

    # Actions: sections 2, 3 and 5.

    def take_action(self):
        _, _, _, event_id, kind, occurred, data, metadata, *rest = self.message
        keep_id = bool(rest and rest[0])
        settings = self.org["settings"]
        seen = self.user["seen"] if self.user else {}
        if event_id in seen and self.clock <= seen[event_id]:
            self.fate = "duplicate"
            return
        self.occurred = self.clock if occurred is None else occurred
        check_action(self.user_id, event_id, kind, self.occurred, data, metadata)
        if self.occurred > self.clock + settings["future_tolerance_ms"]:
            raise Refused("TIMESTAMP_IN_FUTURE")
        self.be_born()
        user = self.user
        if event_id is not None:
            horizon = math.inf if keep_id else settings["dedupe_horizon_ms"]
            user["seen"][event_id] = self.clock + horizon
        self.settle()
        late = settings["late_horizon_ms"]
        if late is not None and self.occurred < self.clock - late:
            self.fate = "too_late"
            return
        counts = user["counts"]
        if kind in counts or len(counts) < 256 or self.some_campaign_names(kind):
            counts[kind] = counts.get(kind, 0) + 1
        user["lastActionAt"] = max(user["lastActionAt"] or self.occurred, self.occurred)
        self.event_id, self.kind = event_id, kind
        self.data, self.metadata = data, metadata
        for campaign, rule in self.in_order():
            if self.sees(campaign, rule):
                self.fire(campaign, rule)
        user["updatedAt"] = self.clock

    def some_campaign_names(self, kind):
        """Whether a trigger is that very type, or a condition counts it."""
        campaigns = self.org["campaign"]
        rows = [*campaigns.values(), *self.org["segment"].values()]
        rows += [r for r in self.org["rule"].values() if r["campaign_id"] in campaigns]
        return any(
            kind in [name_of(trigger) for trigger in triggers_of(row)]
            or mentions(row, f"user.counts.{kind}")
            or ("segment_id" in row and mentions(row, f"counts.{kind}"))
            for row in rows
        )

    def in_order(self):
        found = []
        for campaign in self.org["campaign"].values():
            place = (
                -campaign.get("priority", 5),
                campaign["created_at_ms"],
                campaign["campaign_id"],
            )
            if campaign.get("triggers"):
                found.append((place, campaign, None))
                continue
            for rule in self.org["rule"].values():
                if rule["campaign_id"] != campaign["campaign_id"]:
                    continue
                own = (-rule.get("priority", 5), rule["created_at_ms"], rule["rule_id"])
                found.append(((*place, *own), campaign, rule))
        found.sort(key=lambda item: item[0])
        return [(campaign, rule) for _, campaign, rule in found]

    def sees(self, campaign, rule):
        if campaign["status"] != "active":
            return False
        start, end = campaign.get("start_ms"), campaign.get("end_ms")
        if start is not None and self.occurred < start:
            return False
        if end is not None and self.occurred > end:
            return False
        if campaign.get("recurrence") and self.window(campaign) is None:
            return False
        if rule is not None and not rule.get("enabled", True):
            return False
        triggers = [
            trigger
            for trigger in triggers_of(rule or campaign)
            if matches_type(name_of(trigger), self.kind)
        ]
        if not triggers:
            return False
        segments = campaign.get("segment_ids") or []
        if segments and not any(map(self.in_segment, segments)):
            return False
        world = self.world()
        return verdict(campaign.get("conditions"), world) and any(
            verdict(trigger.get("conditions"), world) for trigger in triggers
        )

    def in_segment(self, segment_id):
        segment = self.org["segment"].get(segment_id)
        if segment is None:
            return False
        world = self.world()
        for criterion in segment.get("exclude_criteria") or []:
            if verdict([of_profile(criterion)], world):
                return False
        if segment["type"] == "static":
            return self.user_id in (segment.get("user_ids") or [])
        return verdict([of_profile(c) for c in segment.get("criteria") or []], world)

    # Commands: what a user may change about themselves.

    def take_command(self):
        body = self.message[6]
        if self.message[4] != "profile.update":
            raise Refused("UNKNOWN_COMMAND")
        check_profile_update(body)
        preferences = body.get("preferences", {})
        before = self.user or new_user(self.clock, self.org["settings"]["tiers"])
        fields = merge(before["customFields"], body.get("customFields", {}))
        if len(fields) > 100:
            raise Refused("VALIDATION_ERROR")
        self.be_born()
        self.settle()
        self.user["customFields"] = fields
        self.user["preferences"] = merge(self.user["preferences"], preferences)
        if "displayName" in body:
            self.user["displayName"] = body["displayName"]
        self.user["updatedAt"] = self.clock


def merge(old, new):
    """RFC 7396, one level: null deletes."""
    return {key: v for key, v in {**old, **new}.items() if v is not None}


def triggers_of(row):
    """Return the triggers of a campaign; a rule is its own and only one."""
    if "rule_id" in row:
        return [row]
    return row.get("triggers") or []


def name_of(trigger):
    keys = ("eventType", "triggerType", "trigger")
    return next(trigger[key] for key in keys if trigger.get(key) is not None)


def matches_type(name, kind):
    if name == "*":
        return True
    return kind.startswith(name[:-1]) if name.endswith(".*") else kind == name


def mentions(value, field):
    """Whether a field is named anywhere in a row's conditions."""
    if isinstance(value, dict):
        return any(key == field or mentions(v, field) for key, v in value.items())
    if isinstance(value, list | tuple):
        return any(mentions(item, field) for item in value)
    return value == field


def of_profile(criterion):
    """Return a segment's criterion with its fields in full: ``user.tier``."""
    for word in ("all", "any"):
        if word in criterion:
            return {word: [of_profile(part) for part in criterion[word]]}
    if "not" in criterion:
        return {"not": of_profile(criterion["not"])}
    if "field" in criterion:
        return {**criterion, "field": f"user.{criterion['field']}"}
    return {f"user.{field}": value for field, value in criterion.items()}


def public(user):
    """Return what the world sees of a user, None for None."""
    hidden = ("lots", "seen", "used", "newest_day")
    return user and {key: v for key, v in user.items() if key not in hidden}
