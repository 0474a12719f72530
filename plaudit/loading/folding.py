"""Waiting until what was sent is folded, however far behind the worker is."""

import time
from collections.abc import Mapping
from typing import Final

from plaudit.errors import Failure
from plaudit.loading.client import Client
from plaudit.loading.progress import Progress

LOOK_EVERY_S: Final = 0.2
STALLED_AFTER_S: Final = 120.0
"""A worker that folds nothing for that long is not waited for."""


def wait_until_folded(client: Client, positions: Mapping[str, int]) -> None:
    """Wait while the worker gets on.

    Args:
      client: Asks the API.
      positions: ``users-3`` -> last offset that is to be folded.

    Raises:
      Failure: A partition stands parked, or the worker does not get on.
    """
    progress = Progress("folding", "records")
    first: int | None = None
    last: int | None = None
    moved_at = time.monotonic()
    try:
        while left := _left(client, positions, last):
            if first is None:
                first = left
            if left != last:
                last, moved_at = left, time.monotonic()
            if time.monotonic() - moved_at > STALLED_AFTER_S:
                raise Failure(
                    "all rows are stored, but the worker does not get on; see "
                    "`plaudit status`. Run the same command again for the sums"
                )
            progress.show(max(first - left, 0), max(1 - left / first, 0.0))
            client.wait(LOOK_EVERY_S)
    finally:
        progress.end()


def _left(client: Client, positions: Mapping[str, int], last: int | None) -> int:
    """Return how many records are left; where nobody says, as many as before."""
    states = client.partitions()
    if not states:
        # At first: the tally's own wait has to do.
        return last or 0
    left = 0
    for one in states:
        wanted = positions.get(f"{one.topic}-{one.partition}", -1)
        behind = max(wanted - one.applied_offset, 0)
        if behind and one.state == "parked":
            raise Failure(
                f"all rows are stored, but {one.topic}/{one.partition} stands parked; "
                "see `plaudit status`. Run the same command again for the sums"
            )
        left += behind
    return left
