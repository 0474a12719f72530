"""Admin commands of the command line: into the log, and the worker's answer back."""

import time
from collections.abc import Sequence
from typing import Final

from plaudit.errors import Failure, Refused
from plaudit.wiring import Parts
from rules.message import Command
from rules.outcome import Result
from streams.topics import ORGS
from tables.clock import wall_clock_ms
from tables.codec import Heartbeat
from tables.errors import ViewUnavailable

ANSWER_TIMEOUT_S: Final = 10.0
LOOK_EVERY_S: Final = 0.02
HEARTBEAT_STALE_MS: Final = 10_000


def ask(parts: Parts, commands: Sequence[Command]) -> list[Result] | None:
    """Store commands and return the answers, or None where no worker runs.

    Commands without an answer stay in the log: the next worker decides about them.

    Raises:
      Refused: The first that was refused.
      Failure: A running worker has not answered in time; they may still be done.
    """
    alive = worker_is_alive(parts)
    parts.writer.write(commands)
    if not alive:
        return None
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    results = [_answer(parts, command, deadline) for command in commands]
    for result in results:
        if result.error is not None:
            raise Refused(f"{result.error.code}: {result.error.message}")
    return results


def worker_is_alive(parts: Parts) -> bool:
    """Tell whether the worker that decides about commands has shown itself lately."""
    try:
        return is_fresh(parts.view.heartbeat(ORGS, 0))
    except ViewUnavailable:
        return False


def is_fresh(heartbeat: Heartbeat | None) -> bool:
    """Tell whether a partition's worker has shown itself lately."""
    if heartbeat is None:
        return False
    return wall_clock_ms() - heartbeat.wall_ms < HEARTBEAT_STALE_MS


def _answer(parts: Parts, command: Command, deadline: float) -> Result:
    while True:
        result = parts.view.result(ORGS, 0, command.command_id)
        if result is not None:
            return result
        if time.monotonic() >= deadline:
            raise Failure(
                "the command is stored, but the worker has not answered within "
                f"{ANSWER_TIMEOUT_S:.0f} s. `plaudit status` shows how far it is"
            )
        time.sleep(LOOK_EVERY_S)
