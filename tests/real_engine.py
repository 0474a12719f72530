"""The real fold behind the face of tests/oracle.py, so that the two can be compared.

Messages go through JSON text, as they do on the log; rows are in memory.
"""

from decimal import Decimal

import msgspec

from rules.apply import apply, new_user
from rules.config import OrgConfig, OrgSettings, apply_change
from rules.ledger import IdSpace
from rules.message import ConfigChange, Genesis, Message
from rules.outcome import Place
from rules.program import Program
from rules.state import User, UserState
from tests.memory_rows import MemoryRows

_encode = msgspec.json.Encoder(decimal_format="number").encode
_decode = msgspec.json.Decoder(Message, float_hook=Decimal).decode
_decode_state = msgspec.json.Decoder(UserState, float_hook=Decimal).decode


def decode(message):
    """Return the message of a JSON value, by way of its text."""
    return _decode(_encode(message))


class RealEngine:
    """One partition, folded by rules.apply."""

    def __init__(self, log_id="f" * 32):
        self.ids = IdSpace(log_id, "users", 0)
        self.clock = 0
        self.number = 0
        self.configs = {}
        self.programs = {}
        self.users = {}
        self.entries = []

    def fold(self, stamp_ms, message, trace=False):
        """Fold one message; return what tests/oracle.py returns, and the entry ids."""
        self.clock = max(self.clock, stamp_ms)
        place = Place(self.ids, self.number, self.clock)
        self.number += 1
        message = decode(message)
        seen = {"fate": "applied", "reason": None, "entries": [], "ids": []}
        seen |= {"notifications": [], "counts": {}, "trace": None}
        if isinstance(message, Genesis):
            return seen
        if isinstance(message, ConfigChange):
            self._change_config(message)
            return seen
        outcome = self._apply(message, place, trace)
        self.entries += outcome.entries
        refusal = outcome.rejection or (outcome.result and outcome.result.error)
        for entry in outcome.entries:
            fields = msgspec.structs.asdict(entry)
            seen["ids"].append(fields.pop("entry_id"))
            seen["entries"].append(fields)
        for told in outcome.notifications:
            shown = {"title": told.title, "message": told.message, "data": told.data}
            seen["notifications"].append(shown)
        seen |= {"fate": outcome.fate, "reason": refusal.code if refusal else None}
        return seen | {"counts": outcome.counts, "trace": outcome.trace}

    def _change_config(self, change):
        config = apply_change(
            self.configs.get(change.org), change.org, change.version, change.changes
        )
        self.configs[change.org] = config
        self.programs[change.org] = Program(config, self.programs.get(change.org))

    def _program(self, org):
        if org not in self.programs:
            self.programs[org] = Program(OrgConfig(org, 0, OrgSettings(), {}, {}, {}))
        return self.programs[org]

    def _apply(self, message, place, trace):
        program = self._program(message.org)
        who = (message.org, message.user)
        user = self.users.get(who)
        if user is None:
            user = new_user(program, *who, place.clock_ms, MemoryRows())
        before = (_encode(user.state), user.rows.copy())
        outcome = apply(program, user, message, place, trace=trace)
        if outcome.changed:
            self.users[who] = user
        else:
            after = (_encode(user.state), user.rows)
            assert before[0] == after[0], "a message that changed nothing did"
            assert vars(before[1]) == vars(after[1]), "it changed a row"
        return outcome

    def store_and_load(self):
        """Let every user go through its stored form, as after a restart."""
        for who, user in self.users.items():
            state = _decode_state(_encode(user.state))
            self.users[who] = User(*who, state, user.rows)

    def profile(self, org, user_id):
        """Return a user as tests/oracle.py shows it, None where unknown."""
        user = self.users.get((org, user_id))
        if user is None:
            return None
        return profile_of(user.state)


def profile_of(state):
    """Return a stored user as tests/oracle.py shows it."""
    return {
        "createdAt": state.created_at_ms,
        "updatedAt": state.updated_at_ms,
        "lastActionAt": state.last_action_at_ms,
        "balance": _wallets(state, ""),
        "lifetime": _wallets(state, "lifetime_"),
        "tier": state.tier,
        "badges": state.badges,
        "benefits": state.benefits,
        "counts": state.counts,
        "preferences": state.preferences,
        "customFields": state.custom_fields,
        "displayName": state.display_name,
        "entries": state.entry_count,
        "notifications": state.notification_count,
    }


def _wallets(state, prefix):
    return {c: getattr(state, prefix + c) for c in ("points", "xp", "coins")}
