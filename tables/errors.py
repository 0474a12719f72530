"""Errors of the tables. Each docstring ends with what the operator does."""

from rules.errors import PlauditError


class TableError(PlauditError):
    """Base of the tables' errors."""


class UnknownFormat(TableError):
    """A row is torn, or a newer version wrote it. Run that version, or rebuild."""


class StoreClosed(TableError):
    """A store was used after its partition was taken away. A bug: report it."""


class StoreCorrupt(TableError):
    """RocksDB cannot read its files. Move the folder away: the log rebuilds it."""


class ViewUnavailable(TableError):
    """The tables cannot be read: the worker starts or rebuilds. Try again later."""


class MirrorUnavailable(TableError):
    """Redis does not answer. Nothing is lost: start Redis, then the worker."""


class MirrorSpoiled(MirrorUnavailable):
    """Somebody else wrote where the mirror is. Its owner writes it anew."""


class MirrorUnusable(TableError):
    """Redis cannot be used as it is set up. Do what the message says, start again."""


class StoreFailed(TableError):
    """RocksDB refuses: disk full, folder locked, unreadable. Repair, then restart."""


class SnapshotsFailed(TableError):
    """The storage of snapshots does not do what it is asked for."""


class SnapshotsUnavailable(SnapshotsFailed):
    """The storage of snapshots does not answer. Check it and PLAUDIT_SNAPSHOTS_URL."""


class SnapshotsRefused(SnapshotsFailed):
    """The storage refuses. Correct PLAUDIT_SNAPSHOTS_URL, credentials or rights."""


class SnapshotDamaged(TableError):
    """A snapshot is incomplete or not what it says. An older one is taken."""
