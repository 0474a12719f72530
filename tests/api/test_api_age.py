"""X-Plaudit-Age-Ms: an answer from tables that lag says so."""

import pytest

from api.app import AGE_HEADER, AGE_SHOWN_MS
from tests.api.shapes import AUDIENCE


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
