"""What several unit tests begin with."""

import pytest

from tests.machines import make_log


@pytest.fixture
def log(tmp_path):
    """Yield a new log with one partition of `users`."""
    opened = make_log(tmp_path)
    yield opened
    opened.close()
