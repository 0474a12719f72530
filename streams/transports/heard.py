"""Since when rows may lack records: what the log was heard to hold, and when.

Rows that reach as far as the log did are all there was when the log was asked. When
that was nobody notes of a broker's answer, but not before a moment that is known: an
answer that is first seen now came after the look before, and the next one was asked for
after that. The moment of reading will not do: a process that was paused reads, when it
wakes, an answer that waited in its socket all the while. Nor does any clock play a part
that may be set.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from faust.types import TP

from tables.clock import monotonic_ms

NOTES_MAX: Final = 1_000
"""Of a partition that is behind. Beyond them nothing is noted until it comes nearer,
and its rows count as older than they are."""


class _Note(NamedTuple):
    """The log's partition ended at `end_offset` when it was asked, at `asked_ms`."""

    asked_ms: int
    end_offset: int


class Heard:
    """Of one assignment. Safe for threads."""

    def __init__(self, now_ms: Callable[[], int] = monotonic_ms) -> None:
        """Know nothing; `now_ms` is of a clock that is never set."""
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._looked_ms = now_ms()
        self._stamps: dict[TP, int] = {}
        self._asked_ms: dict[TP, int] = {}
        self._notes: dict[TP, deque[_Note]] = {}
        self._current_ms: dict[TP, int] = {}

    def look(self, answers: Mapping[TP, tuple[int, int]]) -> None:
        """Take note of the last answers; those that were seen before are none.

        Args:
          answers: Partition -> what tells its last answer from others, and the offset
            that the next record would get by it. The next question about a partition
            is asked after its answer came.
        """
        before_ms, self._looked_ms = self._looked_ms, self._now_ms()
        for tp, (stamp, end_offset) in answers.items():
            known = self._stamps.get(tp)
            self._stamps[tp] = stamp
            if known is None or known == stamp:
                continue
            asked_ms = self._asked_ms.get(tp)
            self._asked_ms[tp] = before_ms
            if asked_ms is not None:
                self.note(tp, asked_ms, end_offset)

    def note(self, tp: TP, asked_ms: int, end_offset: int) -> None:
        """Take note of where a partition ended when the log was asked."""
        with self._lock:
            notes = self._notes.setdefault(tp, deque())
            if notes and notes[-1].end_offset == end_offset:
                notes[-1] = _Note(asked_ms, end_offset)
            elif len(notes) < NOTES_MAX:
                notes.append(_Note(asked_ms, end_offset))

    def age_ms(self, tp: TP, next_offset: int) -> int | None:
        """Return how long ago rows were all that the log held, at most.

        Args:
          tp: The partition.
          next_offset: The offset after the last that the rows hold; never smaller than
            it was in an earlier call.

        Returns:
          None where they have not been since the assignment.
        """
        with self._lock:
            notes = self._notes.get(tp, ())
            while notes and notes[0].end_offset <= next_offset:
                self._current_ms[tp] = notes.popleft().asked_ms
            current_ms = self._current_ms.get(tp)
        return None if current_ms is None else self._now_ms() - current_ms
