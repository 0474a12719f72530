"""A reader that looks all the while: every answer is a state that really was.

An answer is 503 (or none, where the API was killed), or a profile as the fold left it
after some message, never an older one than was read before. What was read is kept, and
compared with the oracle when all is over.
"""

import random
import threading
import time
from collections import Counter
from typing import Any, NamedTuple

from tests.torture.load import ORG, PEOPLE

PROFILES = "/v1/api/audience/internal/profiles"
AGE = "X-Plaudit-Age-Ms"
PEOPLE_AT_ONCE = 8
PAUSE_S = 0.03
AGED_S = 2.0
"""An answer that is older says how old it is (docs/operator.md)."""
SLACK_S = 1.0
"""What may lie between an owner's last word and what a test calls its end."""


class Read(NamedTuple):
    """One answer: when it was asked for, and what it was."""

    at_s: float
    status: int
    age_ms: int | None
    people: dict[str, Any]


class Quiet(NamedTuple):
    """A time, monotonic seconds, when the owners of some people were not heard."""

    from_s: float
    to_s: float
    people: set[str]


def shown(profile):
    """Return what is compared of a profile, as the API shows it."""
    return [
        *(profile[currency] for currency in ("points", "xp", "coins")),
        *(profile["lifetime"][currency] for currency in ("points", "xp", "coins")),
        profile["tier"],
        profile["badges"],
    ]


def shown_by_oracle(user):
    """Return the same of the oracle's user."""
    return [
        *(user["balance"][currency] for currency in ("points", "xp", "coins")),
        *(user["lifetime"][currency] for currency in ("points", "xp", "coins")),
        user["tier"],
        list(user["badges"]),
    ]


class Reader(threading.Thread):
    """Reads profiles through every API in turn."""

    def __init__(self, seed, apis, stop: threading.Event):
        super().__init__(name="reader", daemon=True)
        self._rng = random.Random(f"{seed}-reader")
        self._apis = apis
        self._stop_reading = stop
        self.reads = []
        self.failures = []

    def run(self):
        try:
            while not self._stop_reading.wait(PAUSE_S):
                self._read(self._rng.choice(self._apis))
        except BaseException as error:
            self.failures.append(error)
            raise

    def _read(self, api):
        people = self._rng.sample(PEOPLE, PEOPLE_AT_ONCE)
        began_s = time.monotonic()
        try:
            status, headers, body = api.ask(
                "GET", f"{PROFILES}?user_ids={','.join(people)}"
            )
        except OSError:
            self.reads.append(Read(began_s, 0, None, {}))
            return
        assert status in (200, 503), (status, body)
        found = {}
        if status == 200:
            found = dict.fromkeys(body["data"]["notFound"])
            profiles = body["data"]["profiles"]
            found |= {one["userId"]: shown(one) for one in profiles}
        age = headers.get(AGE)
        self.reads.append(Read(began_s, status, age and int(age), found))

    def counts(self):
        """Return how many answers there were of each sort."""
        sorts = Counter(read.status for read in self.reads)
        aged = sum(read.status == 200 and bool(read.age_ms) for read in self.reads)
        return {"read": sorts[200], "503": sorts[503], "no answer": sorts[0]} | {
            "with their age": aged
        }

    def check(self, histories):
        """Compare what was read with what was.

        Args:
          histories: User -> all that the oracle had to show of it, in order.
        """
        places = {}
        for read in self.reads:
            for user, found in read.people.items():
                history = [None, *histories.get((ORG, user), [])]
                # As early as possible: it may have been the same twice.
                least = places.get(user, 0)
                assert found in history[least:], (
                    f"{user} was read as {found} after {history[least]}: "
                    f"{'older' if found in history else 'never so'}"
                )
                places[user] = history.index(found, least)

    def check_ages(self, times):
        """Fail where an answer was old and did not say so; return how many said it.

        Args:
          times: When owners were not heard; see Quiet.
        """
        marked = 0
        for quiet in times:
            # One that is asked before the end may be answered after it.
            first_s, last_s = quiet.from_s + AGED_S + SLACK_S, quiet.to_s - SLACK_S
            ages = [
                one.age_ms
                for one in self.reads
                if first_s < one.at_s < last_s and one.people.keys() & quiet.people
            ]
            assert all(ages), f"{ages.count(None)} of {len(ages)} reads show no age"
            marked += len(ages)
        return marked
