"""Tests that need a server which this machine may lack.

They are left out there, and the run's end says so in one line; under CI nothing may be
left out.
"""

import os

import pytest

LEFT_OUT = "left out, it needs "


def need(what: str, *, available: bool) -> None:
    """Go on where a server can be run; else leave the test out, or fail under CI.

    `what` is read by people: "java and mvn (Kafka)".
    """
    if not available and os.environ.get("CI") == "true":
        pytest.fail(f"CI must leave nothing out, but this needs {what}")
    may(what, available=available)


def may(what: str, *, available: bool) -> None:
    """Go on where this process has a right; else leave the test out, under CI as well.

    No package can be installed for it.
    """
    if not available:
        pytest.skip(LEFT_OUT + what)


def left_out(skipped) -> str | None:
    """Return the line that says what a run left out, from its skipped reports."""
    counts: dict[str, int] = {}
    for report in skipped:
        # (file, line, "Skipped: reason")
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        _, found, what = reason.partition(LEFT_OUT)
        if found:
            counts[what] = counts.get(what, 0) + 1
    if not counts:
        return None
    parts = [f"{count} tests need {what}" for what, count in sorted(counts.items())]
    return f"left out on this machine: {'; '.join(parts)}"
