"""The read view of the embedded size: secondaries of the worker's databases.

Every read first catches its partition up, unless that happened less than
`CATCH_UP_EVERY_S` ago, so a row is visible that long after it was written, plus the
catch-up itself. A thread catches up the partitions that nobody reads: one that falls
far behind its owner would find files gone and pay for all it missed at once.
"""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tables import codec, keys
from tables.epoch import open_current, open_draft, state_folder
from tables.errors import ViewUnavailable
from tables.rocks_options import SharedResources
from tables.row_view import ORGS, Rows, RowView
from tables.secondary import SecondaryReader
from tables.views import Draft

CATCH_UP_EVERY_S = 0.003
"""A partition is caught up at most this often."""
SEEN_CATCH_UP_EVERY_S = 0.05
"""A partition is caught up at most this often for questions about seen ids alone."""
CATCH_UP_WITHIN_S = 1.0
"""A partition is caught up at least this often, read or not."""
DRAFT_EVERY_S = 0.25
"""The draft of a partition is caught up at most this often."""
WAKE_EVERY_S = 0.25
"""How often the thread looks for partitions that nobody read."""
STOP_WAIT_S = 5.0
CACHE_BYTES = 16 << 20
"""Block cache of all readers of one view together."""


class _Partition:
    """A reader and when it was caught up last; guarded by the reader's lock."""

    def __init__(self, reader: SecondaryReader, monotonic: Callable[[], float]) -> None:
        self.reader = reader
        self._monotonic = monotonic
        self._caught_up_at: float | None = None

    def catch_up(self, older_than_s: float) -> None:
        """Refresh unless the last attempt is younger than that."""
        now = self._monotonic()
        last = self._caught_up_at
        if last is not None and now - last < older_than_s:
            return
        try:
            self.reader.refresh()
        finally:
            # The end, not the beginning: a slow catch-up must not follow another.
            self._caught_up_at = self._monotonic()


class EmbeddedView(RowView):
    """`ReadView` over the worker's own databases on this machine. Safe for threads."""

    def __init__(
        self,
        data_dir: Path,
        partitions: int,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        background: bool = True,
    ) -> None:
        """Open nothing yet; the worker may start later.

        Args:
          data_dir: The data folder D; this process may write to its state folders
            (rocksdict notes its own settings there), though it changes no rows.
          partitions: Number of partitions of ``users``.
          monotonic: Seconds of a clock that never steps back.
          background: Keep a thread that catches up partitions nobody reads.
        """
        super().__init__(partitions)
        self._scratch = tempfile.TemporaryDirectory(prefix="plaudit-view-")
        resources = SharedResources(CACHE_BYTES)
        places = [*(("users", number) for number in range(partitions)), ORGS]

        def readers(
            kind: str, find: Callable[[Path], Path | None]
        ) -> dict[tuple[str, int], _Partition]:
            scratch = Path(self._scratch.name)
            return {
                (topic, number): _Partition(
                    SecondaryReader(
                        state_folder(data_dir, topic, number),
                        scratch / f"{kind}-{topic}-{number}",
                        resources,
                        find,
                    ),
                    monotonic,
                )
                for topic, number in places
            }

        self._partitions = readers("current", open_current)
        self._drafts = readers("draft", open_draft)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        if background:
            self._thread = threading.Thread(
                target=self._run, name="plaudit-view", daemon=True
            )
            self._thread.start()

    def seen_until(
        self, partition: int, org: str, user: str, event_id: str
    ) -> int | None:
        """Return until when an event id is a duplicate, or None; see ReadView."""
        event = keys.event_hash(org, user, event_id)
        with self._reading("users", partition, SEEN_CATCH_UP_EVERY_S) as rows:
            stored, dedupe = rows.get_many([keys.PARTITION, keys.DEDUPE])
            if stored is None or dedupe is None:
                return None
            clock_ms = codec.partition_rows.decode(stored).clock_ms
            where = codec.dedupe_rows.decode(dedupe)
            buckets = keys.live_buckets(clock_ms, where.horizon_ms, kept=where.kept)
            found = rows.get_many([keys.seen(bucket, event) for bucket in buckets])
        untils = [codec.decode_until(value) for value in found if value is not None]
        return max(untils, default=None)

    def draft(self, topic: str, partition: int) -> Draft | None:
        """Return how far tables are that cannot be read yet; None: there are none."""
        held = self._drafts[topic, partition]
        try:
            with held.reader.locked():
                held.catch_up(DRAFT_EVERY_S)
                row, beat = held.reader.get_many([keys.PARTITION, keys.HEARTBEAT])
        except ViewUnavailable:
            return None
        return Draft(
            None if row is None else codec.partition_rows.decode(row),
            None if beat is None else codec.heartbeats.decode(beat),
        )

    def age_ms(self) -> int:
        """Return 0: every read is caught up first."""
        return 0

    def catch_up_idle(self) -> None:
        """Catch up every partition that was not caught up for nearly a second."""
        for partition in self._partitions.values():
            # What is missing now is looked for again at the next round.
            with suppress(ViewUnavailable), partition.reader.locked():
                partition.catch_up(CATCH_UP_WITHIN_S - WAKE_EVERY_S)

    def close(self) -> None:
        """Release files; idempotent."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(STOP_WAIT_S)
        for partition in [*self._partitions.values(), *self._drafts.values()]:
            partition.reader.close()
        self._scratch.cleanup()

    def _run(self) -> None:
        while not self._stop.wait(WAKE_EVERY_S):
            self.catch_up_idle()

    @contextmanager
    def _reading(
        self, topic: str, partition: int, older_than_s: float = CATCH_UP_EVERY_S
    ) -> Iterator[Rows]:
        held = self._partitions[topic, partition]
        with held.reader.locked():
            held.catch_up(older_than_s)
            yield held.reader
