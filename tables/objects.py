"""Shared storage by URL: named objects that are written whole or not at all.

    file:///srv/snapshots        a folder that is there, perhaps of another machine
    s3://bucket/prefix           S3, or any server that speaks its protocol

Over fsspec. Credentials for S3 come from the standard ``AWS_*`` variables (or the files
and roles that boto knows); no message here holds them. Safe for threads; not for the
event loop: every call waits for the storage.
"""

import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from tables.epoch import sync_folder
from tables.errors import SnapshotsFailed, SnapshotsRefused, SnapshotsUnavailable
from tables.object_url import check_url

BLOCK_BYTES: Final = 8 << 20
"""Read or written at once: what giving up waits for at most, and one part of S3's."""
CONNECT_TIMEOUT_S: Final = 5
READ_TIMEOUT_S: Final = 20
ATTEMPTS_MAX: Final = 3
ROUNDS_MAX: Final = 2
"""How often all of these attempts are made, and a read that breaks off goes on."""
READ_BYTES_MAX: Final = 64 << 20
"""About as much of an object is read into memory."""
STAGED: Final = ".new"
"""Ends the name of a file that is being written; whoever lists sees it and its age."""

Moved: TypeAlias = Callable[[int], None]
"""Told how many bytes more were moved; what it raises ends the transfer."""


class Object(NamedTuple):
    """What a listing says of one object."""

    size: int
    modified_ms: int


class NoObject(Exception):
    """There is no object of that name."""


class Objects:
    """The objects under one URL. Names are relative, their parts split by ``/``."""

    def __init__(self, url: str, endpoint_url: str = "") -> None:
        """Reach for nothing yet.

        Args:
          url: See the module.
          endpoint_url: Server for ``s3://``; empty: Amazon's, or boto's own settings.

        Raises:
          ValueError: See `check_url`.
        """
        check_url(url)
        self.url = url.rstrip("/")
        parts = urlsplit(self.url)
        self._local = parts.scheme == "file"
        self._root = (parts.netloc + parts.path).rstrip("/")
        # Listings must be true: others write to the same place.
        options: dict[str, Any] = {"use_listings_cache": False}
        self._refusals: tuple[type[Exception], ...] = (PermissionError,)
        if not self._local:
            from botocore.exceptions import (  # noqa: PLC0415
                InvalidRegionError,
                NoCredentialsError,
            )

            # A folder may be mounted yet; a bucket that is missing is a wrong name.
            self._refusals += (
                FileNotFoundError,
                InvalidRegionError,
                NoCredentialsError,
            )
            options |= {
                "endpoint_url": endpoint_url or None,
                "default_block_size": BLOCK_BYTES,
                "config_kwargs": {
                    "connect_timeout": CONNECT_TIMEOUT_S,
                    "read_timeout": READ_TIMEOUT_S,
                    "retries": {"max_attempts": ATTEMPTS_MAX},
                    # Many servers know no checksum headers; every object has its hash.
                    "request_checksum_calculation": "when_required",
                    "response_checksum_validation": "when_required",
                },
            }
        # Whoever keeps no snapshots loads none of it.
        import fsspec  # noqa: PLC0415

        self._files: Any = fsspec.filesystem(parts.scheme, **options)
        self._files.retries = ROUNDS_MAX

    def list(self, prefix: str) -> dict[str, Object]:
        """Return all objects below a prefix, name -> what it is.

        Raises:
          SnapshotsFailed: The storage does not answer, or refuses.
        """
        with self._reaching("list"):
            if self._local:
                return _below(Path(self._root), Path(self._path(prefix)))
            found = self._files.find(self._path(prefix), detail=True)
        begin = len(self._root.lstrip("/")) + 1
        return {
            path.lstrip("/")[begin:]: Object(int(about["size"]), _modified_ms(about))
            for path, about in found.items()
        }

    def find(self, name: str) -> Object | None:
        """Return what one object is, or None where there is none.

        Listings of some servers pass over objects while others are written.

        Raises:
          SnapshotsFailed: As `list`.
        """
        with self._reaching("read"):
            try:
                about = self._files.info(self._path(name))
            except FileNotFoundError:
                return None
        return Object(int(about["size"]), _modified_ms(about))

    def read(self, name: str) -> bytes:
        """Return a small object; of a larger one, its beginning.

        Raises:
          NoObject: There is none.
          SnapshotsFailed: As `list`.
        """
        content = b""
        for block in self.blocks(name):
            content += block
            if len(content) > READ_BYTES_MAX:
                break
        return content

    def blocks(self, name: str) -> Iterator[bytes]:
        """Yield an object's content in blocks.

        Raises:
          NoObject: There is none.
          SnapshotsFailed: As `list`.
        """
        with self._reaching("read"):
            try:
                file = self._files.open(
                    self._path(name), "rb", **self._unbuffered("none")
                )
            except FileNotFoundError as error:
                raise NoObject(name) from error
        with file:
            while True:
                with self._reaching("read"):
                    try:
                        block = file.read(BLOCK_BYTES)
                    except FileNotFoundError as error:
                        # Removed a moment ago, by another worker.
                        raise NoObject(name) from error
                if not block:
                    return
                yield block

    def put(self, name: str, content: bytes) -> None:
        """Write a small object, whole or not at all; one of that name is replaced.

        Raises:
          SnapshotsFailed: As `list`.
        """
        with self._writing(name) as write:
            write(content)

    def put_file(self, name: str, path: Path, moved: Moved) -> None:
        """Write a file's content as an object, whole or not at all.

        Raises:
          SnapshotsFailed: As `list`.
        """
        with self._writing(name) as write, path.open("rb") as source:
            while block := source.read(BLOCK_BYTES):
                write(block)
                moved(len(block))

    def remove(self, name: str) -> None:
        """Remove an object; gone already is fine.

        One at a time: S3's removal of many asks for a checksum that not all servers
        know.
        """
        with self._reaching("remove from"):
            try:
                self._files.rm_file(self._path(name))
            except FileNotFoundError:
                return

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _unbuffered(self, cache: str) -> dict[str, Any]:
        """Return options of `open`; a local file knows none."""
        return {} if self._local else {"block_size": BLOCK_BYTES, "cache_type": cache}

    @contextmanager
    def _writing(self, name: str) -> Iterator[Callable[[bytes], None]]:
        """Give a function that takes content; the object is there at the end, or not.

        S3 makes an object when it is complete; a file gets its name when it is synced.
        """
        path = self._path(name)
        staged = f"{path}.{secrets.token_hex(8)}{STAGED}" if self._local else path
        with self._reaching("write to"):
            if self._local:
                self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            file = self._files.open(staged, "wb", **self._unbuffered("none"))

        def write(block: bytes) -> None:
            with self._reaching("write to"):
                file.write(block)

        try:
            yield write
        except BaseException:
            self._give_up(file, staged)
            raise
        with self._reaching("write to"):
            if self._local:
                file.flush()
                os.fsync(file.fileno())
            file.close()
            if self._local:
                Path(staged).replace(path)
                sync_folder(Path(path).parent)

    def _give_up(self, file: Any, staged: str) -> None:
        """Leave nothing of an unfinished object."""
        if self._local:
            file.close()
            Path(staged).unlink(missing_ok=True)
            return
        try:
            with self._reaching("write to"):
                file.discard()
        except SnapshotsFailed:
            # A rule of the bucket removes what is left (docs/operator.md).
            return
        finally:
            # Closing would store what was written so far under the final name.
            file.closed = True

    @contextmanager
    def _reaching(self, what: str) -> Iterator[None]:
        """Translate whatever fsspec, boto and the network raise."""
        try:
            # What is not mounted is not empty, nor is a bucket that is missing.
            if self._local and not Path(self._root).is_dir():
                raise FileNotFoundError("there is no such folder: make or mount it")
            yield
        except (NoObject, SnapshotsFailed):
            raise
        except Exception as error:
            refused = isinstance(error, self._refusals)
            raise (SnapshotsRefused if refused else SnapshotsUnavailable)(
                f"cannot {what} {self.url}: {type(error).__name__}: {error}. Check "
                "PLAUDIT_SNAPSHOTS_URL, the network, the credentials and the region"
            ) from error


def _below(root: Path, folder: Path) -> dict[str, Object]:
    """Return the files below a folder, by their paths from the root.

    fsspec would pass over folders that cannot be read, as if they were empty.
    """

    def fail(error: OSError) -> None:
        # Nothing is stored yet; or whoever made it removes it again.
        if not isinstance(error, FileNotFoundError):
            raise error

    found = {}
    for parent, _folders, names in os.walk(folder, onerror=fail):
        for path in (Path(parent, name) for name in names):
            try:
                about = path.stat()
            except FileNotFoundError:
                # Removed a moment ago, by another worker.
                continue
            if stat.S_ISREG(about.st_mode):
                modified_ms = about.st_mtime_ns // 1_000_000
                found[str(path.relative_to(root))] = Object(about.st_size, modified_ms)
    return found


def _modified_ms(about: Any) -> int:
    """Return when an object was written, by the storage's clock, ms since the epoch."""
    stamp = about.get("LastModified", about.get("mtime", 0))
    seconds = stamp.timestamp() if isinstance(stamp, datetime) else float(stamp)
    return int(seconds * 1_000)
