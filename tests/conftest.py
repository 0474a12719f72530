"""What holds for all tests: servers, and what was left out for want of them."""

from tests.kafka_server import kafka, shared_kafka, start_kafka  # noqa: F401 - fixtures
from tests.redis_server import (  # noqa: F401 - fixtures
    own_redis,
    redis,
    redis_client,
    shared_redis,
)
from tests.s3_server import s3  # noqa: F401 - a fixture
from tests.servers import left_out


def pytest_terminal_summary(terminalreporter):
    line = left_out(terminalreporter.stats.get("skipped", []))
    if line is not None:
        terminalreporter.write_line(line)
