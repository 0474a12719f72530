"""The embedded log: SQLite files under ``<data>/log``, one a topic.

    log/users.db  orgs.db  ledger.db  dead.db    the topics (streams/topic_file.py)
    log/groups.db                                committed offsets
    log/wake/                                    sockets of readers (streams/wakeup.py)

One process per data folder is the worker; API processes and tools append and read next
to it. Source: ADR on the log; https://sqlite.org/wal.html.
"""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from rules.message import Genesis
from streams.group_commit import GroupCommit
from streams.group_offsets import FILE, GroupOffsets
from streams.log import Append, LogError, LogUnavailable, Record, UnknownTopic
from streams.messages import encode_envelope
from streams.topic_file import (
    Row,
    TopicFile,
    connect,
    create_topic,
    read_meta,
    translated,
)
from streams.topics import GROUP, ORGS, TOPICS, USERS, partition_counts
from streams.wakeup import WakeupReceiver, WakeupSender
from tables.clock import wall_clock_ms

COMMIT_BYTES_MAX: Final = 8_000_000
"""Records of one commit together; a larger single call goes alone."""
QUEUE_BYTES_MAX: Final = 64_000_000
"""Records that may wait for a commit, per topic."""
RECORD_OVERHEAD_BYTES: Final = 64
COMMIT_TIMEOUT_S: Final = 10.0
CHECKPOINT_EVERY_S: Final = 1.0


class SqliteLog:
    """The embedded `Log`; safe for threads."""

    def __init__(
        self,
        data_dir: Path,
        *,
        topics: Sequence[str] = TOPICS,
        clock_ms: Callable[[], int] = wall_clock_ms,
        checkpoints: bool = False,
    ) -> None:
        """Open the log of a data folder.

        Args:
          data_dir: The data folder, made by `create`.
          topics: What to open, `TOPICS` among them; other programs on this log may have
            topics of their own (`create_topic`).
          clock_ms: Clock that stamps records.
          checkpoints: Keep the WAL short from a thread of its own; the worker does.

        Raises:
          UnknownTopic: There is no log. Run `plaudit init`.
          LogError: It cannot be opened; the message says what to do.
        """
        self.folder = data_dir / "log"
        self._topics: dict[str, TopicFile] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        try:
            for topic in topics:
                self._topics[topic] = TopicFile(self.folder / f"{topic}.db", clock_ms)
            self.log_id = self._same_log_id()
        except LogError:
            for file in self._topics.values():
                file.close()
            raise
        self._commits = {
            topic: GroupCommit(
                file.append,
                batch_max=COMMIT_BYTES_MAX,
                queue_max=QUEUE_BYTES_MAX,
                timeout_s=COMMIT_TIMEOUT_S,
            )
            for topic, file in self._topics.items()
        }
        self._groups = GroupOffsets(self.folder / FILE)
        self._wakeups = WakeupSender(self.folder / "wake")
        if checkpoints:
            self._thread = threading.Thread(
                target=self._keep_short, name="log-checkpoints", daemon=True
            )
            self._thread.start()

    def _same_log_id(self) -> str:
        """Return the id that all files have."""
        log_id = self._topics[USERS].log_id
        for file in self._topics.values():
            if file.log_id != log_id:
                raise LogError(
                    f"{file.path} belongs to log {file.log_id}, not {log_id}. "
                    "Restore all files of the log together"
                )
        return log_id

    @classmethod
    def create(
        cls,
        data_dir: Path,
        log_id: str,
        partitions: int,
        *,
        tzdata_version: str,
        semantics_version: int = 1,
        clock_ms: Callable[[], int] = wall_clock_ms,
    ) -> str:
        """Make a log with a genesis record in every partition; finish a begun one.

        Idempotent: a log that exists keeps its id and its records.

        Args:
          data_dir: The data folder; made where it is missing.
          log_id: 32 hex digits, for a new log.
          partitions: Number of `users` partitions, 1..1,024, fixed for ever.
          tzdata_version: Version of the time-zone data in force.
          semantics_version: Version of the semantics in force.
          clock_ms: Clock that stamps the genesis records.

        Returns:
          The log's id: the given one, or that of the log that was there.

        Raises:
          LogError: The log has another number of partitions, or cannot be written.
          ValueError: `partitions` is out of bounds.
        """
        counts = partition_counts(partitions)
        folder = data_dir / "log"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LogError(
                f"cannot make {folder}: {error.strerror}. Check its permissions"
            ) from error
        log_id = _existing_log_id(folder, counts) or log_id
        genesis = Genesis(log_id, partitions, semantics_version, tzdata_version)
        for topic, count in counts.items():
            create_topic(
                folder / f"{topic}.db",
                log_id=log_id,
                partitions=count,
                first=encode_envelope([genesis]),
                stamp_ms=clock_ms(),
            )
        groups = GroupOffsets(folder / FILE)
        # Nothing is done yet: without this a worker could not tell a new partition
        # from one whose state and offset were both lost.
        groups.commit(
            GROUP,
            {(topic, n): 0 for topic in (USERS, ORGS) for n in range(counts[topic])},
        )
        groups.close()
        _sync_folder(folder)
        return log_id

    def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has; raises `UnknownTopic`."""
        return self._file(topic).partitions

    def append_many(self, appends: Sequence[Append]) -> list[int]:
        """Store records and return their offsets, in order, once they are durable.

        All or nothing per topic; concurrent calls share one commit.

        Raises:
          LogUnavailable: Not durable in time; it may still become so.
          UnknownTopic: A topic or a partition does not exist.
        """
        offsets = [0] * len(appends)
        places: dict[str, list[int]] = {}
        for place, append in enumerate(appends):
            if append.partition not in range(self._file(append.topic).partitions):
                raise UnknownTopic(f"{append.topic}-{append.partition} does not exist")
            places.setdefault(append.topic, []).append(place)
        for topic, mine in places.items():
            rows = [Row(*appends[place][1:]) for place in mine]
            weight = sum(len(row.value) + RECORD_OVERHEAD_BYTES for row in rows)
            stored = self._commits[topic].submit(rows, weight)
            for place, offset in zip(mine, stored, strict=True):
                offsets[place] = offset
        self._wakeups.wake()
        return offsets

    def read(
        self, topic: str, partition: int, offset: int, *, records_max: int = 1_000
    ) -> list[Record]:
        """Return records from an offset on, in order; empty at the end.

        At most `records_max` records and about 4 MB.
        """
        return self._file(topic).read(partition, offset, records_max)

    def first_offset(self, topic: str, partition: int) -> int:
        """Return the offset of the oldest record kept."""
        return self._file(topic).bounds(partition)[0]

    def end_offset(self, topic: str, partition: int) -> int:
        """Return the offset that the next record will get."""
        return self._file(topic).bounds(partition)[1]

    def committed(self, group: str, topic: str, partition: int) -> int | None:
        """Return the next offset a group would read; None: it never committed."""
        return self._groups.committed(group, topic, partition)

    def commit(self, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
        """Store a group's offsets by (topic, partition); they never move back."""
        self._groups.commit(group, offsets)

    def receiver(self) -> WakeupReceiver:
        """Return something to sleep on until anybody appends."""
        return WakeupReceiver(self.folder / "wake")

    def checkpoint(self) -> None:
        """Shorten the WALs that have grown; takes up to seconds, call it aside."""
        for file in self._topics.values():
            file.checkpoint()

    def _keep_short(self) -> None:
        while not self._stop.wait(CHECKPOINT_EVERY_S):
            try:
                self.checkpoint()
            except LogUnavailable:
                # Appends meet the same disk and say so to their callers; the next
                # round tries again.
                continue

    def _file(self, topic: str) -> TopicFile:
        try:
            return self._topics[topic]
        except KeyError:
            raise UnknownTopic(f"there is no topic {topic}") from None

    def close(self) -> None:
        """Release files and threads; idempotent."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=30.0)
            self._thread = None
        self._wakeups.close()
        self._groups.close()
        for file in self._topics.values():
            file.close()


def _existing_log_id(folder: Path, counts: Mapping[str, int]) -> str | None:
    """Return the id of the log in a folder, or None where there is none yet.

    Raises:
      LogError: It has other numbers of partitions.
    """
    log_id = None
    for topic, count in counts.items():
        path = folder / f"{topic}.db"
        if not path.exists():
            continue
        file = connect(path)
        with translated(path):
            meta = read_meta(file)
        file.close()
        if not meta:
            continue
        if int(meta["partitions"]) != count:
            raise LogError(
                f"{path} has {meta['partitions']} partitions, not {count}. The number "
                "is fixed when a log is made: use it, or another data folder"
            )
        log_id = log_id or meta["log_id"]
    return log_id


def _sync_folder(folder: Path) -> None:
    """Make the files' names survive power loss."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
