"""What Redis' clock shows, as its last answer told."""

from types import SimpleNamespace

from tables.redis_clock import RedisClock


def test_it_goes_on_from_the_last_answer():
    own = SimpleNamespace(ms=5_000)
    clock = RedisClock(lambda: own.ms)
    assert clock.read_ms() is None
    clock.hear(1_000_000)
    assert clock.read_ms() == 1_000_000
    own.ms = 7_000
    assert clock.read_ms() == 1_002_000
    # It was set back meanwhile, or another one has taken over.
    clock.hear(900_000)
    assert clock.read_ms() == 900_000
