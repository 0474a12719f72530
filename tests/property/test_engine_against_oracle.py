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

campaign_ids = st.sampled_from(["camp_1", "camp_2", "camp_3"])
rule_ids = st.sampled_from(["rule_1", "rule_2", "rule_3"])


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

    @rule(data=st.data(), campaign_id=campaign_ids)
    def edit_campaign(self, data, campaign_id):
        row = data.draw(some.campaigns(campaign_id, self.version + 1))
        self.change(("campaign", campaign_id, row))

    @rule(data=st.data(), rule_id=rule_ids, goes=st.sampled_from([0, 0, 0, 1]))
    def edit_rules(self, data, rule_id, goes):
        version = self.version + 1
        campaign = data.draw(some.campaigns("camp_adv", version, advanced=True))
        row = data.draw(some.rules(rule_id, "camp_adv", version))
        self.change(
            ("rule", rule_id, None if goes else row), ("campaign", "camp_adv", campaign)
        )

    @rule(data=st.data(), segment_id=st.sampled_from(some.SEGMENTS))
    def edit_segment(self, data, segment_id):
        row = data.draw(st.one_of(st.none(), some.segments(segment_id)))
        self.change(("segment", segment_id, row))

    @rule(row=some.settings())
    def edit_settings(self, row):
        self.change(("settings", "settings", row))

    @rule(wait_ms=some.waits_ms)
    def wait(self, wait_ms):
        self.now += wait_ms

    def act(self, user, kind, event_id, age_ms, data, metadata, keep_id=False):
        occurred = None if age_ms is None else self.now - age_ms
        head = ["action", ORG, user, event_id, kind, occurred]
        message = [*head, data, metadata, keep_id, None]
        self.actions.append(message)
        self.fold(message)

    @rule(
        user=st.sampled_from(USERS),
        kind=st.sampled_from(some.TYPES),
        event_id=st.sampled_from([None, None, "e1", "e2", "e3"]),
        age_ms=st.one_of(st.none(), some.ages_ms),
        data=some.payloads,
        metadata=st.one_of(st.just({}), some.payloads),
        keep_id=st.booleans(),
        times=st.sampled_from([1, 1, 1, 2, 4]),
    )
    def actions_of_all_kinds(self, user, kind, times, **more):
        for _ in range(times):
            self.act(user, kind, **more)

    @rule(
        user=st.sampled_from(USERS),
        kind=st.sampled_from(["purchase", "login"]),
        amount=st.sampled_from([1, 5, 10, 60]),
        wait_ms=some.waits_ms,
    )
    def plain_action(self, user, kind, amount, wait_ms):
        self.now += wait_ms
        self.act(user, kind, None, None, {"amount": amount}, {})

    @rule(
        kind=st.sampled_from(
            ["badge.awarded", "a,b", "", "x" * 129, "tab\t", "\u00e9" * 65, "\u0085"]
        )
    )
    def action_that_is_not_allowed(self, kind):
        self.act("ann", kind, None, None, {}, {})

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

    @rule()
    def restart(self):
        self.real.store_and_load()

    def teardown(self):
        check_conservation(self.real)
        again = RealEngine(LOG_ID)
        for stamp, message in self.log:
            again.fold(stamp, message)
        assert again.entries == self.real.entries
        for records_max, messages_max in ((None, MESSAGES_MAX), (1, 1), (3, 2)):
            check_cut(self.real, self.log, records_max, messages_max)


def check_conservation(engine):
    """Check section 11: balance = credits - debits = last balanceAfter, never below 0."""
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
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
