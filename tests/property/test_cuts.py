"""How a log is cut decides nothing: neither into records, nor into steps.

The same messages, with the same stamps, are packed into envelopes at random, folded in
steps cut at random, and interrupted at random: a step is folded and not stored, the
partition taken over by a new stepper. What comes of it is the same to the byte.
"""

import random

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.messages import join_envelope
from streams.publish import publications
from streams.topics import DEAD, LEDGER
from tables import codec, keys
from tables.compare import first_difference, live_rows
from tests.partition import LOG_ID, Partition
from tests.property import random_rows as some

ORG = "acme"
USERS = ("ann", "bob", "cid")
GENESIS = ["genesis", LOG_ID, 1, 1, "test"]
MESSAGES_MAX = 12
randoms = st.binary(min_size=8, max_size=8).map(random.Random)
quickly = settings(
    max_examples=40, deadline=None, suppress_health_check=list(HealthCheck)
)


class Messages:
    """A log of one partition: (stamp, message as JSON bytes) in order."""

    def __init__(self, rng):
        self.rng = rng
        self.now = some.START_MS
        self.version = 0
        self.log = []
        self.actions = []
        self.change(("settings", "settings", some.settings(rng)))
        self.change(
            ("campaign", "camp_adv", some.campaign(rng, "camp_adv", 1, advanced=True)),
            *(("campaign", i, some.campaign(rng, i, 1)) for i in some.CAMPAIGNS),
            *(("rule", i, some.rule(rng, i, "camp_adv", 1)) for i in some.RULES),
            *(("segment", i, some.segment(rng, i)) for i in some.SEGMENTS[1:]),
        )
        kinds = ["action"] * 14 + ["again", "update", "edit", "bad", "unreadable"]
        for _ in range(rng.randint(20, 80)):
            if some.likely(rng, 0.3):
                day = some.DAY_MS
                self.now += rng.choice([0, 1, 1_000, day, day + 1, 8 * day, 401 * day])
            getattr(self, rng.choice(kinds))()

    def add(self, message):
        self.log.append((self.now, codec.encode_json(message)))

    def change(self, *changes):
        self.version += 1
        source = ["orgs", 0, self.version, 0]
        self.add(["config", ORG, self.version, changes, source])

    def action(self):
        rng = self.rng
        age_ms = some.age_ms(rng)
        head = ["action", ORG, rng.choice(USERS), rng.choice([None, "e1", "e2", "e3"])]
        message = [
            *head,
            rng.choice(some.TYPES),
            None if age_ms is None else self.now - age_ms,
            some.payload(rng),
            rng.choice([{}, some.payload(rng)]),
            some.likely(rng, 0.1),
            rng.choice([None, "load-1", "load-2"]),
        ]
        self.actions.append(message)
        self.add(message)

    def again(self):
        if self.actions:
            self.add(self.rng.choice(self.actions[-5:]))

    def update(self):
        rng, user = self.rng, self.rng.choice(USERS)
        head = ["command", ORG, user, f"cmd_{len(self.log)}", "profile.update", None]
        key = rng.choice([None, "k1", "k2"])
        self.add([*head, some.profile_update(rng), key, user])

    def edit(self):
        campaign_id = self.rng.choice(some.CAMPAIGNS)
        row = some.campaign(self.rng, campaign_id, self.version + 1)
        self.change(("campaign", campaign_id, row))

    def bad(self):
        head = ["action", ORG, "ann", None, "login", None]
        self.add([*head, self.rng.choice(some.BAD_PAYLOADS), {}, False, "load-1"])

    def unreadable(self):
        self.add(self.rng.choice([5, ["action", 7], ["nonsense"], {}]))

    def records(self, rng):
        """Pack the messages into envelopes; those of one envelope share a stamp."""
        partition = Partition()
        partition.records.clear()
        partition.append_value(join_envelope([codec.encode_json(GENESIS)]), self.now)
        run, stamp = [], None
        for at_ms, message in self.log:
            if run and (at_ms != stamp or some.likely(rng, 0.4)):
                partition.append_value(join_envelope(run), stamp)
                run = []
            run.append(message)
            stamp = at_ms
        partition.append_value(join_envelope(run), stamp)
        first = partition.records[0]
        partition.records[0] = first._replace(stamp_ms=some.START_MS)
        return partition.records


def fold(records, rng):
    """Fold records in steps at random, with interruptions; return the partition."""
    partition = Partition()
    partition.records = records
    partition.now_ms = records[-1].stamp_ms
    while left := records[partition.stepper.next_offset :]:
        step = partition.stepper.step(
            left[: rng.choice([1, 2, 5, None])], rng.choice([1, 7, MESSAGES_MAX, 1_000])
        )
        if some.likely(rng, 0.1):
            # It dies before the step is stored.
            partition.stepper = partition.open()
            continue
        for _point, appends in publications(step):
            partition.published += appends
        partition.stepper.store(step)
        if some.likely(rng, 0.1):
            partition.stepper = partition.open()
    return partition


def ledger_of(partition):
    """Return all entries of the ledger topic, whatever records they came in."""
    found = []
    for append in partition.published:
        if append.topic == LEDGER:
            found += msgspec.json.decode(append.value)[2]
    return found


def letters_of(partition, *without):
    letters = [
        msgspec.json.decode(append.value)
        for append in partition.published
        if append.topic == DEAD
    ]
    return [{k: v for k, v in one.items() if k not in without} for one in letters]


def rows_of(partition):
    return dict(live_rows(partition.store, partition.stepper.row.clock_ms))


@given(rng=randoms)
@quickly
def test_any_cut_of_records_into_steps_gives_the_same_rows_to_the_byte(rng):
    records = Messages(rng).records(rng)
    one, other = fold(records, rng), fold(records, rng)
    assert one.stepper.row == other.stepper.row
    assert rows_of(one) == rows_of(other)
    clock_ms = one.stepper.row.clock_ms
    assert first_difference(one.store, other.store, clock_ms) is None
    assert ledger_of(one) == ledger_of(other)
    assert letters_of(one) == letters_of(other)


@given(rng=randoms)
@quickly
def test_any_cut_of_messages_into_envelopes_gives_the_same_ledger(rng):
    messages = Messages(rng)
    one = fold(messages.records(rng), rng)
    other = fold(messages.records(rng), rng)
    # Numbers count messages, not records: even the ids are the same.
    assert ledger_of(one) == ledger_of(other)
    assert letters_of(one, "offset", "index") == letters_of(other, "offset", "index")
    rows, other_rows = rows_of(one), rows_of(other)
    found = codec.partition_rows.decode(rows.pop(keys.PARTITION))
    wanted = codec.partition_rows.decode(other_rows.pop(keys.PARTITION))
    assert rows == other_rows
    assert (found.number, found.clock_ms) == (wanted.number, wanted.clock_ms)


def test_a_difference_is_found_and_named():
    rng = random.Random(1)
    records = Messages(rng).records(rng)
    one, other = fold(records, rng), fold(records, rng)
    clock_ms = one.stepper.row.clock_ms
    for key in list(rows_of(one)):
        batch = other.store.batch()
        value = other.store.get(key)
        batch.put(key, value + b" ")
        other.store.write(batch)
        assert first_difference(one.store, other.store, clock_ms) == key
        assert keys.kind_of(key) != "unknown row"
        batch = other.store.batch()
        batch.delete(key)
        other.store.write(batch)
        assert first_difference(one.store, other.store, clock_ms) == key
        assert first_difference(other.store, one.store, clock_ms) == key
        batch = other.store.batch()
        batch.put(key, value)
        other.store.write(batch)
    assert first_difference(one.store, other.store, clock_ms) is None
