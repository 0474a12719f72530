"""How far a consumer group has committed: one small SQLite file beside the topics.

A file of its own, so that committing an offset never waits for appends. A committed
offset is the next one to be read; it never moves back.
"""

import contextlib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from streams.topic_file import connect, translated

FILE: Final = "groups.db"


class GroupOffsets:
    """The file; safe for threads and processes."""

    def __init__(self, path: Path) -> None:
        """Open the file, which is made where it is missing."""
        self._path = path
        self._lock = threading.Lock()
        self._file = connect(path)
        with translated(path):
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute(
                "CREATE TABLE IF NOT EXISTS committed (consumers TEXT, topic TEXT,"
                " partition INTEGER, offset INTEGER NOT NULL,"
                " PRIMARY KEY (consumers, topic, partition)) WITHOUT ROWID"
            )

    def committed(self, group: str, topic: str, partition: int) -> int | None:
        """Return the next offset a group would read, or None where it never said."""
        with self._lock, translated(self._path):
            row = self._file.execute(
                "SELECT offset FROM committed"
                " WHERE consumers=? AND topic=? AND partition=?",
                (group, topic, partition),
            ).fetchone()
        return None if row is None else int(row[0])

    def commit(self, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
        """Store offsets by (topic, partition), all or none; smaller ones are ignored.

        Raises:
          LogUnavailable: The file cannot be written now.
        """
        rows = [
            (group, topic, partition, offset)
            for (topic, partition), offset in offsets.items()
        ]
        with self._lock, translated(self._path):
            self._file.execute("BEGIN IMMEDIATE")
            try:
                self._file.executemany(
                    "INSERT INTO committed VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE"
                    " SET offset = max(offset, excluded.offset)",
                    rows,
                )
                self._file.execute("COMMIT")
            finally:
                if self._file.in_transaction:
                    with contextlib.suppress(self._file.Error):
                        self._file.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file; idempotent."""
        with self._lock:
            self._file.close()
