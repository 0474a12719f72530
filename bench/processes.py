"""What processes cost, as Linux counts it (proc(5)): CPU, memory, open handles."""

import os
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


def family(pid: int) -> list[int]:
    """Return a process and all that it started, directly or not."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        fields = _stat(int(entry.parent.name))
        if fields:
            parents.setdefault(int(fields[1]), []).append(int(entry.parent.name))
    found = [pid]
    for member in found:
        found += parents.get(member, [])
    return found


def words(pid: int) -> list[str]:
    """Return the command line of a process; empty where it has ended."""
    try:
        text = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.split("\0")[:-1]


def cpu_s(pids: list[int]) -> float:
    """Return the CPU seconds of processes so far, in steps of a clock tick (10 ms)."""
    ticks = 0
    for pid in pids:
        fields = _stat(pid)
        if fields:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS_PER_S


def rss_mb(pids: list[int]) -> float:
    """Return the resident memory of processes now, MB; shared pages count for each."""
    return sum(_status_kb(pid, "VmRSS") for pid in pids) / 1_024


def peak_rss_mb(pid: int) -> float:
    """Return the greatest resident memory that a process ever had, MB."""
    return _status_kb(pid, "VmHWM") / 1_024


def handles(pids: list[int]) -> int:
    """Return how many files, sockets and pipes processes hold open."""
    count = 0
    for pid in pids:
        try:
            count += len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - names only
        except (FileNotFoundError, ProcessLookupError):
            continue
    return count


def _stat(pid: int) -> list[str]:
    """Return the fields from the state (0) on; empty where the process has ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    # The name before it, in parentheses, may hold anything.
    return text.rpartition(")")[2].split()


def _status_kb(pid: int, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    for line in lines:
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0
