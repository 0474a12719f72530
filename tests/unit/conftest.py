"""What several unit tests begin with."""

import pytest

from tests.machines import make_log
from tests.orgs import Org


@pytest.fixture
def log(tmp_path):
    """Yield a new log with one partition of `users`."""
    opened = make_log(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def org():
    """Return an org that was just created."""
    org = Org()
    org.made("org.create", {"settings": {"name": "Acme"}})
    return org
