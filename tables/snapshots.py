"""Snapshots: copies of partitions' databases on shared storage.

    LOG_ID/users-0/objects/HASH                  one file of a database
    LOG_ID/users-0/manifests/OFFSET-RANDOM.json  what a snapshot is made of

RocksDB's table files never change, so each is stored once, under the hash of its
content; the manifest comes last and under a name of its own. So a snapshot is there as
a whole or not at all, two owners (one of which may be a zombie) never overwrite each
other, and names sort by position. Nothing here is trusted when it is read back: see
`Snapshots.usable` and tables/restore.py.
"""

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import msgspec

from tables.codec import UNREADABLE, PartitionRow
from tables.errors import SnapshotDamaged
from tables.objects import STAGED, NoObject, Object, Objects
from tables.snapshot_files import (
    Count,
    FileReader,
    SnapshotFile,
    check_content,
    check_unchanged,
)

FORMAT: Final = 1
SNAPSHOTS_KEPT: Final = 3
"""Good snapshots of a partition; older ones are removed."""
GRACE_MS: Final = 86_400_000
"""Age before which an object that no manifest names is kept: the manifest of an upload
in flight, perhaps another worker's, may be about to name it."""
REUSED_AGE_MS_MAX: Final = GRACE_MS // 2
"""An object that the newest manifest does not name is only reused while it is younger:
an older one is stored again, so that nobody removes it before the manifest is there."""
RENEWED_AGE_MS: Final = 7 * 86_400_000
"""Age at which an object is stored again though it is there: all snapshots share it,
and nobody reads it before it is needed, so that rot would be found too late."""

Place: TypeAlias = tuple[str, int]
Show: TypeAlias = Callable[[int, float], None]
"""Told (bytes done, part of the whole, 0..1); what it raises ends the work."""
Say: TypeAlias = Callable[[str], None]
"""Told what a person should read."""


class Manifest(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One snapshot.

    Attributes:
      format: Version of this layout.
      log_id: Log that the rows were folded from.
      offset: Last offset that the rows hold.
      number: Messages that they were folded from.
      digest: Running digest of outcomes there.
      record_hash: Hash of the record at `offset`.
      created_ms: Wall clock when it was complete, ms since the epoch.
      files: The database.
    """

    format: int
    log_id: str
    topic: str
    partition: int
    offset: Count
    number: Count
    digest: str
    record_hash: str
    created_ms: Count
    files: list[SnapshotFile]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    def is_of(self, row: PartitionRow) -> bool:
        """Tell whether a partition row is the one of this snapshot."""
        return (
            self.log_id == row.log_id
            and self.offset == row.offset
            and self.number == row.number
            and self.digest == row.digest
            and self.record_hash == row.record_hash
        )


Misfit: TypeAlias = Callable[[Manifest], str | None]
"""Tells why rows of a manifest are not of the log as it is now; None: they are."""


def _fits_any(_manifest: Manifest) -> None:
    """Return None: nobody knows the log."""


class Stored(NamedTuple):
    """A manifest as found: its name, and what it says or why it is of no use."""

    name: str
    manifest: Manifest | None
    problem: str | None


class Snapshots:
    """The snapshots of one log. Safe for threads."""

    def __init__(
        self,
        objects: Objects,
        log_id: str,
        wall_ms: Callable[[], int],
        misfit: Misfit = _fits_any,
    ) -> None:
        """Reach for nothing yet.

        Args:
          objects: The storage.
          log_id: The log whose partitions these are.
          wall_ms: The wall clock, ms since the epoch; ages are told by it, so it may
            differ from the storage's by minutes.
          misfit: See Misfit; it may raise what the log raises.
        """
        self.objects = objects
        self.log_id = log_id
        self._wall_ms = wall_ms
        self._misfit = misfit
        self._files = FileReader()

    def listed(self, place: Place) -> Iterator[Stored]:
        """Yield what manifests there are of a partition, newest first.

        Raises:
          SnapshotsFailed: The storage does not answer, or refuses.
        """
        names = self._manifest_names(place)
        there = self.objects.list(self._objects(place)) if names else {}
        for name in names:
            try:
                manifest = self._parse(place, name)
            except SnapshotDamaged as error:
                yield Stored(name, None, str(error))
                continue
            problem = self._lacks(manifest, there) or self._misfit(manifest)
            if problem is None:
                yield Stored(name, manifest, None)
            else:
                yield Stored(name, None, f"{name}: {problem}")

    def usable(self, place: Place, say: Say) -> Iterator[Manifest]:
        """Yield the good snapshots of a partition, newest first.

        Args:
          place: Topic and partition.
          say: Told of each that is no good, and why.

        Raises:
          SnapshotsFailed: The storage does not answer, or refuses.
        """
        for _name, manifest, problem in self.listed(place):
            if manifest is not None:
                yield manifest
            else:
                say(f"{problem}; the next older snapshot is taken")

    def newest(self, place: Place, say: Say) -> Manifest | None:
        """Return the newest good snapshot, or None."""
        return next(self.usable(place, say), None)

    def object_name(self, place: Place, file_hash: str) -> str:
        """Return the object that holds content of a hash."""
        return f"{self._objects(place)}/{file_hash}"

    def upload(
        self, place: Place, row: PartitionRow, folder: Path, show: Show
    ) -> Manifest:
        """Store a checkpoint as a snapshot; what is stored already is not sent again.

        Args:
          place: Topic and partition.
          row: The partition row in it.
          folder: The checkpoint; nobody changes it meanwhile.
          show: Told how far it is.

        Returns:
          The snapshot; the newest one, where that holds the same rows.

        Raises:
          SnapshotsFailed: The storage does not answer, or refuses.
          SnapshotDamaged: Another worker removed what was stored; the next attempt
            stores it again.
          StoreCorrupt: The disk damaged a table file since it was stored.
        """
        newest = self.newest(place, lambda _problem: None)
        if newest is not None and newest.is_of(row):
            return newest
        paths = sorted(path for path in folder.iterdir() if path.is_file())
        files = [self._files.describe(path) for path in paths]
        stored = newest.files if newest else []
        check_unchanged(stored, files)
        named = {file.hash for file in stored}
        self._store(place, named, dict(zip(paths, files, strict=True)), show)
        manifest = Manifest(
            format=FORMAT,
            log_id=self.log_id,
            topic=place[0],
            partition=place[1],
            offset=row.offset,
            number=row.number,
            digest=row.digest,
            record_hash=row.record_hash,
            created_ms=self._wall_ms(),
            files=files,
        )
        name = f"{self._manifests(place)}/{row.offset:020d}-{secrets.token_hex(4)}.json"
        self.objects.put(name, msgspec.json.encode(manifest))
        lacks = self._lacks(manifest, self.objects.list(self._objects(place)))
        if lacks is not None:
            raise SnapshotDamaged(f"{name}: {lacks}")
        return manifest

    def retain(self, place: Place) -> int:
        """Remove what is no longer needed of a partition; return how many objects.

        Kept are the newest `SNAPSHOTS_KEPT` good snapshots, whatever is newer than the
        oldest of them, and objects younger than `GRACE_MS`. Snapshots of a log that
        is gone, as an older copy of it leaves them, take the place of none.

        Raises:
          SnapshotsFailed: The storage does not answer, or refuses.
        """
        # Ages first: what is old by this listing is not reused by anybody after it.
        now_ms = self._wall_ms()
        there = self.objects.list(self._objects(place))
        staged = self._staged(place)
        named: set[str] = set()
        kept_names: set[str] = set()
        kept = 0
        surely = True
        names = self._manifest_names(place)
        for name in names:
            try:
                manifest = self._parse(place, name)
            except SnapshotDamaged:
                if kept >= SNAPSHOTS_KEPT:
                    self.objects.remove(name)
                else:
                    # A newer Plaudit's perhaps: nobody here knows what it names.
                    surely = False
                continue
            if kept >= SNAPSHOTS_KEPT:
                self.objects.remove(name)
                continue
            misfit = self._misfit(manifest) is not None
            if misfit and now_ms - manifest.created_ms > GRACE_MS:
                self.objects.remove(name)
                continue
            kept_names.add(name)
            named |= {self.object_name(place, file.hash) for file in manifest.files}
            kept += not misfit and self._lacks(manifest, there) is None
        # A manifest that came meanwhile, or that a listing passed over, names objects
        # too: then the next turn removes.
        if not surely or not kept_names.issuperset(self._manifest_names(place)):
            return 0
        # Whoever stores objects is about to name them: without any, look again later.
        if not kept_names:
            return 0
        old = [
            name
            for name, found in (there | staged).items()
            if name not in named and now_ms - found.modified_ms > GRACE_MS
        ]
        for name in old:
            self.objects.remove(name)
        return len(old)

    def _store(
        self,
        place: Place,
        named: set[str],
        files: dict[Path, SnapshotFile],
        show: Show,
    ) -> None:
        """Send the files that are not there, or not for sure to stay."""
        there = self.objects.list(self._objects(place))
        now_ms = self._wall_ms()

        def stays(file: SnapshotFile) -> bool:
            found = there.get(self.object_name(place, file.hash))
            if found is None or found.size != file.size:
                return False
            age_ms = now_ms - found.modified_ms
            known = file.hash in named and age_ms < RENEWED_AGE_MS
            return known or age_ms < REUSED_AGE_MS_MAX

        missing = {path: file for path, file in files.items() if not stays(file)}
        whole = sum(file.size for file in missing.values())
        done = 0

        def moved(count: int) -> None:
            nonlocal done
            done += count
            show(done, done / whole)

        for path, file in missing.items():
            show(done, done / whole if whole else 1.0)
            # Perhaps in place of a good object, and described long ago.
            check_content(path, file)
            self.objects.put_file(self.object_name(place, file.hash), path, moved)

    def _manifest_names(self, place: Place) -> list[str]:
        """Return the names of a partition's manifests, newest first."""
        found = self.objects.list(self._manifests(place))
        return sorted((name for name in found if name.endswith(".json")), reverse=True)

    def _staged(self, place: Place) -> dict[str, Object]:
        """Return what a writer of manifests that died has left."""
        found = self.objects.list(self._manifests(place))
        return {name: one for name, one in found.items() if name.endswith(STAGED)}

    def _lacks(self, manifest: Manifest, there: dict[str, Object]) -> str | None:
        """Return what a snapshot lacks of its objects, or None."""
        place = manifest.topic, manifest.partition
        for file in manifest.files:
            name = self.object_name(place, file.hash)
            # Only the object itself can be said to be missing.
            found = there.get(name) or self.objects.find(name)
            if found is None:
                return f"the object of {file.name} is missing"
            if found.size != file.size:
                return f"the object of {file.name} has {found.size} bytes"
        return None

    def _parse(self, place: Place, name: str) -> Manifest:
        """Return what a manifest says.

        Raises:
          SnapshotDamaged: It cannot be read, or is not of this place and log.
        """
        try:
            content = self.objects.read(name)
            manifest = msgspec.json.decode(content, type=Manifest)
        except NoObject as error:
            raise SnapshotDamaged(f"{name} is gone") from error
        except UNREADABLE as error:
            raise SnapshotDamaged(f"{name} cannot be read: {error}") from error
        if manifest.format != FORMAT:
            raise SnapshotDamaged(f"{name} has format {manifest.format}, not {FORMAT}")
        if manifest.log_id != self.log_id:
            raise SnapshotDamaged(
                f"{name} belongs to log {manifest.log_id}, this is log {self.log_id}"
            )
        if (manifest.topic, manifest.partition) != place:
            raise SnapshotDamaged(f"{name} is of another partition")
        if len({file.name for file in manifest.files}) < len(manifest.files):
            raise SnapshotDamaged(f"{name} names a file twice")
        return manifest

    def _objects(self, place: Place) -> str:
        return f"{self.log_id}/{place[0]}-{place[1]}/objects"

    def _manifests(self, place: Place) -> str:
        return f"{self.log_id}/{place[0]}-{place[1]}/manifests"
