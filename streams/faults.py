"""Named fault points: places where a test makes the process die.

``PLAUDIT_FAULT=after_ledger:3`` kills the worker, as `kill -9` does, when it passes
the point ``after_ledger`` for the third time. Unset, a point costs one comparison.
"""

import os
import signal
from typing import Final

AMID_EPOCH: Final = "amid_epoch"
"""Between two pieces of a new epoch of a mirror; passed only where there is one."""
POINTS: Final = (
    "before_fold",
    "after_fold",
    "after_outputs",
    "after_dead_letters",
    "after_ledger",
    "after_write",
    AMID_EPOCH,
    "after_mirror",
    "after_ack",
)


def parse_fault(text: str | None) -> tuple[str, int] | None:
    """Return (point, how many passes) of a PLAUDIT_FAULT value, None for none.

    Raises:
      ValueError: No such point, or no positive count.
    """
    if not text:
        return None
    point, _colon, passes = text.partition(":")
    if point not in POINTS or not (passes or "1").isdigit() or passes == "0":
        raise ValueError(f"PLAUDIT_FAULT must be POINT:N with POINT of {POINTS}")
    return point, int(passes or "1")


class Faults:
    """Counts passes and kills the process at the one that was asked for."""

    def __init__(self, fault: tuple[str, int] | None) -> None:
        """Arm a fault, or none."""
        self._point, self._left = fault or ("", 0)

    def reach(self, point: str) -> None:
        """Pass a point; at the armed one, die at once and without cleaning up."""
        if point != self._point:
            return
        self._left -= 1
        if self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
