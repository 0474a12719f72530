"""An owner of a mirrored partition, step by step, and a log that it folds."""

import random

from rules.message import Command
from tables import codec, keys
from tables.codec import Heartbeat
from tables.memory import MemoryStore
from tables.redis_mirrors import RedisMirrors
from tests.mirrored import all_rows, assert_mirrored
from tests.partition import (
    LOG_ID,
    T0,
    Partition,
    campaign_row,
    config_change,
    org_created,
    purchase,
)

DAY_MS = 86_400_000
EXPIRING = [
    {"type": "add_points", "config": {"amount": 10, "expiresInDays": 3}},
    {"type": "deduct_points", "config": {"amount": 4}},
    {"type": "send_notification", "config": {"title": "t", "message": "m"}},
]


class Lasting(MemoryStore):
    """Rows that outlive their owner, as files do."""

    def close(self):
        pass


def records(rng, count):
    """Return a partition whose log holds users, lots, results, tallies and ids."""
    partition = Partition()
    partition.append([org_created()])
    changed = campaign_row("camp_2", effects=EXPIRING)
    partition.append([config_change(2, [("campaign", "camp_2", changed)])])
    for number in range(count):
        # Now and then weeks pass, so that whole buckets of ids go.
        partition.now_ms += rng.choice([10, 1_000, DAY_MS, 9 * DAY_MS])
        messages = []
        for place in range(rng.randrange(1, 6)):
            user = rng.choice(["alice", "bob", "carol"])
            if rng.random() < 0.2:
                command_id = f"cmd_{number}_{place}"
                name = rng.choice(["profile.update", "unknown"])
                body = {"displayName": f"{user} {number}"}
                messages.append(Command("acme", user, command_id, name, None, body))
                continue
            event_id = f"e{rng.randrange(count)}"
            batch = rng.choice([None, "b1", "b2"])
            messages.append(purchase(user, event_id, batch=batch))
        partition.append(messages)
    return partition


class Owner:
    """One owner of the partition: a stepper over mirrored rows, and their mirror."""

    def __init__(self, log, store, client, now_ms=T0 + 10_000 * DAY_MS):
        self.log = log
        mirrors = RedisMirrors(client, LOG_ID)
        self.age_ms = 0
        self.store, self.mirror = mirrors.of(
            "users", 0, store, lambda: len(log), lambda _next_offset: self.age_ms
        )
        self.slot = mirrors.slot("users", 0)
        self.partition = Partition.__new__(Partition)
        self.partition.topic = "users"
        self.partition.store = self.store
        self.partition.now_ms = now_ms
        self.stepper = self.partition.open()

    @property
    def done(self):
        return self.stepper.next_offset >= len(self.log)

    def fold(self, records_max):
        """Fold and store one step; nothing is mirrored yet."""
        first = self.stepper.next_offset
        step = self.stepper.step(self.log[first : first + records_max])
        self.stepper.store(step)

    def advance(self, pieces=1_000):
        """Mirror what is pending, in at most so many pieces."""
        while self.mirror.pending and pieces:
            self.mirror.advance(readable=True)
            pieces -= 1

    def beat(self):
        batch = self.store.batch()
        batch.put(keys.HEARTBEAT, codec.heartbeats.encode(Heartbeat(1, 2)))
        self.store.write(batch)

    def settle(self):
        """Fold all, and beat until the slot says that it is all right."""
        while not self.done:
            self.fold(5)
            self.advance()
        for _ in range(3):
            self.beat()
            self.advance()


def check(owner, **options):
    """Fail unless the slot is what the owner's rows are; see `assert_mirrored`."""
    with owner.slot.client.calling() as raw:
        assert_mirrored(raw, owner.slot.name, all_rows(owner.store), "users", **options)


def settled(redis_client, seed=10):
    """Return an owner whose slot is in force, and the names of the slot's keys."""
    owner = Owner(records(random.Random(seed), 10).records, Lasting(), redis_client)
    owner.fold(5)
    owner.settle()
    with redis_client.calling() as raw:
        epoch = raw.hget(owner.slot.name, "epoch").decode()
    return owner, f"{owner.slot.name}:{epoch}"
