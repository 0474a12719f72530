"""The worker process: folds the log into the tables."""

import gc
import logging
from importlib.metadata import version
from typing import Final

from plaudit.errors import AGAIN, FAILED, exit_code
from plaudit.folder import DataFolder
from plaudit.opening import open_log
from plaudit.settings import Settings
from plaudit.shares import Share, processes_of, run_shares
from plaudit.snapshotting import take_and_restore
from plaudit.wiring import opened_mirrors
from rules.errors import PlauditError
from streams.app import OpenStore, WorkerConfig, build_app, run_worker
from streams.hub import Hub, HubConfig
from streams.lock import WorkerLock
from streams.log import GroupLog
from streams.machine import StartAgain
from streams.sqlite_log import wall_clock_ms
from streams.topics import GROUP, USERS
from tables.redis_mirrors import RedisMirrors

STOPPED: Final = 0
ENDING_WAIT_S: Final = 2.0
"""How long a worker waits for one before it that is just ending."""
GC_THRESHOLDS: Final = (50_000, 20, 100)
"""A fold makes much garbage but hardly a cycle; Python's default looks for cycles every
700 objects, and each full look walks all cached users."""


def work(settings: Settings) -> int:
    """Fold until SIGTERM or SIGINT.

    Returns:
      The exit code (plaudit/errors.py); stderr says why it is not 0.

    Raises:
      Unusable: There is no data folder.
      FolderLocked: Another worker has it.
    """
    folder = DataFolder(settings)
    folder.require_for_worker()
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
            return _run(settings, log, Share(0, 1))
        finally:
            log.close()
    finally:
        lock.release()


def work_share(settings: Settings, share: Share) -> int:
    """Fold a share of the partitions, for a worker that holds the folder's lock.

    Returns:
      As `work`.
    """
    log = open_log(settings, for_worker=settings.kafka is not None)
    try:
        return _run(settings, log, share)
    finally:
        log.close()


def _member_name(settings: Settings, share: Share) -> str:
    """Return the process's name in the group of workers; none in an embedded log's."""
    if settings.kafka is None:
        return ""
    return f"{DataFolder(settings).worker_id()}/{share.index}"


def _run(settings: Settings, log: GroupLog, share: Share) -> int:
    """Run the Faust app; return the exit code."""
    logging.basicConfig(level=settings.log_level.upper())
    gc.set_threshold(*GC_THRESHOLDS)
    with opened_mirrors(settings, log.log_id) as mirrors:
        return _run_app(settings, log, share, mirrors)


def _run_app(
    settings: Settings, log: GroupLog, share: Share, mirrors: RedisMirrors | None
) -> int:
    config = HubConfig(GROUP, version("tzdata"), settings.fault)
    hubs: list[Hub] = []

    def hub_of(open_store: OpenStore) -> Hub:
        hubs.append(Hub(config, log, open_store, wall_clock_ms, mirrors))
        return hubs[0]

    app = build_app(
        WorkerConfig(
            settings.data_dir,
            share=(share.index, share.count),
            kafka=settings.kafka,
            name=_member_name(settings, share),
        ),
        log,
        hub_of,
    )
    hubs[0].put_in_force = app.put_in_force
    hubs[0].silence_ms = app.silence_ms
    take_and_restore(app, hubs[0], settings, log.log_id)
    # A machine that stops by itself stops the worker.
    hubs[0].on_fatal = app.fail
    if run_worker(app) == STOPPED:
        return STOPPED
    reason = app.crash_reason
    if isinstance(reason, StartAgain):
        return AGAIN
    return exit_code(reason) if isinstance(reason, PlauditError) else FAILED
