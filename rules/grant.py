"""Carrying out effects: from a candidate that fired to entries and a changed user.

An effect never fails an action: what cannot be done is counted, by name, in the
outcome (`amount_unresolved`, `amount_out_of_range`, `balance_limit`, `cap_unknown`,
`badge_limit`, `benefit_limit`, `custom_field_limit`).
"""

from typing import Final

from rules import wallet
from rules.amount import formula_amount
from rules.caps import CapLedger
from rules.config import DAY_MS
from rules.effect import AMOUNT_MAX, Effect, Formula
from rules.ledger import CURRENCIES, Entry
from rules.message import Action
from rules.outcome import Notification, Outcome, Place
from rules.program import Candidate, Program
from rules.state import BADGES_MAX, BENEFITS_MAX, CUSTOM_FIELDS_MAX, CapKey, User
from rules.tiers import raised_tier
from rules.value import equal

NEVER_MS: Final = 1 << 62
LIFETIME: Final = {name: f"lifetime_{name}" for name in CURRENCIES}


class Grant:
    """The effects of one action on one user. `fire` is what the program calls."""

    __slots__ = (
        "_action",
        "_counted",
        "_occurred_ms",
        "_outcome",
        "_place",
        "_program",
        "_user",
    )

    def __init__(
        self,
        program: Program,
        user: User,
        action: Action,
        occurred_ms: int,
        place: Place,
        outcome: Outcome,
    ) -> None:
        """Bind the context of one action."""
        self._program = program
        self._user = user
        self._action = action
        self._occurred_ms = occurred_ms
        self._place = place
        self._outcome = outcome
        self._counted: set[CapKey] = set()

    def fire(self, candidate: Candidate) -> None:
        """Carry out a candidate's effects, within its caps."""
        caps = None
        if candidate.caps or candidate.campaign_caps:
            caps = self._caps(candidate)
            if "count" in caps.unknown:
                self._count("cap_unknown")
                return
            if caps.left("count") == 0:
                return
        changed = False
        for effect in candidate.effects:
            kind = effect.kind
            if kind == "credit":
                changed |= self._credit(candidate, effect, caps)
            elif kind == "debit":
                changed |= self._debit(candidate, effect)
            elif kind == "badge":
                changed |= self._badge(candidate, effect)
            elif kind == "benefit":
                changed |= self._benefit(candidate, effect)
            elif kind == "notification":
                changed |= self._notify(effect)
            else:
                changed |= self._set_custom_field(effect)
        if changed and caps is not None:
            caps.count_action()

    def _caps(self, candidate: Candidate) -> CapLedger:
        window = self._program.window_of(candidate, self._occurred_ms)
        zone = self._program.zone_of(self._user.state)
        return CapLedger(
            self._user, candidate, self._occurred_ms, window, zone, self._counted
        )

    def _count(self, name: str) -> None:
        counts = self._outcome.counts
        counts[name] = counts.get(name, 0) + 1

    def _touch(self, *attributes: str) -> None:
        """Forget segment memberships that a changed attribute may change."""
        if not self._program.segment_fields.isdisjoint(attributes):
            self._user.segment_known = 0

    def _formula_amount(self, formula: Formula) -> int:
        """Return a formula's amount, 0 where nothing is to be emitted."""
        value = self._program.resolve(
            formula.field, self._user, self._action, self._occurred_ms
        )
        amount = formula_amount(formula, value)
        if amount is None:
            self._count("amount_unresolved")
            return 0
        if amount > AMOUNT_MAX:
            self._count("amount_out_of_range")
            return 0
        return amount

    def _amount(self, effect: Effect) -> int:
        amount = effect.amount
        if type(amount) is Formula:
            return self._formula_amount(amount)
        return amount or 0  # type: ignore[return-value]  # an int or None here

    def _credit(
        self, candidate: Candidate, effect: Effect, caps: CapLedger | None
    ) -> bool:
        currency = effect.currency or "points"
        amount = self._amount(effect)
        if amount > 0 and caps is not None:
            left = caps.left(currency)
            if left is not None:
                if currency in caps.unknown:
                    self._count("cap_unknown")
                    return False
                amount = min(amount, left)
        if amount <= 0:
            return False
        user = self._user
        state = user.state
        expires_at_ms = self._expiry(effect)
        balance = wallet.credit(
            user, currency, amount, expires_at_ms, state.entry_count + 1
        )
        if balance is None:
            self._count("balance_limit")
            return False
        self._enter(
            "credit", candidate, effect, currency, amount, balance, expires_at_ms
        )
        if caps is not None:
            caps.charge(currency, amount)
        program = self._program
        if program.segment_fields:
            self._touch(currency, LIFETIME[currency])
        if currency == "points" and (
            state.lifetime_points >= program.next_thresholds.get(state.tier, 0)
        ):
            self._raise_tier()
        return True

    def _raise_tier(self) -> None:
        state = self._user.state
        reached = self._program.tier_of(state.lifetime_points)
        tier = raised_tier(self._program.settings.tiers, state.tier, reached)
        if tier is not None:
            state.tier = tier
            self._touch("tier")

    def _debit(self, candidate: Candidate, effect: Effect) -> bool:
        currency = effect.currency or "points"
        user = self._user
        amount = min(self._amount(effect), wallet.balance_of(user.state, currency))
        if amount <= 0:
            return False
        balance = wallet.debit(user, currency, amount)
        self._enter("debit", candidate, effect, currency, amount, balance)
        self._touch(currency)
        return True

    def _badge(self, candidate: Candidate, effect: Effect) -> bool:
        badges = self._user.state.badges
        item = effect.item or ""
        if item in badges:
            return False
        if len(badges) >= BADGES_MAX:
            self._count("badge_limit")
            return False
        badges[item] = self._place.clock_ms
        self._enter("badge", candidate, effect, None, 0, 0)
        self._touch("badges")
        return True

    def _benefit(self, candidate: Candidate, effect: Effect) -> bool:
        benefits = self._user.state.benefits
        item = effect.item or ""
        expires_at_ms = self._expiry(effect)
        if item in benefits:
            held = benefits[item]
            held_ms = NEVER_MS if held is None else held
            if (NEVER_MS if expires_at_ms is None else expires_at_ms) <= held_ms:
                return False
        elif len(benefits) >= BENEFITS_MAX:
            self._count("benefit_limit")
            return False
        benefits[item] = expires_at_ms
        self._enter("benefit", candidate, effect, None, 0, 0, expires_at_ms)
        self._touch("benefits")
        return True

    def _notify(self, effect: Effect) -> bool:
        state = self._user.state
        state.notification_count += 1
        sequence = state.notification_count
        made = len(self._outcome.notifications)
        # The id ends in the sequence, so that a reader finds the row by the id alone.
        unique = self._place.ids.new_id(self._place.number, -1 - made)
        self._outcome.notifications.append(
            Notification(
                f"{unique[:24]}{sequence:08x}",
                sequence,
                "campaign",
                effect.title or "",
                effect.message or "",
                effect.data,
                self._place.clock_ms,
            )
        )
        return True

    def _set_custom_field(self, effect: Effect) -> bool:
        fields = self._user.state.custom_fields
        name = effect.item or ""
        if equal(fields.get(name), effect.value):
            return False
        if effect.value is None:
            del fields[name]
        elif name not in fields and len(fields) >= CUSTOM_FIELDS_MAX:
            self._count("custom_field_limit")
            return False
        else:
            fields[name] = effect.value
        self._touch("custom_fields")
        return True

    def _expiry(self, effect: Effect) -> int | None:
        days = effect.expires_in_days
        return None if days is None else self._occurred_ms + days * DAY_MS

    def _enter(
        self,
        kind: str,
        candidate: Candidate,
        effect: Effect,
        currency: str | None,
        amount: int,
        balance: int,
        expires_at_ms: int | None = None,
    ) -> None:
        place = self._place
        user = self._user
        entries = self._outcome.entries
        ordinal = len(entries)
        user.state.entry_count += 1
        entries.append(
            Entry(
                place.ids.new_id(place.number, ordinal),
                place.number,
                ordinal,
                user.org,
                user.user_id,
                user.state.entry_count,
                kind,
                currency,
                amount,
                balance,
                effect.item,
                effect.reason,
                "campaign",
                candidate.campaign_id,
                candidate.rule_id,
                candidate.campaign_version,
                self._action.event_id,
                expires_at_ms,
                self._occurred_ms,
                place.clock_ms,
            )
        )
