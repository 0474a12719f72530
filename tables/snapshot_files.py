"""The files that a snapshot is made of, as they are on the owner's disk.

RocksDB writes a table file once and never again. One that has another content than an
earlier snapshot found, though nobody wrote to it, was damaged by the disk: of such, no
snapshot must be made, nor the good object of an earlier one be stored again.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import msgspec

from tables.epoch import REMEDY
from tables.errors import StoreCorrupt
from tables.objects import BLOCK_BYTES

HASHES_KEPT_MAX: Final = 100_000
"""Hashes of table files that are remembered."""
TABLE_FILE: Final = ".sst"

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
FileName: TypeAlias = Annotated[
    str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
]
"""Of a file in RocksDB's folder; it can neither leave the folder nor be odd in it."""
FileHash: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class SnapshotFile(msgspec.Struct, frozen=True, rename="camel"):
    """One file of a database.

    Attributes:
      name: Its name there.
      size: Bytes.
      hash: blake2b-256 of its content, hex.
      modified_ns: Of a table file: when it was last written, on its owner's disk, ns
        since the epoch; None: not known.
    """

    name: FileName
    size: Count
    hash: FileHash
    modified_ns: int | None = None


class FileReader:
    """Describes files; remembers the hashes of table files."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._hashes: dict[tuple[str, int, int, int], str] = {}

    def describe(self, path: Path) -> SnapshotFile:
        """Return a file's size and hash; a table file is only read once."""
        about = path.stat()
        if path.suffix != TABLE_FILE:
            return SnapshotFile(path.name, about.st_size, hash_file(path))
        # A hard link keeps inode and time; RocksDB uses no name of a table twice.
        key = (path.name, about.st_ino, about.st_size, about.st_mtime_ns)
        known = self._hashes.get(key)
        if known is None:
            known = hash_file(path)
            while len(self._hashes) >= HASHES_KEPT_MAX:
                self._hashes.pop(next(iter(self._hashes)), None)
            self._hashes[key] = known
        return SnapshotFile(path.name, about.st_size, known, about.st_mtime_ns)


def check_unchanged(
    before: Iterable[SnapshotFile], now: Iterable[SnapshotFile]
) -> None:
    """Check that table files are still what an earlier snapshot found.

    Files of the same name that were written at another time are others: of another
    epoch, or of another worker.

    Raises:
      StoreCorrupt: One is not, though nobody wrote to it.
    """
    known = {(file.name, file.modified_ns): file for file in before}
    for file in now:
        if file.modified_ns is None:
            continue
        if known.get((file.name, file.modified_ns), file) != file:
            raise _changed(file.name)


def check_content(path: Path, file: SnapshotFile) -> None:
    """Check that a file that was described still has its content.

    Raises:
      StoreCorrupt: It has not.
    """
    if hash_file(path) != file.hash:
        raise _changed(file.name)


def _changed(name: str) -> StoreCorrupt:
    return StoreCorrupt(
        f"{name} of the tables is not what it was: the disk damaged it. {REMEDY}"
    )


def hash_file(path: Path) -> str:
    """Return the blake2b-256 of a file's content, hex."""
    content = hashlib.blake2b(digest_size=32)
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            content.update(block)
    return content.hexdigest()
