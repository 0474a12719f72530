"""Restoring: a partition's newest good snapshot becomes its draft.

    download into D/state/users-0/restoring, each file checked by its hash
    -> open the database, compare its partition row with the manifest
    -> the folder becomes the draft epoch (tables/epoch.py)

Readers see the rows when the machine has caught up, as after any rebuild. Interrupted,
even killed, the next attempt keeps what is downloaded and right. A snapshot that turns
out to be damaged is given up for the next older one.
"""

import hashlib
import os
import shutil
import threading
from collections import deque
from pathlib import Path
from typing import Final

from tables import codec, epoch, keys
from tables.disk import using
from tables.errors import (
    SnapshotDamaged,
    StoreCorrupt,
    StoreFailed,
    UnknownFormat,
)
from tables.objects import NoObject
from tables.rocksdb import RocksStore
from tables.snapshot_files import SnapshotFile, hash_file
from tables.snapshots import (
    Manifest,
    Place,
    Say,
    Show,
    Snapshots,
)

DOWNLOADS_MAX: Final = 4
"""Files that are downloaded at the same time."""
REMEDY: Final = "Check the disk, then start again: what is downloaded is kept"
_PART: Final = ".part"
"""Ends the name of a file that is not downloaded to its end."""


def restore(
    snapshots: Snapshots,
    place: Place,
    folder: Path,
    *,
    above: int,
    show: Show,
    say: Say,
) -> Manifest | None:
    """Make the newest good snapshot the partition's draft.

    Args:
      snapshots: Where they are.
      place: Topic and partition.
      folder: The partition's `epoch.state_folder`; its databases are closed.
      above: A snapshot that holds no more than this offset is of no use.
      show: Told (bytes, part of the whole) that are in place; called by one thread
        at a time; what it raises ends the work.
      say: Told of each damaged snapshot.

    Returns:
      What was restored; None where there is nothing of use.

    Raises:
      SnapshotsFailed: The storage does not answer, or refuses.
      StoreFailed: The disk is full or refuses.
    """
    restoring = folder / epoch.RESTORING
    for manifest in snapshots.usable(place, say):
        if manifest.offset <= above:
            return None
        try:
            with using(restoring, REMEDY):
                _download(snapshots, manifest, restoring, show)
            _check_row(restoring, manifest)
        except SnapshotDamaged as error:
            say(f"{error}; the next older snapshot is taken")
            continue
        # Once more: it may be time to give up.
        show(manifest.size, 1.0)
        with using(restoring, REMEDY):
            epoch.adopt(folder, restoring)
        return manifest
    return None


def _download(
    snapshots: Snapshots, manifest: Manifest, folder: Path, show: Show
) -> None:
    """Bring every file of a snapshot into a folder, and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {file.name for file in manifest.files}
    for path in folder.iterdir():
        if path.name not in names:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    progress = _Progress(manifest.size, show)
    # Small ones first: a damaged one is found before the large ones are paid for.
    waiting = deque(sorted(manifest.files, key=lambda file: file.size))
    stop = threading.Event()
    errors: list[BaseException] = []

    def bring_some() -> None:
        while not stop.is_set():
            try:
                file = waiting.popleft()
            except IndexError:
                return
            try:
                _bring(snapshots, manifest, file, folder / file.name, progress, stop)
            except BaseException as error:  # noqa: BLE001 - raised below
                errors.append(error)
                stop.set()

    # Daemons: one that hangs in the network must not keep the process alive.
    threads = [
        threading.Thread(target=bring_some, name="restore", daemon=True)
        for _ in range(DOWNLOADS_MAX)
    ]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    finally:
        stop.set()
    if errors:
        raise errors[0]


def _bring(
    snapshots: Snapshots,
    manifest: Manifest,
    file: SnapshotFile,
    path: Path,
    progress: "_Progress",
    stop: threading.Event,
) -> None:
    """Download one file, unless it is there; its name says that its hash is right."""
    if _is_right(path, file):
        progress.add(file.size)
        return
    name = snapshots.object_name((manifest.topic, manifest.partition), file.hash)
    part = path.with_name(path.name + _PART)
    content = hashlib.blake2b(digest_size=32)
    size = 0
    try:
        with part.open("wb") as target:
            for block in snapshots.objects.blocks(name):
                if stop.is_set():
                    return
                size += len(block)
                if size > file.size:
                    break
                content.update(block)
                target.write(block)
                progress.add(len(block))
            target.flush()
            os.fsync(target.fileno())
    except NoObject as error:
        raise SnapshotDamaged(f"{name}, which is {file.name}, is gone") from error
    if size != file.size or content.hexdigest() != file.hash:
        raise SnapshotDamaged(f"{name} is not the {file.name} that was stored")
    part.replace(path)


def _is_right(path: Path, file: SnapshotFile) -> bool:
    """Tell whether a file is there, downloaded by an attempt before."""
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    return hash_file(path) == file.hash


def _check_row(folder: Path, manifest: Manifest) -> None:
    """Check that a database opens and holds what its manifest says."""
    name = f"{manifest.topic}/{manifest.partition}"
    try:
        store = RocksStore(folder, create=False)
        try:
            stored = store.get(keys.PARTITION)
        finally:
            store.close()
        row = None if stored is None else codec.partition_rows.decode(stored)
    except (StoreCorrupt, StoreFailed, UnknownFormat) as error:
        # A file that its manifest passes over looks like a disk that fails.
        raise SnapshotDamaged(
            f"the snapshot of {name} at offset {manifest.offset} is damaged: {error}"
        ) from error
    if row is None or not manifest.is_of(row):
        raise SnapshotDamaged(
            f"the snapshot of {name} at offset {manifest.offset} holds other rows"
        )


class _Progress:
    """Counts bytes of several threads."""

    def __init__(self, whole: int, show: Show) -> None:
        self._whole = max(whole, 1)
        self._show = show
        self._lock = threading.Lock()
        self._done = 0

    def add(self, count: int) -> None:
        """Show that so many bytes more are in place."""
        with self._lock:
            self._done += count
            self._show(self._done, min(self._done / self._whole, 1.0))
