"""What a machine lacks is said in one line, and never passed over under CI."""

from types import SimpleNamespace

import pytest

from docker.redis.server import REDIS, RedisFailed, RedisServer, is_available
from tests.servers import left_out, may, need


def report(reason):
    return SimpleNamespace(longrepr=("file.py", 3, f"Skipped: {reason}"))


def test_what_was_left_out_is_one_line(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    reports = [report("only on Mondays")]
    for what in ("java", "java", "redis-server"):
        with pytest.raises(pytest.skip.Exception) as skipped:
            need(what, available=False)
        reports.append(report(skipped.value.msg))
    assert left_out(reports) == (
        "left out on this machine: 2 tests need java; 1 tests need redis-server"
    )
    assert left_out(reports[:1]) is None
    need("java", available=True)


def test_ci_leaves_nothing_out(monkeypatch):
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="java"):
        need("java", available=False)
    # A right is no package.
    with pytest.raises(pytest.skip.Exception, match=r"left out, it needs namespaces"):
        may("namespaces", available=False)


def test_a_redis_that_does_not_start_says_why(tmp_path):
    need(REDIS, available=is_available())
    server = RedisServer(tmp_path)
    with pytest.raises(RedisFailed, match="no-such-option"):
        server.start("--no-such-option", "x")
    server.start()
    assert server.ask("PING")
    server.stop()
