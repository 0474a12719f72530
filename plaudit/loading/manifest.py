"""How far a file is sent: one small file per loaded file and org, in ``D/loads/``.

It is replaced after every window of rows, so whatever ends the load, the next run goes
on right behind the last window that is known to be stored. At most one window is sent
twice then, under the same ids, which never expire: it adds nothing.
"""

import fcntl
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal

import msgspec

from plaudit.errors import Failure
from plaudit.folder import write_private
from plaudit.loading.mapping import Mapping

READ_BYTES: Final = 1 << 20
RUNS_MAX: Final = 1_000
"""Runs of one load that are not settled yet; far beyond any real number."""


class Run(msgspec.Struct):
    """The rows that one process sent, and the batch that counts what became of them."""

    batch_id: str
    accepted: int = 0


class Fates(msgspec.Struct, rename="camel"):
    """What became of accepted rows, summed over runs that are settled.

    Attributes:
      applied, too_late, refused: As the engine counted them.
      unknown: Rows of runs that nobody asked about within 24 hours.
    """

    applied: int = 0
    too_late: int = 0
    refused: int = 0
    unknown: int = 0


class Manifest(msgspec.Struct, rename="camel", kw_only=True):
    """One load.

    Attributes:
      file: Name of the file, for people.
      sha256: Hash of the file's bytes, hex.
      org: Org that it was sent to.
      mapping: What its columns meant.
      state: ``sending``; ``sent``: all rows are stored; ``complete``: and counted.
      rows: Rows known to be stored or refused, from the first.
      accepted: Rows the API took.
      refused: Rows refused before the log; they stand in the refused file.
      refused_bytes: Length of the refused file at that row.
      positions: ``users-3`` -> last offset; reads wait for it.
      runs: Runs that are not settled.
      fates: Of the settled runs.
      seconds: Time spent sending, over all runs.
    """

    file: str
    sha256: str
    org: str
    mapping: Mapping
    state: Literal["sending", "sent", "complete"] = "sending"
    rows: int = 0
    accepted: int = 0
    refused: int = 0
    refused_bytes: int = 0
    positions: dict[str, int] = {}
    runs: list[Run] = []
    fates: Fates = msgspec.field(default_factory=Fates)
    seconds: float = 0.0


class ManifestFile:
    """Where a manifest is kept."""

    def __init__(self, folder: Path, sha256: str, org: str) -> None:
        """Name a load.

        Args:
          folder: ``D/loads``; it exists.
          sha256: Hash of the file, hex.
          org: Org id, whose pattern has nothing that a path would mind.
        """
        self.path = folder / f"{sha256}-{org}.json"
        self.refused = folder / f"{sha256[:16]}-{org}.refused.csv"
        self._lock = folder / f"{sha256}-{org}.lock"

    def read(self) -> Manifest | None:
        """Return the manifest, or None before the first run.

        Raises:
          Failure: It cannot be read.
        """
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Manifest)
        except FileNotFoundError:
            return None
        except (msgspec.MsgspecError, ValueError) as error:
            raise Failure(
                f"{self.path} cannot be read: {error}. Remove it to send the file "
                "again; rows that are stored already add nothing"
            ) from error

    def write(self, manifest: Manifest) -> None:
        """Replace the manifest, durably."""
        write_private(self.path, msgspec.json.encode(manifest))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from loading the same file meanwhile.

        Raises:
          Failure: One does already.
        """
        fd = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            raise Failure("another `plaudit load` sends this file right now") from error
        try:
            yield
        finally:
            os.close(fd)


def file_hash(file: io.BufferedReader, advance: Callable[[int], None]) -> str:
    """Return a file's SHA-256, hex, and leave it at its beginning.

    Args:
      file: At its beginning.
      advance: Told how many bytes are read so far, every megabyte.
    """
    digest = hashlib.sha256()
    while chunk := file.read(READ_BYTES):
        digest.update(chunk)
        advance(file.tell())
    file.seek(0)
    return digest.hexdigest()
