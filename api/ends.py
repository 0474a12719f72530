"""Where the log ends, for request handlers: none of them waits in the log itself.

The log is asked by threads of their own. Brokers that hang hold up those, and not the
threads that answer requests.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterable
from typing import Final, TypeAlias

from streams.log import LogError

Place: TypeAlias = tuple[str, int]
"""Topic and partition."""
EndOffset: TypeAlias = Callable[[str, int], int]
"""(topic, partition) -> offset that the next record will get."""

QUESTIONS_MAX: Final = 8
"""Questions under way at a time, each of another partition."""
ANSWER_TIMEOUT_S: Final = 2.0
"""How long a request waits for answers of the log, whatever it asks."""


class LogEnds:
    """Safe for threads."""

    def __init__(self, end_offset: EndOffset) -> None:
        """Bind the log.

        Args:
          end_offset: Asks the log, for as long as it pleases.
        """
        self._end_offset = end_offset
        self._changed = threading.Condition()
        # What waits to be asked: each partition once, so there are no more than those.
        self._waiting: dict[Place, None] = {}
        self._begun: dict[Place, float] = {}
        # When the question began, and the answer; None: there was none.
        self._answers: dict[Place, tuple[float, int | None]] = {}

    def ask(self, places: Iterable[Place]) -> float:
        """Have the log asked; return the instant from which on answers are of use.

        What was asked before that may be older than what the caller knows.
        """
        with self._changed:
            self._waiting.update(dict.fromkeys(places))
            since = time.monotonic()
            self._begin()
        return since

    def known(self, place: Place, since: float) -> int | None:
        """Return the answer to a question begun at an instant or later, or None."""
        began, end = self._answers.get(place, (since - 1, None))
        return end if began >= since else None

    def collect(
        self, places: Collection[Place], since: float, timeout_s: float
    ) -> dict[Place, int]:
        """Return the answers to what was asked at an instant, as far as they come.

        Args:
          places: What was asked.
          since: What `ask` returned.
          timeout_s: Longest wait, seconds. Where the log has been silent for long
            already nobody waits for it again.
        """

        def is_over() -> bool:
            return all(
                (place in self._answers and self._answers[place][0] >= since)
                or self._is_stuck(place, since)
                for place in places
            )

        with self._changed:
            self._changed.wait_for(is_over, timeout_s)
            found = {place: self.known(place, since) for place in places}
        return {place: end for place, end in found.items() if end is not None}

    def _is_stuck(self, place: Place, since: float) -> bool:
        """Tell whether what is in a question's way was late when it was asked."""
        began = self._begun.get(place)
        if began is None and len(self._begun) == QUESTIONS_MAX:
            began = max(self._begun.values())
        return began is not None and since - began > ANSWER_TIMEOUT_S

    def _begin(self) -> None:
        """Begin as many questions as may be under way; the caller holds the lock."""
        for place in list(self._waiting):
            if len(self._begun) == QUESTIONS_MAX:
                return
            if place not in self._begun:
                del self._waiting[place]
                began = self._begun[place] = time.monotonic()
                asking = threading.Thread(
                    target=self._ask_log,
                    args=(place, began),
                    name="log-ends",
                    daemon=True,
                )
                try:
                    asking.start()
                except RuntimeError:
                    # No thread to be had: that is no answer; it is asked again.
                    del self._begun[place]
                    self._answers[place] = (began, None)

    def _ask_log(self, place: Place, began: float) -> None:
        end = None
        try:
            # Whoever asked finds no answer; the log says why in its own output.
            with contextlib.suppress(LogError):
                end = self._end_offset(*place)
        finally:
            with self._changed:
                del self._begun[place]
                self._answers[place] = (began, end)
                self._begin()
                self._changed.notify_all()
