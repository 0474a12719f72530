"""Which log the settings name, opened or made.

Whoever has an embedded log loads no client of Kafka.
"""

from importlib.metadata import version
from typing import Final

from plaudit.settings import Settings
from streams.log import GroupLog
from streams.sqlite_log import SqliteLog

API_APPEND_TIMEOUT_S: Final = 10.0
"""Whoever waits for an answer is told sooner than a worker gives up."""


def open_log(settings: Settings, *, for_worker: bool = False) -> GroupLog:
    """Open the log: that of the data folder, or the one on the brokers.

    Args:
      settings: Where it is.
      for_worker: Opened by the one that folds: it looks after the files, and waits
        for brokers that come back.

    Raises:
      UnknownTopic: There is none. Run `plaudit init`.
      LogError: It cannot be used; the message says what to do.
    """
    if settings.kafka is None:
        return SqliteLog(settings.data_dir, checkpoints=for_worker)
    from streams.kafka_log import APPEND_TIMEOUT_S, KafkaLog  # noqa: PLC0415 - see above

    timeout_s = APPEND_TIMEOUT_S if for_worker else API_APPEND_TIMEOUT_S
    return KafkaLog(settings.kafka, append_timeout_s=timeout_s)


def make_log(settings: Settings, log_id: str) -> str:
    """Make the log, or finish one that was begun; return its id."""
    count, tzdata = settings.partitions, version("tzdata")
    if settings.kafka is None:
        return SqliteLog.create(settings.data_dir, log_id, count, tzdata_version=tzdata)
    from streams.kafka_log import KafkaLog  # noqa: PLC0415 - see above

    return KafkaLog.create(settings.kafka, log_id, count, tzdata_version=tzdata)
