"""One process of the worker: a Faust app that folds its partitions into the tables."""

import gc
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from plaudit.errors import AGAIN, FAILED, exit_code
from plaudit.folder import DataFolder
from plaudit.logs import write_lines
from plaudit.mirrors import opened_mirrors
from plaudit.opening import open_log
from plaudit.settings import Settings
from plaudit.shares import Share
from plaudit.snapshotting import take_and_restore
from rules.errors import PlauditError
from streams.app import OpenStore, WorkerConfig, build_app, run_worker
from streams.hub import Hub, HubConfig
from streams.log import GroupLog
from streams.machine import StartAgain
from streams.topics import GROUP
from tables.clock import wall_clock_ms

if TYPE_CHECKING:
    from tables.redis_mirrors import RedisMirrors

STOPPED: Final = 0
GC_THRESHOLDS: Final = (50_000, 20, 100)
"""A fold makes much garbage but hardly a cycle; Python's default looks for cycles every
700 objects, and each full look walks all cached users."""


def work_share(settings: Settings, share: Share) -> int:
    """Fold a share of the partitions, for a worker that holds the folder's lock.

    Returns:
      As `plaudit.worker.work`.
    """
    log = open_log(settings, for_worker=settings.kafka is not None)
    try:
        return fold(settings, log, share)
    finally:
        log.close()


def _member_name(settings: Settings, share: Share) -> str:
    """Return the process's name in the group of workers; none in an embedded log's."""
    if settings.kafka is None:
        return ""
    return f"{DataFolder(settings).worker_id()}/{share.index}"


def fold(settings: Settings, log: GroupLog, share: Share) -> int:
    """Run the Faust app on an opened log; return the exit code."""
    write_lines(settings.log_level)
    gc.set_threshold(*GC_THRESHOLDS)
    with opened_mirrors(settings, log.log_id) as mirrors:
        return _run_app(settings, log, share, mirrors)


def _run_app(
    settings: Settings, log: GroupLog, share: Share, mirrors: "RedisMirrors | None"
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
    hubs[0].age_ms = app.age_ms
    take_and_restore(app, hubs[0], settings, log)
    # A machine that stops by itself stops the worker.
    hubs[0].on_fatal = app.fail
    if run_worker(app) == STOPPED:
        return STOPPED
    reason = app.crash_reason
    if isinstance(reason, StartAgain):
        return AGAIN
    return exit_code(reason) if isinstance(reason, PlauditError) else FAILED
