"""X-Plaudit-Age-Ms: an answer from tables that lag says so."""

import time

import pytest

from api.app import AGE_HEADER, AGE_SHOWN_MS
from tests.api.shapes import AUDIENCE
from tests.crash.worker import wait_until

CLOCKS_MS = 100
"""Redis and the test do not read the same clock."""


class Aged:
    """A view whose owner has been silent for a while."""

    def __init__(self, view, age_ms):
        self._view = view
        self._age_ms = age_ms

    def age_ms(self):
        return self._age_ms

    def __getattr__(self, name):
        return getattr(self._view, name)


@pytest.mark.parametrize(
    ("age_ms", "shown"), [(0, None), (AGE_SHOWN_MS, None), (2_001, "2001")]
)
def test_a_read_says_its_age_beyond_the_bound(make_client, stack, org, age_ms, shown):
    client = make_client(view=Aged(stack.view, age_ms))
    answer = client.get(f"{AUDIENCE}/profile", headers=org.user())
    assert answer.status_code == 200
    assert answer.headers.get(AGE_HEADER) == shown


def test_fresh_tables_have_no_age(client, stack, org):
    stack.fold()
    answer = client.get(f"{AUDIENCE}/profile", headers=org.user())
    assert AGE_HEADER not in answer.headers


@pytest.mark.parametrize("stack", ["scaled"], indirect=True)
def test_a_mirror_whose_owner_is_silent_has_an_age_until_it_is_heard(
    client, stack, org
):
    def read():
        answer = client.get(f"{AUDIENCE}/profile", headers=org.user())
        assert answer.status_code == 200
        return answer.headers.get(AGE_HEADER)

    began_s = time.monotonic()
    stack.fold()
    assert read() is None
    # Nobody folds or beats now: Redis's own clock tells.
    ages = []

    def is_old():
        ages.append(read())
        return ages[-1] is not None

    wait_until(is_old, what="an answer with its age")
    silent_ms = (time.monotonic() - began_s) * 1_000
    assert AGE_SHOWN_MS < int(ages[-1]) <= silent_ms + CLOCKS_MS
    stack.fold()
    assert read() is None
