"""The read view of the embedded size: secondaries of the worker's databases.

Every read first catches its partition up, unless that happened less than
`CATCH_UP_EVERY_S` ago, so a row is visible that long after it was written, plus the
catch-up itself. A thread catches up the partitions that nobody reads: one that falls
far behind its owner would find files gone and pay for all it missed at once.
"""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rules.ledger import CURRENCIES, Entry
from rules.message import JsonObject
from rules.outcome import Notification, Result
from rules.state import Lot
from tables import codec, keys
from tables.codec import Heartbeat, PartitionRow, Tally
from tables.epoch import open_current, open_draft, state_folder
from tables.errors import ViewUnavailable
from tables.rocks_options import SharedResources
from tables.secondary import SecondaryReader
from tables.store import Reader
from tables.views import Draft, UserView

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
CACHE_BYTES = 32 << 20
"""Block cache of all readers of one view together."""
ORGS = ("orgs", 0)


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


class EmbeddedView:
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

    def users(
        self, partition: int, org: str, user_ids: Sequence[str]
    ) -> list[UserView | None]:
        """Return users of one partition, in order; None where never seen."""
        with self._reading("users", partition) as rows:
            values = rows.get_many([keys.user(org, user) for user in user_ids])
            return [
                None if value is None else _user_view(rows, org, user, value)
                for user, value in zip(user_ids, values, strict=True)
            ]

    def entries(
        self, partition: int, org: str, user: str, *, below: int | None, limit: int
    ) -> list[Entry]:
        """Return ledger entries newest first, of sequence < `below`."""
        prefix = keys.entries(keys.user_part(org, user))
        rows = self._page(partition, prefix, below, limit)
        found = [e for value in rows for e in reversed(codec.entries.decode(value))]
        # The first row may reach beyond: it is the one in which `below` stands.
        if below is not None:
            found = [entry for entry in found if entry.sequence < below]
        return found[:limit]

    def notifications(
        self, partition: int, org: str, user: str, *, below: int | None, limit: int
    ) -> list[Notification]:
        """Return notifications newest first, of sequence < `below`."""
        prefix = keys.notifications(keys.user_part(org, user))
        values = self._page(partition, prefix, below, limit)
        return [codec.notifications.decode(value) for value in values]

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

    def result(self, topic: str, partition: int, command_id: str) -> Result | None:
        """Return the answer to a command, or None while there is none."""
        value = self._get(topic, partition, keys.result(command_id))
        return None if value is None else codec.results.decode(value)

    def tally(self, org: str, batch: str) -> Tally | None:
        """Return what became of a batch, summed over partitions; None: unknown."""
        key = keys.tally(org, batch)
        topics = [place for place in self._partitions if place != ORGS]
        values = [self._get(*place, key) for place in topics]
        tallies = [codec.tallies.decode(value) for value in values if value is not None]
        if not tallies:
            return None
        return Tally(
            applied=sum(tally.applied for tally in tallies),
            duplicate=sum(tally.duplicate for tally in tallies),
            too_late=sum(tally.too_late for tally in tallies),
            refused=sum(tally.refused for tally in tallies),
        )

    def config_version(self, org: str) -> int | None:
        """Return an org's config version, or None where the org does not exist."""
        value = self._get(*ORGS, keys.config_version(org))
        return None if value is None else codec.numbers.decode(value)

    def config_row(self, org: str, kind: str, row_id: str) -> JsonObject | None:
        """Return one config row of an org, archived ones included."""
        value = self._get(*ORGS, keys.config_row(org, kind, row_id))
        return None if value is None else codec.config_rows.decode(value)

    def config_rows(self, org: str, kind: str) -> list[JsonObject]:
        """Return all config rows of a kind, by id, archived ones included."""
        prefix = keys.config_rows(org, kind)
        with self._reading(*ORGS) as rows:
            found = rows.scan(prefix, keys.prefix_end(prefix))
        return [codec.config_rows.decode(value) for _key, value in found]

    def position(self, topic: str, partition: int) -> PartitionRow | None:
        """Return how far a partition is folded, or None while nothing is folded."""
        value = self._get(topic, partition, keys.PARTITION)
        return None if value is None else codec.partition_rows.decode(value)

    def heartbeat(self, topic: str, partition: int) -> Heartbeat | None:
        """Return the owner's heartbeat."""
        value = self._get(topic, partition, keys.HEARTBEAT)
        return None if value is None else codec.heartbeats.decode(value)

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

    def counters(self, topic: str, partition: int) -> dict[str, int]:
        """Return counts of outcomes since the beginning of the log."""
        value = self._get(topic, partition, keys.COUNTERS)
        return {} if value is None else codec.counters.decode(value)

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
    ) -> Iterator[Reader]:
        """Give a caught-up reader; what is read inside belongs together.

        Raises:
          ViewUnavailable: The partition has no state that can be read now.
          KeyError: There is no such partition.
        """
        held = self._partitions[topic, partition]
        with held.reader.locked():
            held.catch_up(older_than_s)
            yield held.reader

    def _get(self, topic: str, partition: int, key: bytes) -> bytes | None:
        with self._reading(topic, partition) as rows:
            return rows.get(key)

    def _page(
        self, partition: int, prefix: bytes, below: int | None, limit: int
    ) -> list[bytes]:
        """Return values of a newest-first list, of sequence < `below`."""
        begin, end = keys.newest_first(prefix, below), keys.prefix_end(prefix)
        with self._reading("users", partition) as rows:
            found = rows.scan(begin, end, limit=limit)
        return [value for _key, value in found]


def _user_view(rows: Reader, org: str, user: str, value: bytes) -> UserView:
    """Return a user with its lots, which most users do not have."""
    state = codec.states.decode(value)
    lots: list[Lot] = []
    if state.next_expiry_ms is not None:
        part = keys.user_part(org, user)
        for currency in CURRENCIES:
            prefix = keys.lots(part, currency)
            found = rows.scan(prefix, keys.prefix_end(prefix))
            lots.extend(codec.lots.decode(lot) for _key, lot in found)
    return UserView(user, state, lots)
