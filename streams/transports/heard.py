"""When a consumer last heard how far its partitions go.

An answer tells what the brokers knew while it was on its way, and when it was asked for
nobody notes. That was after the answer before it had come: the time of that one is what
can be relied on. A process that was paused reads, when it wakes, an answer that waited
in its socket all the while; the moment of reading would call old rows fresh.
"""

from collections.abc import Callable, Iterable

from faust.types import TP

from tables.clock import wall_clock_ms


class Heard:
    """Of one assignment."""

    def __init__(
        self, assigned: Iterable[TP], wall_ms: Callable[[], int] = wall_clock_ms
    ) -> None:
        """Begin: what is asked for comes after the assignment.

        Args:
          assigned: The partitions.
          wall_ms: Wall clock, the same as the answers' times.
        """
        self._wall_ms = wall_ms
        self._asked_ms = dict.fromkeys(assigned, wall_ms())
        self._answered_ms: dict[TP, int] = {}

    def answer(self, tp: TP, at_ms: int) -> None:
        """Take note of the last answer; the same one may be told again."""
        before_ms = self._answered_ms.get(tp)
        if before_ms is not None and at_ms != before_ms:
            self._asked_ms[tp] = before_ms
        self._answered_ms[tp] = at_ms

    def silence_ms(self, tp: TP) -> int:
        """Return how old the brokers' word may be; 0: none is waited for."""
        now_ms = self._wall_ms()
        return max(now_ms - self._asked_ms.get(tp, now_ms), 0)
