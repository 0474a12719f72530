"""When snapshots are restored in a worker: before a partition's machine begins."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeVar

from rules.errors import PlauditError
from tables.errors import SnapshotsFailed, SnapshotsUnavailable
from tables.restore import restore
from tables.snapshots import Show, Snapshots

T = TypeVar("T")
logger = logging.getLogger("plaudit")

LOOK_EVERY_S: Final = 0.1
"""How soon a restoring notices that the worker stops."""
NEWS_AFTER_S: Final = 10.0
"""A storage that gives nothing for so long is spoken of."""
STALL_S_MAX: Final = 60.0
"""A storage that gives nothing for so long does not answer. A block of 8 MB may take
it, of four at a time."""


class GivenUp(PlauditError):
    """The worker stops, or gives the partition away; the next one goes on.

    Nothing to do.
    """


class Restore(Protocol):
    """Restores a partition; see `Restorer.as_of_now`."""

    def __call__(self, topic: str, partition: int, above: int, *, needed: bool) -> None:
        """Restore one, if there is a good snapshot of more than an offset."""


class Restorer:
    """Puts the newest good snapshot in the place of missing or old rows."""

    def __init__(
        self,
        snapshots: Snapshots,
        close_rows: Callable[[str, int], Path],
        shown: Callable[[str], Show],
    ) -> None:
        """Reach for nothing yet.

        Args:
          snapshots: Where they are.
          close_rows: Closes the rows of (topic, partition) in this process; returns the
            folder of their epochs.
          shown: Given a partition's name, returns what shows progress.
        """
        self._snapshots = snapshots
        self._close_rows = close_rows
        self._shown = shown
        self._one = threading.Lock()
        # Set where what is under way is to be given up; a new one for what comes later.
        self._stop = threading.Event()
        self._ends = False
        self._work: threading.Thread | None = None
        self._hangs = False

    def as_of_now(self) -> Restore:
        """Return what restores partitions that are assigned now.

        It is given up with what is under way now, also where its turn comes later.
        """
        return partial(self._in_turn, self._stop)

    def _in_turn(
        self,
        stop: threading.Event,
        topic: str,
        partition: int,
        above: int,
        *,
        needed: bool,
    ) -> None:
        """Restore a partition, if there is a good snapshot of more than an offset.

        One at a time; the others wait.

        Args:
          stop: Set where this is to be given up.
          topic: Topic.
          partition: Its number; its rows must not be in use, and are closed.
          above: A snapshot that holds no more than this offset is of no use.
          needed: Whether there are no rows to go on with.

        Raises:
          SnapshotsFailed: The storage does not answer, or refuses, and one is needed.
          GivenUp: The worker stops, or gives its partitions away.
          TableError: The disk refuses.
        """
        while not self._one.acquire(timeout=LOOK_EVERY_S):
            _unless_set(stop)
        try:
            _unless_set(stop)
            self._restore(topic, partition, above, stop, needed=needed)
        finally:
            self._one.release()

    def _restore(
        self,
        topic: str,
        partition: int,
        above: int,
        stop: threading.Event,
        *,
        needed: bool,
    ) -> None:
        name = f"{topic}/{partition}"
        show = self._shown(name)
        watch = _Watch(name, stop)

        def go_on(done: int, share: float) -> None:
            watch.moved()
            show(done, share)

        folder = self._close_rows(topic, partition)
        work = partial(
            restore,
            self._snapshots,
            (topic, partition),
            folder,
            above=above,
            show=go_on,
            say=logger.warning,
        )
        try:
            found = self._watched(work, watch)
        except SnapshotsFailed as error:
            if needed:
                raise
            logger.warning("%s goes on with its own tables: %s", name, error)
            return
        if found is not None:
            logger.warning(
                "%s is restored from the snapshot at offset %d", name, found.offset
            )

    def _watched(self, work: Callable[[], T], watch: "_Watch") -> T:
        """Return what work returns, unless it is given up or the storage hangs.

        The work goes on in a daemon thread: one that hangs in the network must not
        keep the process alive. The next waits until it has noticed.
        """
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(work())
            except BaseException as error:  # noqa: BLE001 - raised by `result`
                done.set_exception(error)

        while self._work is not None and self._work.is_alive():
            if self._hangs:
                raise watch.hanging()
            self._work.join(LOOK_EVERY_S)
            watch.look()
        self._work = threading.Thread(target=run, name="restoring", daemon=True)
        self._hangs = False
        # It waited for another's end until now, not for the storage.
        watch.moved()
        self._work.start()
        while True:
            try:
                return done.result(timeout=LOOK_EVERY_S)
            except TimeoutError:
                # Its own; or ours, just as it ended.
                if done.done():
                    return done.result()
            try:
                watch.look()
            except SnapshotsUnavailable:
                # What waits for its turn need not wait as long again.
                self._hangs = True
                raise

    def interrupt(self) -> None:
        """Give up what is under way; whoever restores later goes on with it."""
        given_up, self._stop = self._stop, threading.Event()
        if self._ends:
            self._stop.set()
        given_up.set()

    def give_up(self) -> None:
        """Give up what is under way and all that would come; the next start goes on."""
        self._ends = True
        self.interrupt()


def _unless_set(stop: threading.Event) -> None:
    if stop.is_set():
        raise GivenUp(
            "restoring is given up: the worker stops, or gives partitions away"
        )


class _Watch:
    """Whether one restore is still to go on, and its storage still gives something."""

    def __init__(self, name: str, stop: threading.Event) -> None:
        self._name = name
        self._stop = stop
        self._since_s = time.monotonic()
        self._is_told = False
        self._is_over = False

    def moved(self) -> None:
        """Note that something came.

        Raises:
          GivenUp: Nobody waits for it any more.
        """
        if self._is_over:
            raise GivenUp("the storage gave it too late")
        _unless_set(self._stop)
        self._since_s = time.monotonic()

    def look(self) -> None:
        """Go on waiting.

        Raises:
          GivenUp: It is given up.
          SnapshotsUnavailable: The storage has given nothing for too long.
        """
        _unless_set(self._stop)
        silent_s = time.monotonic() - self._since_s
        if silent_s > STALL_S_MAX:
            self._is_over = True
            raise self.hanging()
        if silent_s > NEWS_AFTER_S and not self._is_told:
            self._is_told = True
            logger.warning(
                "%s waits for its snapshot: the storage has given nothing for %g s",
                self._name,
                NEWS_AFTER_S,
            )

    def hanging(self) -> SnapshotsUnavailable:
        """Return what it means that the storage gives nothing."""
        return SnapshotsUnavailable(
            f"{self._name} cannot be restored: the storage of snapshots has given "
            f"nothing for {STALL_S_MAX:g} s. Check PLAUDIT_SNAPSHOTS_URL, its server "
            "and the network; what is downloaded is kept"
        )
