"""The worker: folds the log into the tables, in as many processes as it should."""

import os
from typing import Final

from plaudit.aws_profile import check_profile
from plaudit.folder import DataFolder
from plaudit.opening import open_log
from plaudit.settings import Settings
from plaudit.shares import Share, processes_of, run_shares
from streams.lock import WorkerLock
from streams.topics import USERS

ENDING_WAIT_S: Final = 2.0
"""How long a worker waits for one before it that is just ending."""


def work(settings: Settings) -> int:
    """Fold until SIGTERM or SIGINT.

    Returns:
      The exit code (plaudit/errors.py); stderr says why it is not 0.

    Raises:
      Unusable: There is no data folder, or no such profile of the AWS tools.
      FolderLocked: Another worker has it.
    """
    folder = DataFolder(settings)
    folder.require_for_worker()
    check_profile(settings, os.environ)
    lock = WorkerLock(folder.path)
    lock.acquire(ENDING_WAIT_S)
    try:
        folder.forget_processes()
        log = open_log(settings, for_worker=True)
        try:
            if settings.kafka is not None:
                folder.worker_id()
            count = processes_of(settings, log.partitions(USERS))
            if count > 1:
                return run_shares(settings, lock, count)
            # Who starts others carries nothing of what they fold with.
            from plaudit.fold_process import fold  # noqa: PLC0415

            return fold(settings, log, Share(0, 1))
        finally:
            log.close()
    finally:
        lock.release()
