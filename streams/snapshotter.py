"""When snapshots are taken in a worker: by a partition's machine, between two steps.

The machine waits for the checkpoint alone (some 25 ms); hashing and sending is the work
of a thread of its own, one at a time in a process. What fails is tried again at the
partition's next turn: the fold goes on, and the heartbeat row says so.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from rules.errors import PlauditError
from streams.restorer import GivenUp
from tables.codec import PartitionRow
from tables.errors import TableError
from tables.snapshots import Place, Snapshots

logger = logging.getLogger("plaudit")

UPLOAD_S_MAX: Final = 21_600.0
"""An upload that takes longer is given up. Well below the time for which objects that
it reuses are sure to stay (tables/snapshots.py)."""
STOP_WAIT_S: Final = 3.0
"""How long an upload in flight may take to notice that it is given up."""

Checkpoint: TypeAlias = Callable[[str, int], Path]
"""Makes a folder with the rows of (topic, partition) as they are now."""


class SnapshotStatus(NamedTuple):
    """What has become of a partition's snapshots in this process.

    Attributes:
      offset: Last offset of the newest good one; None: not known yet.
      wall_ms: When it was complete, ms since the epoch.
      failures: Attempts in a row that failed since.
    """

    offset: int | None = None
    wall_ms: int | None = None
    failures: int = 0


class _Turn(NamedTuple):
    """The last attempt at a partition: its offset, and when it ended."""

    offset: int
    ended_s: float


class Snapshotter:
    """Takes the snapshots of one process. Safe for threads."""

    def __init__(
        self,
        snapshots: Snapshots,
        checkpoint: Checkpoint,
        every_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take nothing yet.

        Args:
          snapshots: Where they go.
          checkpoint: See Checkpoint.
          every_s: Pause between two snapshots of a partition; the first is due at once,
            or a worker that starts often would never take one.
          monotonic: Seconds of a clock that never steps back.
        """
        self._snapshots = snapshots
        self._checkpoint = checkpoint
        self._every_s = every_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._busy = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._turns: dict[Place, _Turn] = {}
        self._statuses: dict[Place, SnapshotStatus] = {}

    def is_due(self, place: Place, offset: int) -> bool:
        """Tell whether a snapshot of a partition at an offset is due."""
        turn = self._turns.get(place)
        if self._busy or self._stop.is_set():
            return False
        return turn is None or (
            self._monotonic() - turn.ended_s >= self._every_s
            and (offset != turn.offset or self.status(place).failures > 0)
        )

    def take(self, place: Place, row: PartitionRow) -> None:
        """Make a checkpoint and begin to upload it, unless another upload runs.

        Args:
          place: Topic and partition; its machine is between two steps.
          row: Its partition row.

        Raises:
          TableError: The checkpoint cannot be made.
        """
        with self._lock:
            if self._busy or self._stop.is_set():
                return
            self._busy = True
        try:
            folder = self._checkpoint(*place)
        except BaseException:
            self._busy = False
            raise
        # A daemon: one that hangs in the network must not keep the process alive.
        self._thread = threading.Thread(
            target=self._run, args=(place, row, folder), name="snapshot", daemon=True
        )
        self._thread.start()

    def status(self, place: Place) -> SnapshotStatus:
        """Return what has become of a partition's snapshots."""
        return self._statuses.get(place, SnapshotStatus())

    def give_up(self) -> None:
        """Give up an upload in flight; take no more."""
        self._stop.set()

    def close(self) -> None:
        """Give up and wait for that, bounded; idempotent."""
        self.give_up()
        thread = self._thread
        if thread is not None:
            thread.join(STOP_WAIT_S)

    def _run(self, place: Place, row: PartitionRow, folder: Path) -> None:
        deadline = self._monotonic() + UPLOAD_S_MAX
        name = f"{place[0]}/{place[1]}"

        def go_on(_bytes: int, _share: float) -> None:
            if self._stop.is_set():
                raise GivenUp("the worker stops")
            if self._monotonic() > deadline:
                raise TableError(f"it takes longer than {UPLOAD_S_MAX:.0f} s")

        before = self.status(place)
        status = before._replace(failures=before.failures + 1)
        try:
            manifest = self._snapshots.upload(place, row, folder, go_on)
            status = SnapshotStatus(manifest.offset, manifest.created_ms)
            self._retain(place, name)
        except GivenUp:
            status = before
        except (PlauditError, OSError) as error:
            logger.warning(
                "the snapshot of %s failed: %s. It is tried again in %g s",
                name,
                error,
                self._every_s,
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            self._statuses[place] = status
            self._turns[place] = _Turn(row.offset, self._monotonic())
            self._busy = False

    def _retain(self, place: Place, name: str) -> None:
        try:
            self._snapshots.retain(place)
        except (PlauditError, OSError) as error:
            logger.warning(
                "old snapshots of %s are kept: %s. After the next one they are looked "
                "at again",
                name,
                error,
            )
