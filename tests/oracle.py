"""A second engine, as plain as can be: dicts, ints and fractions; for tests only.

It folds the messages of one partition as semantics.md says and knows nothing of how the
real engine does it: nothing of rules/, tables/ or streams/ is imported. A message is
the JSON array of rules/message.py, ``["action", org, user, event_id, type, ...]``, with
numbers as int or Decimal; an entry is a dict with the field names of rules/ledger.py.
"""

import json
import math
import re
from decimal import Decimal
from fractions import Fraction

from tests.interpreter import alike, look_up, number_of, verdict
from tests.oracle_time import DAY_MS, is_zone, iso, period_start, window_number

BALANCE_LIMIT = 9_007_199_254_740_991
YEAR_1_MS, YEAR_10000_MS = -719_162 * DAY_MS, 2_932_897 * DAY_MS
CURRENCIES = ("points", "xp", "coins")
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
DERIVED = [
    "badge.awarded",
    "tier.changed",
    "challenge.completed",
    "streak.milestone",
    "competition.won",
    "product.redeemed",
    "audience.entered",
    "audience.left",
]


class Refused(Exception):
    """A message that changes nothing; the argument is the code."""


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


class Step:
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

    def window(self, campaign):
        """Number of the recurring window an action falls into, None: between two."""
        zone = self.org["settings"]["timezone"] or "UTC"
        recurrence, start = campaign["recurrence"], campaign["start_ms"]
        return window_number(recurrence, start, self.occurred, zone)

    def zone(self):
        own = self.user["preferences"].get("timezone")
        return own or self.org["settings"]["timezone"] or "UTC"

    def world(self):
        """Return all that a condition can see, as tests/interpreter.py wants it."""
        user = self.user
        action = {
            "type": self.kind,
            "occurredAt": iso(self.occurred),
            "eventId": self.event_id,
            "userId": self.user_id,
        }
        profile = {
            **user["balance"],
            "userId": self.user_id,
            "orgId": self.org_id,
            "lifetime": user["lifetime"],
            "tier": user["tier"],
            "badges": list(user["badges"]),
            "benefits": [
                benefit
                for benefit, expires in user["benefits"].items()
                if expires is None or expires > self.occurred
            ],
            "displayName": user["displayName"],
            "preferences": user["preferences"],
            "customFields": user["customFields"],
            "createdAt": iso(user["createdAt"]),
            "updatedAt": iso(user["updatedAt"]),
            "lastActionAt": iso(user["lastActionAt"]),
        }
        return {
            "data": self.data,
            "metadata": self.metadata,
            "action": action,
            "user": profile,
            "counts": user["counts"],
        }

    # Effects: sections 7 and 11.

    def fire(self, campaign, rule):
        source = rule or campaign
        self.caps = []
        for row, row_id in ((campaign, "campaign_id"), (rule, "rule_id")):
            if row is not None and row.get("limits"):
                self.caps.append(self.scope_of(campaign, row[row_id], row["limits"]))
        if self.is_used_up():
            return
        self.origin = {
            "source": "campaign",
            "campaign_id": campaign["campaign_id"],
            "rule_id": rule and rule["rule_id"],
            "campaign_version": campaign.get("version", 1),
            "event_id": self.event_id,
        }
        changed = [self.carry_out(effect) for effect in source["effects"]]
        if not any(changed):
            return
        for scope, limits in self.caps:
            if "perUser" in limits and scope not in self.counted_scopes:
                self.counted_scopes.add(scope)
                self.use_cap(scope, "count", limits["perUser"]["period"], 1)

    def is_used_up(self):
        """Whether a cap on the count of actions, or not knowing it, stops this one."""
        counters = {}
        for scope, limits in self.caps:
            if "perUser" in limits and scope not in self.counted_scopes:
                key = self.cap_key(scope, "count", limits["perUser"]["period"])
                counters[key] = limits["perUser"]["count"]
        if None in counters:
            self.count("cap_unknown")
            return True
        used = self.user["used"]
        return any(used.get(key, 0) >= most for key, most in counters.items())

    def scope_of(self, campaign, row_id, limits):
        if campaign.get("recurrence"):
            return (row_id, self.window(campaign)), limits
        return (row_id, None), limits

    def cap_key(self, scope, measure, period):
        """Name a counter; None if it is one that was dropped."""
        first = period_start(self.occurred, self.zone(), period)
        newest = self.user["newest_day"]
        if first is not None and newest is not None and newest - first >= 400:
            return None
        return (scope, measure, period, first)

    def use_cap(self, scope, measure, period, amount):
        key = (scope, measure, period, period_start(self.occurred, self.zone(), period))
        used = self.user["used"]
        used[key] = used.get(key, 0) + amount
        days = [self.user["newest_day"], key[3]]
        self.user["newest_day"] = max((d for d in days if d is not None), default=None)

    def carry_out(self, effect):
        """Do one effect; return whether it changed something."""
        config = {**effect, **(effect.get("params") or {})}
        config.update(effect.get("config") or {})
        verb, _, what = effect["type"].partition("_")
        if what in CURRENCIES:
            take = self.debit if verb == "deduct" else self.credit
            return take(what, self.amount_of(config["amount"]), config)
        if what == "badge":
            return self.award_badge(config["badgeId"])
        if what == "benefit":
            return self.unlock_benefit(config["benefitId"], self.expiry(config))
        if what == "notification":
            self.user["notifications"] += 1
            told = {key: config.get(key) for key in ("title", "message", "data")}
            self.notifications.append(told)
            return True
        return self.set_custom_field(config["field"], config["value"])

    def amount_of(self, amount):
        if not isinstance(amount, dict):
            return amount
        value = number_of(look_up(amount["field"], self.world()))
        if value is None:
            self.count("amount_unresolved")
            return 0
        exact = value * Fraction(amount.get("multiply") or 1)
        rounding = amount.get("round") or "floor"
        if rounding == "floor":
            whole = math.floor(exact)
        elif rounding == "ceil":
            whole = math.ceil(exact)
        else:
            half_up = math.floor(abs(exact) + Fraction(1, 2))
            whole = half_up if exact > 0 else -half_up
        if amount.get("min") is not None:
            whole = max(whole, amount["min"])
        if amount.get("max") is not None:
            whole = min(whole, amount["max"])
        if whole > 1_000_000_000:
            self.count("amount_out_of_range")
            return 0
        return max(whole, 0)

    def expiry(self, config):
        days = config.get("expiresInDays")
        return None if days is None else self.occurred + days * DAY_MS

    def credit(self, currency, amount, config):
        if amount == 0:
            return False
        charged = []
        for scope, limits in self.caps:
            cap = limits.get("perUserAmount")
            if cap and cap["currency"] == currency:
                key = self.cap_key(scope, currency, cap["period"])
                if key is None:
                    self.count("cap_unknown")
                    return False
                amount = min(amount, cap["amount"] - self.user["used"].get(key, 0))
                charged.append((scope, currency, cap["period"]))
        if amount <= 0:
            return False
        user = self.user
        if user["balance"][currency] + amount > BALANCE_LIMIT:
            self.count("balance_limit")
            return False
        user["balance"][currency] += amount
        user["lifetime"][currency] += amount
        for cap in charged:
            self.use_cap(*cap, amount)
        expires = self.expiry(config)
        self.enter(
            "credit",
            currency,
            amount,
            reason=config.get("reason"),
            expires_at_ms=expires,
        )
        lot = {"currency": currency, "expires": expires, "left": amount}
        user["lots"].append({**lot, "sequence": user["entries"]})
        if currency == "points":
            self.raise_tier()
        return True

    def raise_tier(self):
        tiers = self.org["settings"]["tiers"]
        names = [tier["name"] for tier in tiers]
        reached = max(
            place
            for place, tier in enumerate(tiers)
            if tier["threshold"] <= self.user["lifetime"]["points"]
        )
        held = self.user["tier"]
        if held not in names or names.index(held) < reached:
            self.user["tier"] = names[reached]

    def debit(self, currency, amount, config):
        user = self.user
        amount = min(amount, user["balance"][currency])
        if amount == 0:
            return False
        left = amount
        for lot in sorted(user["lots"], key=spent_first):
            if lot["currency"] == currency:
                taken = min(left, lot["left"])
                lot["left"] -= taken
                left -= taken
        user["lots"] = [lot for lot in user["lots"] if lot["left"]]
        user["balance"][currency] -= amount
        self.enter("debit", currency, amount, reason=config.get("reason"))
        return True

    def award_badge(self, badge):
        badges = self.user["badges"]
        if badge in badges:
            return False
        if len(badges) == 1_000:
            self.count("badge_limit")
            return False
        badges[badge] = self.clock
        self.enter("badge", None, 0, item=badge)
        return True

    def unlock_benefit(self, benefit, expires):
        benefits = self.user["benefits"]
        if benefit in benefits:
            held = benefits[benefit]
            if held is None or (expires is not None and expires <= held):
                return False
        elif len(benefits) == 1_000:
            self.count("benefit_limit")
            return False
        benefits[benefit] = expires
        self.enter("benefit", None, 0, item=benefit, expires_at_ms=expires)
        return True

    def set_custom_field(self, field, value):
        fields = self.user["customFields"]
        if alike(fields.get(field), value):
            return False
        if value is None:
            del fields[field]
        elif field not in fields and len(fields) == 100:
            self.count("custom_field_limit")
            return False
        else:
            fields[field] = value
        return True

    def settle(self):
        """Debit what is due by now, soonest first (section 11)."""
        user = self.user
        due = [
            lot
            for lot in sorted(user["lots"], key=spent_first)
            if lot["expires"] is not None and lot["expires"] <= self.clock
        ]
        user["lots"] = [lot for lot in user["lots"] if lot not in due]
        for lot in due:
            user["balance"][lot["currency"]] -= lot["left"]
            self.origin = {"source": "expiry", "event_id": None}
            self.origin |= dict.fromkeys(("campaign_id", "rule_id", "campaign_version"))
            self.enter(
                "debit",
                lot["currency"],
                lot["left"],
                reason="expired",
                occurred_at_ms=lot["expires"],
            )

    def enter(self, kind, currency, amount, **more):
        self.user["entries"] += 1
        entry = {
            "number": self.oracle.number,
            "ordinal": len(self.entries),
            "org": self.org_id,
            "user": self.user_id,
            "sequence": self.user["entries"],
            "kind": kind,
            "currency": currency,
            "amount": amount,
            "balance_after": self.user["balance"][currency] if currency else 0,
            "item": None,
            "reason": None,
            "expires_at_ms": None,
            "created_at_ms": self.clock,
            **self.origin,
        }
        if "occurred_at_ms" not in more:
            entry["occurred_at_ms"] = self.occurred
        self.entries.append(entry | more)

    # Commands: what a user may change about themselves.

    def take_command(self):
        body = self.message[6]
        if self.message[4] != "profile.update":
            raise Refused("UNKNOWN_COMMAND")
        if not good_profile(body):
            raise Refused("VALIDATION_ERROR")
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


def spent_first(lot):
    never = lot["expires"] is None
    return (never, 0 if never else lot["expires"], lot["sequence"])


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


def check_action(user_id, event_id, kind, occurred, data, metadata):
    """Section 14; raise Refused for what may not be."""
    good = (
        good_text(user_id, 128)
        and good_text(kind, 128)
        and "," not in user_id + kind
        and kind not in DERIVED
        and YEAR_1_MS <= occurred < YEAR_10000_MS
        and (event_id is None or good_text(event_id, 255))
    )
    for payload in (data, metadata):
        text = json.dumps(payload, default=str, separators=(",", ":"))
        good = good and len(text) <= 32 * 1024
        good = good and depth_of(payload) <= 16 and numbers_fit(payload)
    if not good:
        raise Refused("VALIDATION_ERROR")


def good_profile(body):
    name = body.get("displayName")
    zone = body.get("preferences", {}).get("timezone")
    return (
        bool(body)
        and set(body) <= {"displayName", "preferences", "customFields"}
        and (name is None or isinstance(name, str))
        and (zone is None or is_zone(zone))
        and all(
            re.fullmatch("[A-Za-z0-9_.-]{1,64}", field)
            for field in body.get("customFields", {})
        )
    )


def good_text(text, most):
    control = any(ord(char) < 32 or 127 <= ord(char) < 160 for char in text)
    return 1 <= len(text.encode()) <= most and not control


def depth_of(value):
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max(map(depth_of, inner), default=0)
    return 0


def numbers_fit(value):
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return all(map(numbers_fit, inner))
    if number_of(value) in (None, 0):
        return True
    digits = "".join(map(str, Decimal(value).as_tuple().digits)).strip("0")
    size = abs(Fraction(value))
    return len(digits) <= 34 and Fraction(1, 10**30) <= size <= 10**30


def public(user):
    """Return what the world sees of a user, None for None."""
    hidden = ("lots", "seen", "used", "newest_day")
    return user and {key: v for key, v in user.items() if key not in hidden}
