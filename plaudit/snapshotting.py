"""Snapshots in a worker, and on the command line while none runs."""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from plaudit.aws_profile import check_profile
from plaudit.errors import Failure, Unusable
from plaudit.folder import DataFolder
from plaudit.loading.progress import Progress
from plaudit.opening import open_log
from plaudit.rebuilding import chosen_places
from plaudit.settings import Settings, variable
from streams.app import App
from streams.checks import check_row, misfit
from streams.hub import Hub
from streams.lock import WorkerLock
from streams.log import GroupLog
from streams.restorer import Restorer
from streams.snapshotter import Snapshotter
from streams.topics import USERS
from tables import codec, epoch, keys
from tables.clock import wall_clock_ms
from tables.objects import Objects
from tables.rocksdb import RocksStore
from tables.snapshots import Manifest, Place, Show, Snapshots

KILOBYTE: Final = 1_000


class Listed(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One snapshot, as `plaudit snapshots list` shows it.

    Attributes:
      good: Whether it can be restored.
      size: Bytes of all its files, shared ones included.
      problem: Why it is no good.
    """

    topic: str
    partition: int
    name: str
    good: bool
    offset: int | None = None
    messages: int | None = None
    created_ms: int | None = None
    size: int | None = None
    problem: str | None = None


def open_snapshots(settings: Settings, log: GroupLog) -> Snapshots | None:
    """Return the snapshots of a log; None where no storage is set."""
    if not settings.snapshots_url:
        return None
    objects = Objects(settings.snapshots_url, settings.snapshots_endpoint_url)

    def misfit_of(manifest: Manifest) -> str | None:
        return misfit(log, manifest.topic, manifest.partition, manifest)

    return Snapshots(objects, log.log_id, wall_clock_ms, misfit_of)


def take_and_restore(app: App, hub: Hub, settings: Settings, log: GroupLog) -> None:
    """Have a worker take snapshots and restore them, where a storage is set."""
    snapshots = open_snapshots(settings, log)
    if snapshots is None:
        return
    hub.restorer = Restorer(
        snapshots, app.close_rows, lambda name: _shown(f"restoring {name}")[1]
    )
    hub.snapshotter = Snapshotter(snapshots, app.checkpoint, settings.snapshot_every_s)


def list_snapshots(settings: Settings, places: Sequence[str]) -> list[Listed]:
    """Return the snapshots of the named partitions, or of all, newest first.

    Raises:
      Unusable: No storage is set, or there is no such partition.
      SnapshotsFailed: The storage does not answer, or refuses.
    """
    with _opened(settings) as (log, snapshots):
        return [
            _listed(place, name, manifest, problem)
            for place in chosen_places(log.partitions(USERS), places)
            for name, manifest, problem in snapshots.listed(place)
        ]


def take_snapshots(settings: Settings, places: Sequence[str]) -> list[Listed]:
    """Take a snapshot of the named partitions, or of all here, while no worker runs.

    Of several workers on brokers each has the tables of its share alone.

    Raises:
      FolderLocked: A worker runs; it takes them by itself.
      Unusable: No storage is set, or there is no such partition.
      Failure: A named partition has no tables here, or none has.
      SnapshotsFailed: The storage does not answer, or refuses.
    """
    with _opened(settings) as (log, snapshots), WorkerLock(settings.data_dir):
        chosen = chosen_places(log.partitions(USERS), places)
        if not places:
            chosen = [place for place in chosen if _has_tables(settings, place)]
        if not chosen:
            raise Failure("there are no tables here yet: run a worker first")
        return [_take(settings, log, snapshots, place) for place in chosen]


def _has_tables(settings: Settings, place: Place) -> bool:
    folder = epoch.state_folder(settings.data_dir, *place)
    return epoch.open_current(folder) is not None


@contextlib.contextmanager
def _opened(settings: Settings) -> Iterator[tuple[GroupLog, Snapshots]]:
    DataFolder(settings).require_for_worker()
    check_profile(settings, os.environ)
    log = open_log(settings)
    try:
        snapshots = open_snapshots(settings, log)
        if snapshots is None:
            raise Unusable(
                f"{variable('snapshots_url')} is not set: there are no snapshots"
            )
        yield log, snapshots
    finally:
        log.close()


def _take(
    settings: Settings, log: GroupLog, snapshots: Snapshots, place: Place
) -> Listed:
    topic, partition = place
    folder = epoch.state_folder(settings.data_dir, topic, partition)
    path = epoch.open_current(folder)
    if path is None:
        raise Failure(f"{topic}/{partition} has no tables yet: run a worker first")
    checkpoint = folder / epoch.CHECKPOINT
    shutil.rmtree(checkpoint, ignore_errors=True)
    store = RocksStore(path, create=False)
    try:
        stored = store.get(keys.PARTITION)
        if stored is None:
            raise Failure(f"{topic}/{partition} has no tables yet: run a worker first")
        row = codec.partition_rows.decode(stored)
        check_row(log, topic, partition, row)
        store.checkpoint(checkpoint)
    finally:
        store.close()
    progress, show = _shown(f"{topic}/{partition}")
    try:
        manifest = snapshots.upload(place, row, checkpoint, show)
        snapshots.retain(place)
    finally:
        progress.end()
        shutil.rmtree(checkpoint, ignore_errors=True)
    return _listed(place, "", manifest, None)


def _shown(label: str) -> tuple[Progress, Show]:
    """Return a job's progress, and what shows bytes on it."""
    progress = Progress(label, "kB")

    def show(done: int, share: float) -> None:
        progress.show(done // KILOBYTE, share)

    return progress, show


def _listed(
    place: Place, name: str, manifest: Manifest | None, problem: str | None
) -> Listed:
    topic, partition = place
    name = Path(name).name
    if manifest is None:
        return Listed(
            topic=topic, partition=partition, name=name, good=False, problem=problem
        )
    return Listed(
        topic=topic,
        partition=partition,
        name=name,
        good=True,
        offset=manifest.offset,
        messages=manifest.number,
        created_ms=manifest.created_ms,
        size=manifest.size,
    )
