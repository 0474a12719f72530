"""Load on a Plaudit that is being killed: through the API, and straight to the log.

Every producer sends what was not accepted again, under the same ids, as a good producer
does; now and then it gives up, so that nobody knows whether an action is in the log.
"""

import json
import random
import threading

from rules.message import Action, Command
from streams.log import Append, LogUnavailable
from streams.topics import USERS, partition_of
from tests.crash.api import Api
from tests.crash.worker import Folder

ORG = "demo"
PEOPLE = [f"person-{number}" for number in range(80)]
TYPES = ("purchase", "purchase", "purchase", "visit")
ACTIONS = "/v1/api/audience/internal/actions"
PAUSE_S = 0.08
JOIN_TIMEOUT_S = 60


class Accepted:
    """What was answered with 2xx, or stored: (user, id) of actions."""

    def __init__(self):
        self._lock = threading.Lock()
        self.ids = set()
        self.in_flight = 0
        self.unanswered = 0
        self.failures = []

    def add(self, ids):
        with self._lock:
            self.ids.update(ids)

    def count(self, requests=0, unanswered=0):
        with self._lock:
            self.in_flight += requests
            self.unanswered += unanswered


class Producer(threading.Thread):
    """One of several; each draws from a generator of its own."""

    def __init__(self, name, seed, accepted: Accepted, stop: threading.Event):
        super().__init__(name=name, daemon=True)
        self.rng = random.Random(f"{seed}-{name}")
        self.accepted = accepted
        self.stop = stop
        self._number = 0

    def run(self):
        try:
            while not self.stop.wait(self.rng.uniform(0, 2 * PAUSE_S)):
                self.produce()
        except BaseException as error:
            self.accepted.failures.append(error)
            raise

    def produce(self):
        raise NotImplementedError

    def new_id(self):
        """Return an id; one in twelve is that of an earlier action."""
        self._number += 1
        number = self._number
        if number > 20 and self.rng.random() < 1 / 12:
            number -= self.rng.randrange(1, 20)
        return f"{self.name}-{number}"

    def action(self):
        rng = self.rng
        amount = rng.choice([1, 7, 25, 60, 120, 9.99, 49.5])
        event_id = self.new_id()
        return {
            # The same id for the same user, or it would be another action.
            "userId": PEOPLE[hash_of(event_id) % len(PEOPLE)],
            "action": rng.choice(TYPES),
            "eventId": event_id,
            "data": {"amount": amount, "items": [rng.randrange(5)]},
        }


def hash_of(text):
    return int.from_bytes(text.encode(), "big") % 1_000_003


class ApiProducer(Producer):
    """Sends single actions or bulk requests."""

    def __init__(self, name, seed, accepted, stop, api: Api, bulk_max):
        super().__init__(name, seed, accepted, stop)
        self._api = api
        self._bulk_max = bulk_max

    def produce(self):
        actions = [self.action() for _ in range(self.rng.randint(1, self._bulk_max))]
        if self._bulk_max == 1:
            path, body = ACTIONS, actions[0]
        else:
            path, body = f"{ACTIONS}/bulk", {"actions": actions}
        while not self.stop.is_set():
            status, answer = self._send(path, body)
            if status == 202:
                assert answer["data"].get("rejected", 0) == 0, answer
                self.accepted.add((one["userId"], one["eventId"]) for one in actions)
                return
            assert status in (0, 503), (status, answer)
            if status == 0 and self.rng.random() < 0.1:
                return
            self.stop.wait(self.rng.uniform(0, 4 * PAUSE_S))

    def _send(self, path, body):
        """Return (status, answer); 0 where there was no answer."""
        self.accepted.count(requests=1)
        try:
            return self._api.call("POST", path, body)
        except OSError:
            self.accepted.count(unanswered=1)
            return 0, None
        finally:
            self.accepted.count(requests=-1)


class LogProducer(Producer):
    """Appends envelopes, single records, commands, and what nobody should send."""

    def __init__(self, name, seed, accepted, stop, folder: Folder):
        super().__init__(name, seed, accepted, stop)
        self._folder = folder

    def produce(self):
        kind = self.rng.choice(["envelope"] * 6 + ["single"] * 3 + ["profile", "bad"])
        try:
            getattr(self, kind)()
        except LogUnavailable:
            # Busy for too long; whether it is stored, the log will tell.
            self.accepted.count(unanswered=1)

    def envelope(self):
        actions = [self.action() for _ in range(self.rng.randint(1, 40))]
        self._folder.writer.write(
            [
                Action(ORG, a["userId"], a["eventId"], a["action"], None, a["data"], {})
                for a in actions
            ]
        )
        self.accepted.add((one["userId"], one["eventId"]) for one in actions)

    def single(self):
        """A record of one action, as any producer may write it."""
        action = self.action()
        user = action["userId"]
        partition = partition_of(ORG, user, self._folder.partitions)
        key, value = f"{ORG}/{user}".encode(), json.dumps(action).encode()
        self._folder.log.append_many([Append(USERS, partition, key, value)])
        self.accepted.add([(user, action["eventId"])])

    def profile(self):
        user = self.rng.choice(PEOPLE)
        body = {"displayName": f"name {self._number}"}
        command_id = f"cmd_{self.name}_{self._number}_{self.rng.random()}"
        update = Command(
            ORG, user, command_id, "profile.update", None, body, None, user
        )
        self._folder.writer.write([update])

    def bad(self):
        """Garbage, and an action in a partition that is not its user's."""
        partition = self.rng.randrange(self._folder.partitions)
        self._folder.log.append_many(
            [
                Append(USERS, partition, None, b"\xff\xfe no record"),
                Append(USERS, partition, f"{ORG}/other".encode(), b'{"userId":"me"}'),
            ]
        )
