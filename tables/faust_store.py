"""Faust's store of Plaudit's tables: ``plaudit-rocksdb:///path/to/data``.

A Faust table over this store is a mapping from partition to that partition's rows
(tables/store.py). Faust says which partitions come and go; the machine that owns one
writes its rows itself, a step in one batch, so there is no changelog: the table is not
handed to Faust's table manager (docs/architecture.md: state is rebuilt by replay).
"""

from pathlib import Path
from typing import Any, Final

from faust.stores import base

from tables import epoch
from tables.disk import using
from tables.errors import TableError
from tables.rocksdb import RocksStore

REMEDY: Final = "Check the disk and the data folder"


class Store(base.Store):  # type: ignore[misc]  # Faust is untyped here
    """The open databases of one topic's partitions, in this process."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Hold nothing yet; Faust passes the arguments."""
        super().__init__(*args, **kwargs)
        self.data: dict[int, RocksStore] = {}
        self._data_dir = Path(self.url.path)

    def store_for(self, partition: int) -> RocksStore:
        """Return a partition's rows, opened for writing; made where there are none.

        New rows are a draft until `put_in_force`.

        Raises:
          TableError: They cannot be opened.
        """
        rows = self.data.get(partition)
        if rows is None:
            rows = self.data[partition] = self._open(partition)
        return rows

    def _open(self, partition: int) -> RocksStore:
        folder = self._folder(partition)
        with using(folder, REMEDY):
            there = epoch.open_current(folder) or _draft(folder)
            path = there or epoch.new_draft(folder)
            # Its links keep files that RocksDB has deleted.
            _remove(folder / epoch.CHECKPOINT)
        return RocksStore(path, create=there is None)

    def close_rows(self, partition: int) -> Path:
        """Close a partition's rows; return the folder of all its epochs."""
        rows = self.data.pop(partition, None)
        if rows is not None:
            rows.close()
        return self._folder(partition)

    def checkpoint(self, partition: int) -> Path:
        """Return a folder with the rows as they are now, in place of one before it.

        Raises:
          StoreFailed: It cannot be made.
        """
        path = self._folder(partition) / epoch.CHECKPOINT
        _remove(path)
        self.data[partition].checkpoint(path)
        return path

    def put_in_force(self, partition: int) -> None:
        """Let readers see a partition's rows, if they do not yet.

        Raises:
          TableError: The disk refuses, or the rows are gone.
        """
        folder = self._folder(partition)
        with using(folder, REMEDY):
            if epoch.open_current(folder) is not None:
                return
            path = epoch.open_draft(folder)
            if path is None:
                raise TableError(f"{folder} lost its files while a worker used them")
            self.data[partition].flush()
            epoch.swap(folder, path)
            epoch.drop_old(folder)

    def _folder(self, partition: int) -> Path:
        return epoch.state_folder(self._data_dir, self.table_name, partition)

    async def on_rebalance(
        self, assigned: Any, revoked: Any, newly_assigned: Any, generation_id: int = 0
    ) -> None:
        """Close what is taken away; opening waits until a machine asks."""
        for topic, partition in revoked:
            if topic == self.table_name and partition in self.data:
                self.data.pop(partition).close()

    def reset_state(self) -> None:
        """Close everything."""
        while self.data:
            self.data.popitem()[1].close()

    def apply_changelog_batch(self, *_: Any, **__: Any) -> None:
        """Refuse: a changelog beside the log would be a second truth."""
        raise TableError("this table has no changelog. Register no topic for it")

    async def backup_partition(self, *_: Any, **__: Any) -> None:
        """Refuse: tables/snapshots.py does that."""
        raise TableError("this table has no backups. Rebuild it from the log")

    def restore_backup(self, *_: Any, **__: Any) -> None:
        """Refuse: tables/restore.py does that."""
        raise TableError("this table has no backups. Rebuild it from the log")


def _draft(folder: Path) -> Path | None:
    """Return the draft to go on with, or None; one without a database is of no use.

    Who made it died at that, or the disk lost it. Nobody has read it.
    """
    path = epoch.open_draft(folder)
    return path if path is not None and epoch.holds_database(path) else None


def _remove(checkpoint: Path) -> None:
    """Remove a checkpoint, finished or not, if there is one."""
    for path in (checkpoint, checkpoint.with_name(checkpoint.name + ".tmp")):
        epoch.remove(path)
