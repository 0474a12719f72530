"""The real fold and the oracle, step by step, on programs and actions at random.

Each rule of the machine is one message; after each the two must agree on its fate, its
entries, its notifications, what it counted and all of the user. In the end the same log
is folded again, and through the stepper in records cut elsewhere.
"""

import msgspec
from hypothesis import HealthCheck, settings
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
from tests.property import strategies as some
from tests.real_engine import RealEngine, decode

ORG = "acme"
USERS = ("ann", "bob")
CURRENCIES = ("points", "xp", "coins")
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

    @initialize(
        settings=some.settings(),
        campaigns=st.tuples(
            *(some.campaigns(f"camp_{n}", 1) for n in (1, 2, 3)),
            some.campaigns("camp_adv", 1, advanced=True),
        ),
        rules=st.tuples(*(some.rules(f"rule_{n}", "camp_adv", 1) for n in (1, 2))),
        segments=st.tuples(*(some.segments(f"seg_{n}") for n in (1, 2))),
    )
    def found_org(self, settings, campaigns, rules, segments):
        self.change(
            ("settings", "settings", settings),
            *(("campaign", row["campaign_id"], row) for row in campaigns),
            *(("rule", row["rule_id"], row) for row in rules),
            *(("segment", row["segment_id"], row) for row in segments),
        )

    @rule(data=st.data(), kind=st.sampled_from(["campaign", "rule", "segment", "org"]))
    def edit(self, data, kind):
        version = self.version + 1
        if kind == "campaign":
            campaign_id = data.draw(st.sampled_from(["camp_1", "camp_2", "camp_3"]))
            row = data.draw(some.campaigns(campaign_id, version))
            self.change(("campaign", campaign_id, row))
        elif kind == "rule":
            rule_id = data.draw(st.sampled_from(["rule_1", "rule_2", "rule_3"]))
            campaign = data.draw(some.campaigns("camp_adv", version, advanced=True))
            row = data.draw(some.rules(rule_id, "camp_adv", version))
            self.change(("rule", rule_id, row), ("campaign", "camp_adv", campaign))
        elif kind == "segment":
            segment_id = data.draw(st.sampled_from(some.SEGMENTS))
            row = data.draw(st.one_of(st.none(), some.segments(segment_id)))
            self.change(("segment", segment_id, row))
        else:
            self.change(("settings", "settings", data.draw(some.settings())))

    @rule(rule_id=st.sampled_from(["rule_1", "rule_2", "rule_3"]))
    def delete_rule(self, rule_id):
        self.change(("rule", rule_id, None))

    def act(self, user, kind, data, event_id=None, age_ms=None, **more):
        occurred = None if age_ms is None else self.now - age_ms
        head = ["action", ORG, user, event_id, kind, occurred, data]
        message = [*head, more.get("metadata", {}), more.get("keep_id", False), None]
        self.actions.append(message)
        self.fold(message)

    @rule(
        actions=st.lists(
            st.tuples(
                st.sampled_from(USERS),
                st.sampled_from(some.TYPES),
                st.sampled_from([1, 5, 10, 60]),
                some.waits_ms,
            ),
            min_size=1,
            max_size=10,
        )
    )
    def go_about(self, actions):
        for user, kind, amount, wait_ms in actions:
            self.now += wait_ms
            self.act(user, kind, {"amount": amount})

    @rule(
        user=st.sampled_from(USERS),
        kind=st.sampled_from(some.TYPES),
        event_id=st.sampled_from([None, None, "e1", "e2", "e3"]),
        age_ms=st.one_of(st.none(), some.ages_ms),
        data=some.payloads,
        metadata=st.one_of(st.just({}), some.payloads),
        keep_id=st.booleans(),
        times=st.sampled_from([1, 1, 2, 4]),
    )
    def act_in_all_ways(self, user, kind, times, **more):
        for _ in range(times):
            self.act(user, kind, **more)

    @rule(days=st.lists(st.integers(0, 60), min_size=2, max_size=8))
    def load_history(self, days):
        for day in days:
            self.act("ann", "purchase", {"amount": day}, age_ms=day * some.DAY_MS * 10)

    @rule(kind=some.bad_types, data=some.bad_payloads)
    def act_badly(self, kind, data):
        self.act("ann", kind, {})
        self.act("ann", "login", data)
        self.act("bob", "login", {}, metadata=data)

    @precondition(lambda self: self.actions)
    @rule(place=st.integers(0, 50), wait_ms=some.waits_ms)
    def same_again(self, place, wait_ms):
        self.now += wait_ms
        self.fold(self.actions[-1 - place % len(self.actions)])

    @rule(user=st.sampled_from(USERS), body=some.profile_updates)
    def update_profile(self, user, body):
        command_id = f"cmd_{len(self.log)}"
        head = ["command", ORG, user, command_id, "profile.update", None]
        self.fold([*head, body, None, user])

    @rule(wait_ms=some.waits_ms)
    def restart(self, wait_ms):
        self.now += wait_ms
        self.real.store_and_load()

    def teardown(self):
        check_conservation(self.real)
        again = RealEngine(LOG_ID)
        for stamp, message in self.log:
            again.fold(stamp, message)
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
    entries = [codec.entries.decode(value) for _, value in rows]
    by_id = sorted(entries, key=lambda entry: (entry.number, entry.ordinal))
    assert msgspec.to_builtins(by_id) == msgspec.to_builtins(engine.entries)


TestEngineAgainstOracle = Pair.TestCase
TestEngineAgainstOracle.settings = settings(
    max_examples=80,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
