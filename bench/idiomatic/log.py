"""The topics of the ordinary app, beside Plaudit's own in a log of its own."""

import contextlib
import time
from pathlib import Path
from typing import Final

from streams.sqlite_log import SqliteLog
from streams.topic_file import connect, create_topic
from streams.topics import TOPICS

ACTIONS: Final = "actions"
LEDGER: Final = "ledger"
CHANGELOG: Final = "loyalty-users-changelog"
LEADER: Final = "loyalty-__assignor-__leader"
"""By which Faust elects the leader of a group."""
LOG_ID: Final = "0" * 32


def make_log(data_dir: Path, partitions: int) -> None:
    """Make a log with the app's topics; they begin empty.

    Args:
      data_dir: Where.
      partitions: Of every topic but the leader's.
    """
    SqliteLog.create(data_dir, LOG_ID, partitions, tzdata_version="")
    counts = {ACTIONS: partitions, CHANGELOG: partitions, LEADER: 1}
    for topic, count in counts.items():
        path = data_dir / "log" / f"{topic}.db"
        now_ms = time.time_ns() // 1_000_000
        create_topic(path, log_id=LOG_ID, partitions=count, first=b"", stamp_ms=now_ms)
        # The first record is for Plaudit's machines; Faust could not read it.
        with contextlib.closing(connect(path)) as file:
            for partition in range(count):
                file.execute(f"DELETE FROM p{partition}")  # noqa: S608 - an int


def open_log(data_dir: Path, *, checkpoints: bool = False) -> SqliteLog:
    """Open the log of a folder that `make_log` made."""
    topics = (*TOPICS, ACTIONS, CHANGELOG, LEADER)
    return SqliteLog(data_dir, topics=topics, checkpoints=checkpoints)
