"""What campaigns do to a user, for tests/oracle.py: sections 7 and 11."""

import math
from fractions import Fraction

from tests.interpreter import alike, look_up, number_of
from tests.oracle_time import DAY_MS, iso, period_start, window_number

BALANCE_LIMIT = 9_007_199_254_740_991
CURRENCIES = ("points", "xp", "coins")


class Effects:
    """The part of a step that carries out effects, within their caps."""

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


def spent_first(lot):
    never = lot["expires"] is None
    return (never, 0 if never else lot["expires"], lot["sequence"])
