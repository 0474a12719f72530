"""State folders: which of a partition's databases is the one in force.

    D/state/users-0/CURRENT          "epoch-00000002"
    D/state/users-0/epoch-00000002/  the database in force
    D/state/users-0/epoch-00000003/  one that a rebuild fills

A rebuild fills a new epoch and swaps it in by renaming over CURRENT, which is atomic:
a reader or a crash meets the old epoch or the new one, never a mixture. Only the
worker that holds the data folder's lock calls what writes.
"""

import os
import re
import shutil
from pathlib import Path

from tables.errors import StoreCorrupt

CURRENT = "CURRENT"
CURRENT_BYTES_MAX = 64
_EPOCH = re.compile(r"epoch-(\d{8})")


def state_folder(data_dir: Path, topic: str, partition: int) -> Path:
    """Return the folder that holds all epochs of a partition."""
    return data_dir / "state" / f"{topic}-{partition}"


def open_current(folder: Path) -> Path | None:
    """Return the database folder in force, or None where there is no state.

    Args:
      folder: A partition's `state_folder`; may be missing.

    Raises:
      StoreCorrupt: CURRENT names no epoch.
    """
    try:
        with (folder / CURRENT).open("rb") as file:
            content = file.read(CURRENT_BYTES_MAX)
    except FileNotFoundError:
        return None
    name = content.decode("ascii", "replace").strip()
    if not _EPOCH.fullmatch(name):
        raise StoreCorrupt(f"{folder / CURRENT} names no epoch")
    path = folder / name
    if not path.is_dir():
        raise StoreCorrupt(f"{path} is missing, though {CURRENT} names it")
    return path


def new_epoch(folder: Path) -> Path:
    """Create and return an empty folder, greater than every epoch before it."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 1 + max((number for number, _ in _epochs(folder)), default=0)
    path = folder / f"epoch-{number:08d}"
    path.mkdir()
    return path


def swap(folder: Path, epoch: Path) -> None:
    """Make an epoch the one in force, durably; its database should be flushed.

    Raises:
      ValueError: `epoch` is not an epoch folder of `folder`.
    """
    if epoch.parent != folder or not _EPOCH.fullmatch(epoch.name):
        raise ValueError(f"{epoch} is no epoch of {folder}")
    draft = folder / f"{CURRENT}.new"
    with draft.open("w", encoding="ascii") as file:
        file.write(epoch.name + "\n")
        file.flush()
        os.fsync(file.fileno())
    _sync_folder(epoch)
    draft.replace(folder / CURRENT)
    _sync_folder(folder)
    _sync_folder(folder.parent)


def drop_old(folder: Path) -> list[str]:
    """Delete every epoch that is not in force and return their names.

    Nothing is deleted where none is in force. A reader that still holds an old
    epoch's files keeps reading them until it notices the new one.
    """
    current = open_current(folder)
    if current is None:
        return []
    old = [path for _, path in _epochs(folder) if path != current]
    for path in old:
        shutil.rmtree(path)
    return [path.name for path in old]


def _epochs(folder: Path) -> list[tuple[int, Path]]:
    """Return (number, folder) of all epochs, oldest first."""
    found = ((_EPOCH.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), path) for match, path in found if match)


def _sync_folder(folder: Path) -> None:
    """Make a folder's names survive power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
