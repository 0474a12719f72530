"""An org in memory for tests, and bodies of the commands that change it."""

import itertools
from decimal import Decimal

import msgspec

from rules.admin import decide
from rules.config import apply_change, row_from_json
from rules.ledger import IdSpace
from rules.message import Command
from rules.outcome import Place

encode = msgspec.json.Encoder(decimal_format="number").encode
decode = msgspec.json.Decoder(float_hook=Decimal).decode
IDS = IdSpace("0" * 32, "orgs", 0)
POINTS = {"type": "add_points", "config": {"amount": 10}}
SIMPLE = {
    "name": "Votes",
    "type": "Reward",
    "mode": "always-on",
    "triggers": [{"eventType": "vote"}],
    "effects": [POINTS],
}
ADVANCED = {"name": "Container", "type": "Reward", "mode": "always-on"}
RULE = {"trigger": "vote", "effects": [POINTS]}
SEGMENT = {
    "name": "VIP",
    "type": "dynamic",
    "criteria": [{"field": "tier", "operator": "equals", "value": "gold"}],
}
KEY = {"keyId": "pk_1", "secretSha256": "a" * 64, "kind": "api"}
JWT_KEY = {"kid": "k1", "algorithm": "HS256", "sealedSecret": "c2VhbGVk"}
PEM = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n"


class Org:
    """An org in memory, folded as the orgs partition folds it."""

    def __init__(self):
        self.config = None
        self.stored = {}
        self.numbers = itertools.count()

    def row(self, kind, row_id):
        value = self.stored.get((kind, row_id))
        return None if value is None else row_from_json(kind, decode(value))

    def rows(self, kind):
        return [self.row(*key) for key in self.stored if key[0] == kind]

    def send(self, name, body=None, target=None):
        number = next(self.numbers)
        command = Command("acme", None, f"cmd_{number}", name, target, body or {})
        before = encode(self.config)
        decision = decide(self, command, Place(IDS, number, 1_000 + number))
        assert encode(self.config) == before, "decide changed the config"
        assert decision.result.command_id == f"cmd_{number}"
        if decision.result.status >= 400:
            assert decision.result.error == decision.result.details[0]
            assert (decision.changes, decision.private) == ([], [])
        self.keep(decision)
        return decision

    def keep(self, decision):
        if decision.changes:
            version = 1 if self.config is None else self.config.version + 1
            self.config = apply_change(self.config, "acme", version, decision.changes)
        for kind, row_id, value in decision.changes + decision.private:
            if value is None:
                del self.stored[kind, row_id]
            else:
                self.stored[kind, row_id] = encode(value)

    def made(self, name, body, target=None):
        decision = self.send(name, body, target)
        assert decision.result.status == 201, decision.result
        return decision.result.body

    def campaign(self, **changes):
        return self.made("campaign.create", {**SIMPLE, **changes})["campaign_id"]

    def container(self, **changes):
        return self.made("campaign.create", {**ADVANCED, **changes})["campaign_id"]

    def refusal(self, name, body=None, target=None):
        result = self.send(name, body, target).result
        assert result.status >= 400, result
        return result.status, result.error.code, result.error.field
