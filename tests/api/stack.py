"""The real parts behind the API, in one process: log, fold, RocksDB, views.

What the API writes is folded before `write` returns, unless the stack is paused, so
that no test has to wait for a worker.
"""

import contextlib
import hashlib
import itertools
import threading
import time
from functools import partial

import jwt

from api.secrets import SecretBox
from rules.message import Command
from streams.kafka_log import KafkaLog
from streams.publish import publications
from streams.sqlite_log import SqliteLog
from streams.stepper import Stepper
from streams.writer import EnvelopeWriter
from tables import codec, keys
from tables.embedded_view import EmbeddedView
from tables.epoch import new_epoch, state_folder, swap
from tables.redis_client import RedisClient
from tables.redis_mirrors import RedisMirrors
from tables.redis_view import RedisView
from tables.rocksdb import RocksStore

LOG_ID = "ab" * 16
PARTITIONS = 2
TZDATA = "2025.2"
MACHINES = [("orgs", 0), *(("users", number) for number in range(PARTITIONS))]
HS256_SECRET = b"0123456789abcdef0123456789abcdef"
KEY_SECRET = "a-secret-of-an-api-key"
ALL_PERMISSIONS = ["actions:write", "users:read", "loyalty:read", "loyalty:write"]


def wall_ms():
    return time.time_ns() // 1_000_000


class Stack:
    """A data folder with a log, its tables and a `MessageWriter` that folds."""

    def __init__(self, folder, *, kafka=None, redis_url=None):
        """Make one.

        Args:
          folder: Of the tables and, unless it is on brokers, of the log.
          kafka: Where the log is on brokers: how they are reached.
          redis_url: Where the view reads a mirror of the tables: its Redis.
        """
        if kafka is not None:
            KafkaLog.create(kafka, LOG_ID, PARTITIONS, tzdata_version=TZDATA)
            self.log = KafkaLog(kafka)
        else:
            SqliteLog.create(folder, LOG_ID, PARTITIONS, tzdata_version=TZDATA)
            self.log = SqliteLog(folder)
        self.log_writer = EnvelopeWriter(self.log)
        self.secrets = SecretBox(bytes(range(32)))
        self.paused = False
        self._folding = threading.Lock()
        self.failure = None
        self.written = 0
        self._org_numbers = itertools.count(1)
        self._stores = {}
        self._steppers = {}
        self.mirrored = redis_url is not None
        self._mirrors = {}
        self._client = RedisClient(redis_url) if redis_url else None
        for topic, partition in MACHINES:
            parent = state_folder(folder, topic, partition)
            epoch = new_epoch(parent)
            store = RocksStore(epoch)
            swap(parent, epoch)
            if self._client is not None:
                store, mirror = RedisMirrors(self._client, LOG_ID).of(
                    topic, partition, store, partial(self._end, topic, partition)
                )
                self._mirrors[topic, partition] = mirror
            self._stores[topic, partition] = store
            self._steppers[topic, partition] = Stepper(
                store, topic, partition, TZDATA, wall_ms
            )
        if self._client is not None:
            self.view = RedisView(RedisClient(redis_url), LOG_ID, PARTITIONS)
        else:
            # A clock on which every read is old enough to catch up first.
            ticks = itertools.count()
            self.view = EmbeddedView(
                folder, PARTITIONS, monotonic=lambda: next(ticks), background=False
            )
        self.fold()

    def write(self, messages):
        if self.failure is not None:
            raise self.failure
        positions = self.log_writer.write(messages)
        self.written += len(messages)
        if not self.paused:
            self.fold()
        return positions

    def locate(self, org, user):
        return self.log_writer.locate(org, user)

    def fold(self):
        """Fold all that the log holds, orgs first, as its broadcasts go to users."""
        # Several threads may write.
        with self._folding:
            for machine in MACHINES:
                self._fold(*machine)
                self.beat(*machine)

    def _fold(self, topic, partition):
        stepper = self._steppers[topic, partition]
        while records := self.log.read(topic, partition, stepper.next_offset):
            step = stepper.step(records)
            for _point, appends in publications(step):
                if appends:
                    self.log.append_many(appends)
            stepper.store(step)
            self._mirror(topic, partition)

    def _mirror(self, topic, partition):
        mirror = self._mirrors.get((topic, partition))
        while mirror is not None and mirror.pending:
            mirror.advance(readable=True)

    def _end(self, topic, partition):
        return self.log.end_offset(topic, partition)

    def beat(self, topic, partition, parked_offset=None, reason=None):
        store = self._stores[topic, partition]
        beat = codec.Heartbeat(1, wall_ms(), parked_offset, reason)
        batch = store.batch()
        batch.put(keys.HEARTBEAT, codec.heartbeats.encode(beat))
        store.write(batch)
        self._mirror(topic, partition)

    def ends(self):
        """Where the log ends: it tells whether a request wrote anything at all."""
        return {machine: self.log.end_offset(*machine) for machine in MACHINES}

    def command(self, org, name, body, target=None):
        """Run an admin command past the API, as the command line does."""
        command_id = f"cmd_{name}_{org}_{time.monotonic_ns()}"
        self.write([Command(org, None, command_id, name, target, body)])
        result = self.view.result("orgs", 0, command_id)
        assert result.status < 300, result
        return result

    def new_org(self, **settings):
        return Org(self, f"org-{next(self._org_numbers)}", settings)

    def close(self):
        self.view.close()
        if self._client is not None:
            self._client.close()
        for store in self._stores.values():
            store.close()
        self.log.close()


class Org:
    """An org of its own for one test, with a JWT key and an API key."""

    def __init__(self, stack, org_id, settings):
        self.stack = stack
        self.id = org_id
        stack.command(org_id, "org.create", {"settings": settings})
        self.add_hs256("main", HS256_SECRET)
        self.key_id = f"pk_{org_id}"
        self.add_key(self.key_id, ALL_PERMISSIONS)

    def add_hs256(self, kid, secret):
        sealed = self.stack.secrets.seal(secret, org=self.id, name=kid)
        body = {"kid": kid, "algorithm": "HS256", "sealedSecret": sealed}
        self.stack.command(self.id, "jwt_key.create", body)

    def add_pem(self, kid, algorithm, pem):
        body = {"kid": kid, "algorithm": algorithm, "publicPem": pem}
        self.stack.command(self.id, "jwt_key.create", body)

    def add_key(self, key_id, permissions, kind="api"):
        digest = hashlib.sha256(KEY_SECRET.encode()).hexdigest()
        body = {"keyId": key_id, "secretSha256": digest, "kind": kind}
        body["permissions"] = permissions
        self.stack.command(self.id, "key.create", body)

    def token(
        self, sub="alice", scope=("audience:read", "audience:write"), lifetime_s=600,
        key=HS256_SECRET, algorithm="HS256", headers=None, **changes,
    ):  # fmt: skip
        claims = {"sub": sub, "orgId": self.id, "exp": int(time.time()) + lifetime_s}
        claims |= {"scope": list(scope) if isinstance(scope, tuple) else scope}
        claims |= changes
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, key, algorithm, headers)

    def bearer(self, token):
        return {"X-Monterosa-Org-ID": self.id, "Authorization": f"Bearer {token}"}

    def user(self, sub="alice", **changes):
        return self.bearer(self.token(sub, **changes))

    def admin(self):
        return self.bearer(self.token("ops", ("loyalty:read", "loyalty:write")))

    def server(self, key_id=None, secret=KEY_SECRET):
        return {
            "X-Monterosa-Org-ID": self.id,
            "X-API-Key": key_id or self.key_id,
            "X-API-Secret": secret,
        }


@contextlib.contextmanager
def paused(stack):
    """Stop folding for a while, as when the worker is behind."""
    stack.paused = True
    try:
        yield
    finally:
        stack.paused = False
        stack.fold()
