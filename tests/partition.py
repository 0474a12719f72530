"""A partition in memory for tests: records in, steps folded, what they made out."""

import msgspec

from rules.config import Campaign, OrgSettings, row_to_json
from rules.message import Action, ConfigChange, Genesis, Source
from streams.log import Record
from streams.messages import encode_envelope
from streams.publish import publications
from streams.stepper import Stepper
from streams.topics import LEDGER
from tables import codec, keys
from tables.memory import MemoryStore

LOG_ID = "0123456789abcdef" * 2
TZDATA = "test"
T0 = 1_700_000_000_000
GENESIS = Genesis(LOG_ID, 1, 1, TZDATA)


def campaign_row(campaign_id="camp_1", **changes):
    """Return an active simple campaign: 10 points for each purchase."""
    fields = {
        "campaign_id": campaign_id,
        "name": campaign_id,
        "type": "Reward",
        "mode": "always-on",
        "status": "active",
        "simplified_mode": True,
        "triggers": [{"eventType": "purchase", "conditions": {}}],
        "effects": [{"type": "add_points", "config": {"amount": 10}}],
        "created_at_ms": T0,
        "updated_at_ms": T0,
    }
    return row_to_json(Campaign(**(fields | changes)))


def config_change(version, changes, org="acme", number=None):
    """Return a broadcast of config rows as the orgs partition sends it."""
    source = Source("orgs", 0, version if number is None else number, 0)
    return ConfigChange(org, version, changes, source)


def org_created(org="acme", campaigns=("camp_1",), **settings):
    """Return version 1 of an org: settings and campaigns."""
    rows = [("settings", "settings", row_to_json(OrgSettings(**settings)))]
    rows += [("campaign", name, campaign_row(name)) for name in campaigns]
    return config_change(1, rows, org)


def purchase(user="alice", event_id=None, org="acme", **fields):
    """Return an action that the default campaign rewards."""
    base = {"occurred_at_ms": None, "data": {}, "metadata": {}}
    return Action(org, user, event_id, "purchase", **(base | fields))


class Partition:
    """One partition: a growing log, a store, and a stepper over them."""

    def __init__(self, topic="users", store=None):
        self.topic = topic
        self.store = store or MemoryStore()
        self.now_ms = T0
        self.records = []
        self.published = []
        self.append([GENESIS])
        self.stepper = self.open()

    def open(self):
        """Return a fresh stepper, as a new assignment would have it."""
        return Stepper(self.store, self.topic, 0, TZDATA, lambda: self.now_ms)

    def append(self, messages, at_ms=None):
        """Append one envelope; return its offset."""
        return self.append_value(encode_envelope(messages), at_ms)

    def append_value(self, value, at_ms=None, key=None):
        """Append any bytes; return their offset."""
        offset = len(self.records)
        stamp_ms = self.now_ms if at_ms is None else at_ms
        self.records.append(Record(offset, stamp_ms, key, value))
        return offset

    def run(self, records_max=None):
        """Fold, publish and store all that is in the log; return the stepper's row."""
        while records := self.records[self.stepper.next_offset :][:records_max]:
            step = self.stepper.step(records)
            for _point, appends in publications(step):
                self.published += appends
            self.stepper.store(step)
        return self.stepper.row


def state_of(partition, user="alice", org="acme"):
    """Return a user's state, or None."""
    value = partition.store.get(keys.user(org, user))
    return None if value is None else codec.states.decode(value)


def counters_of(partition):
    """Return how often what was counted happened."""
    value = partition.store.get(keys.COUNTERS)
    return {} if value is None else codec.counters.decode(value)


def dead_letters(partition):
    """Return the dead letters that were published."""
    return [
        msgspec.json.decode(append.value)
        for append in partition.published
        if append.topic == "dead"
    ]


def ledger_entries(partition):
    """Return the rows of all ledger records that were published."""
    rows = []
    for append in partition.published:
        if append.topic == LEDGER:
            version, header, entries = msgspec.json.decode(append.value)
            assert version == 1
            assert header["topic"] == "users"
            rows += entries
    return rows


def stored_entries(partition, user="alice", org="acme"):
    """Return a user's entries, newest first."""
    prefix = keys.entries(keys.user_part(org, user))
    rows = partition.store.scan(prefix, keys.prefix_end(prefix))
    return [
        entry for _key, value in rows for entry in reversed(codec.entries.decode(value))
    ]


def result_of(partition, command_id):
    """Return the answer to a command, or None."""
    value = partition.store.get(keys.result(command_id))
    return None if value is None else codec.results.decode(value)
