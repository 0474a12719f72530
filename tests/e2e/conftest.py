"""What several end-to-end tests begin with."""

import pytest

from tests.e2e.running import Running


@pytest.fixture(scope="package")
def running(tmp_path_factory):
    """A `plaudit run` that all share; whoever writes picks names of its own."""
    with Running(tmp_path_factory.mktemp("run") / "data") as process:
        yield process
