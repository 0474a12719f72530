"""A Plaudit under load, whatever its size, and what can be done to all of them."""

import sys
import threading

from tests.crash import campaigns
from tests.crash.worker import wait_until
from tests.torture.load import (
    JOIN_TIMEOUT_S,
    ORG,
    Accepted,
    ApiProducer,
    LogProducer,
)
from tests.torture.reader import Reader

PARTITIONS = 3


def simple(name, effects, *, kind="purchase", conditions=None, **more):
    return {
        "name": name,
        "type": "Reward",
        "mode": "always-on",
        "status": "active",
        "triggers": [{"eventType": kind, "conditions": conditions or {}}],
        "effects": effects,
        **more,
    }


CAMPAIGNS = [
    campaigns.POINTS | {"limits": None},
    campaigns.COINS,
    simple(
        "Experience",
        [{"type": "add_xp", "amount": {"field": "amount", "multiply": 3}}],
        limits={"perUserAmount": {"currency": "xp", "amount": 900, "period": "day"}},
    ),
    simple(
        "Regular",
        [{"type": "add_badge", "badgeId": "regular"}],
        conditions={"user.counts.purchase": {"min": 10}},
    ),
    simple(
        "Double for silver and up",
        [{"type": "add_points", "amount": {"field": "amount", "round": "ceil"}}],
        conditions={"user.tier": ["silver", "gold", "platinum"]},
        priority=1,
    ),
    simple(
        "Entrance fee",
        [
            {"type": "deduct_points", "amount": 5},
            {"type": "send_notification", "title": "Hi", "message": "Welcome back"},
        ],
        kind="visit",
    ),
]


def say(text):
    """Show what happens, at once; pytest shows it unless it captures."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class UnderLoad:
    """Producers, readers and APIs; how workers run is for the sizes to say.

    Attributes:
      folder: The log, and the rows that the judge looks at.
      quiet: When owners could not be heard, and by whose readers; see Quiet.
    """

    def __init__(self, folder, apis, rng, seed):
        self.rng = rng
        self.folder = folder
        self.apis = apis
        self.quiet = []
        for campaign in CAMPAIGNS:
            body = {key: value for key, value in campaign.items() if value is not None}
            folder.command("campaign.create", body, org=ORG)
        self.accepted = Accepted()
        self._stop = threading.Event()
        common = (seed, self.accepted, self._stop)
        self._producers = [
            ApiProducer("bulk", *common, apis[0], 60),
            ApiProducer("one", *common, apis[-1], 1),
            LogProducer("log", *common, folder),
        ]
        self.reader = Reader(seed, apis, self._stop)
        self._edits = 0

    def begin_load(self):
        """Start who sends and who reads."""
        for api in self.apis:
            api.wait_until_it_answers()
        for thread in (*self._producers, self.reader):
            thread.start()

    def wait(self, least_s, most_s):
        """Let it work for a while; how long decides only when the blow falls."""
        failures = self.accepted.failures + self.reader.failures
        assert not failures, failures
        self._stop.wait(self.rng.uniform(least_s, most_s))

    def kill_api(self):
        api = self.rng.choice(self.apis)
        self.wait(0.0, 0.5)
        wait_until(lambda: self.accepted.in_flight > 0, what="a request")
        self.wait(0.0, 0.02)
        api.kill()
        api.start()

    def wait_for_answers(self):
        """Wait until the reader has been given profiles, a few times from now on."""
        before = self.reader.counts()["read"]
        wait_until(
            lambda: self.reader.counts()["read"] >= before + 3, what="answers to reads"
        )

    def edit(self):
        """Create a campaign in mid-stream."""
        self._edits += 1
        body = simple(f"Extra {self._edits}", [{"type": "add_coins", "amount": 1}])
        self.folder.command("campaign.create", body, org=ORG)

    def end_load(self):
        """Stop who sends and who reads."""
        self._stop.set()
        for thread in (*self._producers, self.reader):
            if thread.ident is not None:
                thread.join(JOIN_TIMEOUT_S)
                assert not thread.is_alive()
        failures = self.accepted.failures + self.reader.failures
        assert not failures, failures
        # The last word, so that there is something to fold.
        self.edit()

    def close(self):
        self._stop.set()
        for api in self.apis:
            api.__exit__()
        self.folder.close()
