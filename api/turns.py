"""How many requests may wait for the log, or for the tables, at a time.

Each holds a thread of the server. Were all of them to wait, nobody would be left for
plain reads and /health, and an API that is well would be taken for dead.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from api.problems import unavailable

STALL_S: Final = 0.5
"""A commit takes some milliseconds: for so long a request waits for its turn, unless
somebody has waited longer already. Then the log hangs, and it is refused at once."""


def writers_max(threads: int) -> int:
    """Return how many of a server's threads may wait for the log to store something.

    Most, 52 of 64: the more share a commit, the more of them it carries in a second. Of
    three threads or more, one is left for whoever waits for nothing.
    """
    left = threads - readers_max(threads) - 1
    return max(min(threads * 13 // 16, left), 1)


def readers_max(threads: int) -> int:
    """Return how many threads may wait until the tables reach a position: 8 of 64.

    With the writers that leaves a sixteenth for whoever waits for neither.
    """
    return max(threads // 8, 1)


def outcomes_max(threads: int) -> int:
    """Return how many threads may wait for what becomes of commands: 16 of 64.

    Where the log hangs, too, these come on top of the others for 5 seconds at most: no
    command gets here any more.
    """
    return max(threads // 4, 1)


class _Turn:
    """One request that waits for its turn, or has it."""

    def __init__(self) -> None:
        self.signal = threading.Lock()
        self.signal.acquire()


class Turns:
    """A bound on the requests that wait for one thing. Safe for threads."""

    def __init__(self, most: int) -> None:
        """Set the bound: requests at a time, at least 1."""
        self._most = most
        self._mutex = threading.Lock()
        # Since when each has its turn, the oldest first.
        self._since: dict[_Turn, float] = {}
        # No more than the server has threads.
        self._waiting: deque[_Turn] = deque()

    @contextmanager
    def turn(self, refusal: str) -> Iterator[None]:
        """Have a turn for the length of a block.

        Args:
          refusal: What is told where all turns are taken.

        Raises:
          Problem: 503; they are.
        """
        with self.try_turn() as has_turn:
            if not has_turn:
                raise unavailable(refusal)
            yield

    @contextmanager
    def try_turn(self) -> Iterator[bool]:
        """Have a turn for the length of a block, or False where all are taken."""
        mine = self._take()
        try:
            yield mine is not None
        finally:
            if mine is not None:
                self._pass_on(mine)

    def _take(self) -> _Turn | None:
        mine = _Turn()
        with self._mutex:
            now = time.monotonic()
            if len(self._since) < self._most:
                self._since[mine] = now
                return mine
            oldest = next(iter(self._since.values()))
            if now - oldest > STALL_S:
                return None
            self._waiting.append(mine)
        if not mine.signal.acquire(timeout=STALL_S):
            with self._mutex:
                # It may have been given in the last moment.
                if mine not in self._since:
                    self._waiting.remove(mine)
                    return None
        return mine

    def _pass_on(self, mine: _Turn) -> None:
        """Give a turn to who has waited longest: newcomers must not overtake it."""
        with self._mutex:
            del self._since[mine]
            if self._waiting:
                following = self._waiting.popleft()
                self._since[following] = time.monotonic()
                following.signal.release()
