"""What a figure is made of: runs and their spread, and the machine they ran on."""

import os
import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import msgspec

LIBRARIES: Final = (
    "faust-streaming",
    "mode-streaming",
    "rocksdict",
    "msgspec",
    "orjson",
    "google-re2",
    "flask",
    "granian",
)
DIGITS: Final = 4
"""Significant digits of a stored figure; more would only look exact."""


class Spread(msgspec.Struct, frozen=True):
    """A figure over some runs.

    Attributes:
      median, least, most: Of the runs.
      runs: Each run's figure, in order.
    """

    median: float
    least: float
    most: float
    runs: tuple[float, ...]


def spread(runs: Sequence[float]) -> Spread:
    """Return the spread of at least one run."""
    figures = tuple(rounded(run) for run in runs)
    median = rounded(statistics.median(figures))
    return Spread(median, min(figures), max(figures), figures)


def rounded(figure: float) -> float:
    """Return a figure with `DIGITS` significant digits."""
    return float(f"{figure:.{DIGITS}g}")


def percentile(values: Sequence[float], share: float) -> float:
    """Return the least value that at least a share (0..1) of the values do not pass."""
    ordered = sorted(values)
    place = max(0, min(len(ordered) - 1, -(-len(ordered) * share // 1) - 1))
    return ordered[int(place)]


def machine() -> dict[str, Any]:
    """Return what the machine is, and how busy it was (load averages) just now."""
    return {
        "cores": os.cpu_count(),
        "cpu": _cpu_model(),
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_averages": [round(load, 2) for load in os.getloadavg()],
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def versions() -> dict[str, str]:
    """Return the versions of the libraries that matter for speed."""
    return {library: version(library) for library in LIBRARIES}
