"""How a machine waits for its mirror: with pauses that grow, and not for ever.

The state is stored before the mirror hears of it, so Redis away costs readers their
freshness and the partition its progress, but never a message: the acknowledgement of
the step waits. After `WAIT_MAX_S` the worker stops and says so
(docs/adr/0008-mirror.md).
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tables.errors import MirrorUnavailable

if TYPE_CHECKING:
    from tables.redis_mirror import RedisMirror

logger = logging.getLogger("plaudit")

WAIT_MAX_S: Final = 60.0
"""How long a partition waits for Redis before the worker stops."""
PAUSE_FIRST_S: Final = 0.05
PAUSE_LONGEST_S: Final = 1.0

Run: TypeAlias = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a blocking call in a thread; a cancellation waits for its end."""


class Mirroring:
    """Keeps one partition's mirror at the position of its rows."""

    def __init__(
        self,
        mirror: "RedisMirror",
        name: str,
        *,
        wait_max_s: float = WAIT_MAX_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Bind a mirror.

        Args:
          mirror: Of the partition's rows.
          name: The partition, for messages.
          wait_max_s: See `WAIT_MAX_S`.
          monotonic: Seconds of a clock that never steps back.
        """
        self._mirror = mirror
        self._name = name
        self._wait_max_s = wait_max_s
        self._monotonic = monotonic

    @property
    def copying(self) -> bool:
        """Whether a new epoch is being written: `follow` again soon."""
        return self._mirror.copying

    async def follow(self, run: Run, *, readable: bool) -> None:
        """Mirror what was stored since the last call; returns when Redis has it.

        Args:
          run: Runs each attempt.
          readable: Whether readers may see the rows.

        Raises:
          MirrorUnavailable: Redis was away for too long; the worker stops.
          MirrorUnusable: It cannot be used as it is set up.
        """
        if not self._mirror.pending:
            return
        advance = partial(self._mirror.advance, readable=readable)
        began: float | None = None
        pause_s = PAUSE_FIRST_S
        while True:
            try:
                await run(advance)
                return
            except MirrorUnavailable as error:
                now = self._monotonic()
                if began is None:
                    began = now
                    logger.warning("%s waits for its mirror: %s", self._name, error)
                if now - began >= self._wait_max_s:
                    raise MirrorUnavailable(
                        f"{error}. {self._name} has waited {self._wait_max_s:.0f} s. "
                        "Nothing is lost: mend that, then start the worker"
                    ) from error
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, PAUSE_LONGEST_S)
