"""What a Redis' clock shows, as its last answer told.

A call may wait in a Redis that hangs. What it says was true when it was sent, so it
carries what the clock had come to by then.
"""

from collections.abc import Callable

from tables.clock import monotonic_ms


class RedisClock:
    """Of one Redis, as one owner of a slot knows it."""

    def __init__(self, now_ms: Callable[[], int] = monotonic_ms) -> None:
        """Know nothing yet; `now_ms` is of a clock that is never set."""
        self._now_ms = now_ms
        self._ahead_ms: int | None = None

    def hear(self, redis_ms: int) -> None:
        """Take note of what the clock showed when an answer was made."""
        self._ahead_ms = redis_ms - self._now_ms()

    def read_ms(self) -> int | None:
        """Return what the clock has come to at least, unless it was set back.

        None before the first answer.
        """
        return None if self._ahead_ms is None else self._now_ms() + self._ahead_ms
