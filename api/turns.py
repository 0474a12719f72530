"""How many requests may wait for the log at a time.

Each holds a thread of the server. Were all of them to wait, nobody would be left for
plain reads and /health, and an API that is well would be taken for dead.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from api.problems import unavailable

STALL_S: Final = 0.5
"""A commit takes some milliseconds: for so long a request waits for its turn, unless
somebody has waited longer already. Then the log hangs, and it is refused at once."""


def writers_max(threads: int) -> int:
    """Return how many of a server's threads may wait for the log to store something.

    More than a commit needs to be worth its while: 40 of 64.
    """
    return max(threads * 5 // 8, 1)


def readers_max(threads: int) -> int:
    """Return how many threads may wait until the tables reach a position: 16 of 64.

    With the writers that leaves an eighth for whoever waits for neither.
    """
    return max(threads // 4, 1)


class Turns:
    """A bound on the requests that wait for one thing. Safe for threads."""

    def __init__(self, most: int, refusal: str) -> None:
        """Set the bound.

        Args:
          most: Requests at a time, at least 1.
          refusal: What those beyond are told.
        """
        self._most = most
        self._refusal = refusal
        self._changed = threading.Condition()
        # Since when each has its turn, the oldest first.
        self._since: dict[object, float] = {}

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Have a turn for the length of a block.

        Raises:
          Problem: 503; all turns are taken.
        """
        mine = self._take()
        try:
            yield
        finally:
            with self._changed:
                del self._since[mine]
                self._changed.notify()

    def _take(self) -> object:
        mine = object()
        given_up = time.monotonic() + STALL_S
        with self._changed:
            while len(self._since) >= self._most:
                oldest = next(iter(self._since.values()))
                left = min(given_up, oldest + STALL_S) - time.monotonic()
                if left <= 0:
                    raise unavailable(self._refusal)
                self._changed.wait(left)
            self._since[mine] = time.monotonic()
        return mine
