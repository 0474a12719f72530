"""The machine's clocks. The rules know the log's clock alone (ADR-0005)."""

import time


def wall_clock_ms() -> int:
    """Return the wall clock, ms since the Unix epoch; it may be set back."""
    return time.time_ns() // 1_000_000


_UNSET_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux' goes on while the machine sleeps."""


def monotonic_ms() -> int:
    """Return ms of a clock that is never set; its beginning means nothing."""
    return time.clock_gettime_ns(_UNSET_CLOCK) // 1_000_000
