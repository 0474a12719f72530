"""State folders: which of a partition's databases is the one in force.

    D/state/users-0/CURRENT          "epoch-00000002"
    D/state/users-0/DRAFT            "epoch-00000003", while one is filled
    D/state/users-0/epoch-00000002/  the database in force
    D/state/users-0/epoch-00000003/  the draft: one that a rebuild fills

A rebuild fills a draft and swaps it in by renaming over CURRENT, which is atomic: a
reader or a crash meets the old epoch or the new one, never a mixture. A rebuild that
was interrupted goes on with its draft. Only the holder of the data folder's lock calls
what writes.

    D/state/users-0/RESTORED         names the draft, where a snapshot made it
    D/state/users-0/restoring/       what is downloaded so far of a snapshot
    D/state/users-0/checkpoint/      what a snapshot is uploaded from: hard links
"""

import os
import re
import shutil
from pathlib import Path

from tables.errors import StoreCorrupt

CURRENT = "CURRENT"
DRAFT = "DRAFT"
RESTORED = "RESTORED"
RESTORING = "restoring"
CHECKPOINT = "checkpoint"
NAME_BYTES_MAX = 64
REMOVE_ATTEMPTS_MAX = 100
REMEDY = "`plaudit rebuild` makes the tables anew from the log"
_EPOCH = re.compile(r"epoch-(\d{8})")


def state_folder(data_dir: Path, topic: str, partition: int) -> Path:
    """Return the folder that holds all epochs of a partition."""
    return data_dir / "state" / f"{topic}-{partition}"


def open_current(folder: Path) -> Path | None:
    """Return the database folder in force, or None where there is no state.

    There is none either where the folder that CURRENT names is lost: then the tables
    are made again, as those of a folder that is lost as a whole.

    Args:
      folder: A partition's `state_folder`; may be missing.

    Raises:
      StoreCorrupt: CURRENT names no epoch.
    """
    name = _read_name(folder / CURRENT)
    if name is None:
        return None
    if not _EPOCH.fullmatch(name):
        raise StoreCorrupt(f"{folder / CURRENT} names no epoch. {REMEDY}")
    path = folder / name
    return path if path.is_dir() else None


def open_draft(folder: Path) -> Path | None:
    """Return the database folder that is being filled, or None where there is none."""
    name = _read_name(folder / DRAFT)
    # A crash may have come between the swap and the end of the draft.
    if (
        name is None
        or not _EPOCH.fullmatch(name)
        or name == _read_name(folder / CURRENT)
    ):
        return None
    return folder / name if (folder / name).is_dir() else None


def holds_database(path: Path) -> bool:
    """Tell whether an epoch's database is there; while one is made it is not yet."""
    return (path / "CURRENT").exists()


def is_restored(folder: Path, draft: Path) -> bool:
    """Tell whether a draft comes from a snapshot, not from the log alone."""
    return _read_name(folder / RESTORED) == draft.name


def new_draft(folder: Path) -> Path:
    """Create and return an empty epoch as the draft, in place of one before it."""
    given_up = open_draft(folder)
    path = new_epoch(folder)
    _write_name(folder, DRAFT, path.name)
    if given_up is not None:
        remove(given_up)
    return path


def new_epoch(folder: Path) -> Path:
    """Create and return an empty folder, greater than every epoch before it."""
    path = _next_epoch(folder)
    path.mkdir()
    return path


def adopt(folder: Path, restored: Path) -> Path:
    """Make a restored database the draft, and let go of every epoch before it.

    Readers meet it when it is swapped in. A crash in between leaves the epochs that
    were there in force.

    Args:
      folder: A partition's `state_folder`.
      restored: A closed database in a folder beside the epochs; it is renamed.
    """
    path = _next_epoch(folder)
    sync_folder(restored)
    restored.rename(path)
    _write_name(folder, RESTORED, path.name)
    _write_name(folder, DRAFT, path.name)
    (folder / CURRENT).unlink(missing_ok=True)
    sync_folder(folder)
    for _, old in _epochs(folder):
        if old != path:
            remove(old)
    return path


def _next_epoch(folder: Path) -> Path:
    """Return the name of an epoch that is greater than all before it."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [number for number, _ in _epochs(folder)]
    # One that is lost: in its place an epoch would be in force before it is filled.
    named = _EPOCH.fullmatch(_read_name(folder / CURRENT) or "")
    if named:
        numbers.append(int(named[1]))
    return folder / f"epoch-{1 + max(numbers, default=0):08d}"


def swap(folder: Path, epoch: Path) -> None:
    """Make an epoch the one in force, durably; its database should be flushed.

    Raises:
      ValueError: `epoch` is not an epoch folder of `folder`.
    """
    if epoch.parent != folder or not _EPOCH.fullmatch(epoch.name):
        raise ValueError(f"{epoch} is no epoch of {folder}")
    sync_folder(epoch)
    _write_name(folder, CURRENT, epoch.name)
    if _read_name(folder / DRAFT) == epoch.name:
        (folder / DRAFT).unlink()
    (folder / RESTORED).unlink(missing_ok=True)
    sync_folder(folder)
    sync_folder(folder.parent)


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
        remove(path)
    return [path.name for path in old]


def remove(path: Path) -> None:
    """Delete a folder, if there is one, in which others are at work at this moment.

    A reader that opens a database writes a file beside it (rocksdict's settings),
    perhaps just when all the others are deleted. Who uploads a checkpoint removes it,
    too.

    Raises:
      OSError: It cannot be deleted.
    """
    for left in reversed(range(REMOVE_ATTEMPTS_MAX)):
        # What hinders is met again in the last attempt, unless it is over.
        shutil.rmtree(path, ignore_errors=left > 0)
        if not path.exists():
            return


def _epochs(folder: Path) -> list[tuple[int, Path]]:
    """Return (number, folder) of all epochs, oldest first."""
    found = ((_EPOCH.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[1]), path) for match, path in found if match)


def _read_name(path: Path) -> str | None:
    """Return what a file names, or None where there is no such file."""
    try:
        with path.open("rb") as file:
            content = file.read(NAME_BYTES_MAX)
    except FileNotFoundError:
        return None
    return content.decode("ascii", "replace").strip()


def _write_name(folder: Path, file_name: str, name: str) -> None:
    """Make a file name an epoch, at once and durably."""
    staged = folder / f"{file_name}.new"
    with staged.open("w", encoding="ascii") as file:
        file.write(name + "\n")
        file.flush()
        os.fsync(file.fileno())
    staged.replace(folder / file_name)


def sync_folder(folder: Path) -> None:
    """Make a folder's names survive power loss."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
