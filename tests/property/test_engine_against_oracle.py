"""The real fold and the oracle, step by step, on programs and actions at random.

Each rule of the machine is one message; after each the two must agree on its fate, its
entries, its notifications, what it counted and all of the user. In the end the same log
is folded again, and through the stepper in records cut elsewhere.
"""

import random

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
)

from streams.topics import MESSAGES_MAX
from tables import codec, keys
from tests.oracle import Oracle, public
from tests.partition import LOG_ID, Partition
from tests.property import random_rows as some
from tests.real_engine import RealEngine, decode

ORG = "acme"
USERS = ("ann", "bob")
CURRENCIES = ("points", "xp", "coins")
# Eight bytes, because small integers would be drawn again and again.
randoms = st.binary(min_size=8, max_size=8).map(random.Random)
GENESIS = ["genesis", LOG_ID, 1, 1, "test"]


class Pair(RuleBasedStateMachine):
    """Both engines, and the log that they have folded."""

    def __init__(self):
        super().__init__()
        self.real = RealEngine(LOG_ID)
        self.oracle = Oracle()
        self.now = some.START_MS
        self.version = 0
        self.log = []
        self.actions = []
        self.archived = set()
        self.fold(GENESIS)

    def fold(self, message):
        self.log.append((self.now, message))
        found = self.real.fold(self.now, message)
        wanted = self.oracle.fold(self.now, message)
        for name in wanted:
            assert found[name] == wanted[name], (name, found[name], wanted[name])
        for user in USERS:
            profile = self.real.profile(ORG, user)
            assert profile == public(self.oracle.users.get((ORG, user)))

    def change(self, *changes):
        # Archived is final: no later row of that campaign, or of its rules, is sent.
        changes = [c for c in changes if not self.archived & ids_of(c)]
        for kind, row_id, row in changes:
            if kind == "campaign" and row["status"] == "archived":
                self.archived.add(row_id)
        self.version += 1
        source = ["orgs", 0, self.version, 0]
        self.fold(["config", ORG, self.version, changes, source])

    @initialize(rng=randoms)
    def found_org(self, rng):
        self.change(
            ("settings", "settings", some.settings(rng)),
            ("campaign", "camp_adv", some.campaign(rng, "camp_adv", 1, advanced=True)),
            *(("campaign", i, some.campaign(rng, i, 1)) for i in some.CAMPAIGNS),
            *(("rule", i, some.rule(rng, i, "camp_adv", 1)) for i in some.RULES),
            *(("segment", i, some.segment(rng, i)) for i in some.SEGMENTS[1:]),
        )

    @rule(rng=randoms, kind=st.sampled_from(["campaign", "rules", "segment", "org"]))
    def edit(self, rng, kind):
        version = self.version + 1
        if kind == "campaign":
            campaign_id = rng.choice(some.CAMPAIGNS)
            row = some.campaign(rng, campaign_id, version)
            if some.likely(rng, 0.1):
                row["status"] = "archived"
            self.change(("campaign", campaign_id, row))
        elif kind == "rules":
            rule_id = rng.choice(some.RULES)
            row = some.rule(rng, rule_id, "camp_adv", version)
            if some.likely(rng, 0.2):
                row = None
            campaign = some.campaign(rng, "camp_adv", version, advanced=True)
            self.change(("rule", rule_id, row), ("campaign", "camp_adv", campaign))
        elif kind == "segment":
            segment_id = rng.choice(some.SEGMENTS)
            row = some.segment(rng, segment_id) if some.likely(rng, 0.8) else None
            self.change(("segment", segment_id, row))
        else:
            self.change(("settings", "settings", some.settings(rng)))

    def act(self, user, kind, data, event_id=None, age_ms=None, **more):
        occurred = None if age_ms is None else self.now - age_ms
        head = ["action", ORG, user, event_id, kind, occurred, data]
        message = [*head, more.get("metadata", {}), more.get("keep_id", False), None]
        self.actions.append(message)
        self.fold(message)

    @rule(rng=randoms, actions=st.integers(1, 20))
    def go_about(self, rng, actions):
        """Users do things; some of them late, some of them twice."""
        for _ in range(actions):
            self.now += some.wait_ms(rng)
            if self.actions and some.likely(rng, 0.1):
                self.fold(rng.choice(self.actions[-5:]))
                continue
            self.act(
                rng.choice(USERS),
                rng.choice(some.TYPES),
                some.payload(rng),
                event_id=rng.choice([None, None, "e1", "e2"]),
                age_ms=some.age_ms(rng),
                metadata=rng.choice([{}, some.payload(rng)]),
                keep_id=some.likely(rng, 0.1),
            )

    @rule(rng=randoms)
    def load_history(self, rng):
        """A user's past, in order, reaching back beyond what caps remember."""
        days = sorted(rng.sample(range(450), 12), reverse=True)
        for day in days:
            age_ms = day * some.DAY_MS
            self.act("ann", "purchase", some.payload(rng), age_ms=age_ms)

    @rule(rng=randoms)
    def act_badly(self, rng):
        self.act("ann", rng.choice(some.BAD_TYPES), {})
        self.act("ann", "login", rng.choice(some.BAD_PAYLOADS))
        self.act("bob", "login", {}, metadata=rng.choice(some.BAD_PAYLOADS))
        self.act("ann", "login", {}, age_ms=10**18)

    @precondition(lambda self: self.actions)
    @rule(rng=randoms, days=st.sampled_from([1, 7]), more_ms=st.integers(-1, 1))
    def same_at_the_edge_of_the_horizon(self, rng, days, more_ms):
        message = ["action", ORG, "ann", f"edge_{self.now}", *self.actions[-1][4:]]
        self.fold(message)
        self.now += days * some.DAY_MS + more_ms
        self.fold(message)

    @rule(rng=randoms, user=st.sampled_from(USERS))
    def update_profile(self, rng, user):
        command_id = f"cmd_{len(self.log)}"
        head = ["command", ORG, user, command_id, "profile.update", None]
        self.fold([*head, some.profile_update(rng), None, user])

    @rule()
    def restart(self):
        self.real.store_and_load()

    def teardown(self):
        check_conservation(self.real)
        for trace in (False, True):
            again = RealEngine(LOG_ID)
            for stamp, message in self.log:
                again.fold(stamp, message, trace=trace)
            assert again.entries == self.real.entries
        for records_max, messages_max in ((None, MESSAGES_MAX), (1, 1), (3, 2)):
            check_cut(self.real, self.log, records_max, messages_max)


def ids_of(change):
    _, row_id, row = change
    return {row_id, (row or {}).get("campaign_id")}


def check_conservation(engine):
    """Check that balance = credits - debits = last balanceAfter, never below 0."""
    ids = [entry.entry_id for entry in engine.entries]
    assert len(set(ids)) == len(ids)
    for (org, user_id), user in engine.users.items():
        mine = [e for e in engine.entries if (e.org, e.user) == (org, user_id)]
        assert [e.sequence for e in mine] == list(range(1, len(mine) + 1))
        for currency in CURRENCIES:
            balance = 0
            for entry in mine:
                if entry.currency == currency:
                    sign = {"credit": 1, "debit": -1}[entry.kind]
                    assert entry.amount > 0
                    balance += sign * entry.amount
                    assert balance == entry.balance_after >= 0
            assert balance == getattr(user.state, currency)
            lots = user.rows.lots(currency)
            assert sum(lot.remaining for lot in lots) <= balance


def check_cut(engine, log, records_max, messages_max):
    """Fold the log through the stepper, cut otherwise: the same rows come of it."""
    partition = Partition()
    partition.now_ms = max(stamp for stamp, _ in log)
    run = []
    for place, (stamp, message) in enumerate(log[1:], 1):
        run.append(decode(message))
        following = log[place + 1] if place + 1 < len(log) else (None, None)
        if following[0] != stamp or len(run) == messages_max:
            partition.append(run, stamp)
            run = []
    partition.run(records_max)
    for (org, user_id), user in engine.users.items():
        stored = partition.store.get(keys.user(org, user_id))
        assert codec.states.decode(stored) == user.state
    prefix = keys.entries(keys.user_part(ORG, "ann"))[:1]
    rows = partition.store.scan(prefix, keys.prefix_end(prefix))
    entries = [entry for _, value in rows for entry in codec.entries.decode(value)]
    by_id = sorted(entries, key=lambda entry: (entry.number, entry.ordinal))
    assert msgspec.to_builtins(by_id) == msgspec.to_builtins(engine.entries)


@given(rng=randoms)
@settings(max_examples=150, deadline=None)
def test_campaigns_of_one_action_see_what_those_before_them_did(rng):
    """Many campaigns, two segments: who is in them changes in mid-action."""
    names = [f"camp_{number}" for number in range(8)]
    first, second = rng.sample(some.SEGMENTS, 2)
    real, oracle = RealEngine(), Oracle()
    changes = [("settings", "settings", some.settings(rng) | {"late_horizon_ms": None})]
    changes += [("segment", i, some.simple_segment(rng, i)) for i in (first, second)]
    for name in names:
        row = some.campaign(rng, name, 1)
        row |= {"conditions": None, "limits": None, "triggers": [{"trigger": "*"}]}
        row["segment_ids"] = rng.choice([[], [first], [second], [first]])
        changes.append(("campaign", name, row))
    messages = [["config", ORG, 1, changes, ["orgs", 0, 1, 0]]]
    for place in range(24):
        head = ["action", ORG, f"user_{place % 6}", None, "purchase", None]
        messages.append([*head, {"amount": rng.choice([1, 5, 10])}, {}])
    now = some.START_MS
    for message in messages:
        now += rng.choice([0, 1, some.DAY_MS])
        found, wanted = real.fold(now, message), oracle.fold(now, message)
        assert found["entries"] == wanted["entries"]
    for place in range(6):
        user_id = f"user_{place}"
        user = public(oracle.users[ORG, user_id])
        assert real.profile(ORG, user_id) == user


TestEngineAgainstOracle = Pair.TestCase
TestEngineAgainstOracle.settings = settings(
    max_examples=120,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
