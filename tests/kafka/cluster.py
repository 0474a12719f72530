"""A log on a real broker, workers with folders of their own, and what must be true."""

import contextlib
from pathlib import Path

from streams.kafka_config import KafkaConfig
from streams.kafka_log import KafkaLog
from streams.topics import GROUP
from streams.writer import EnvelopeWriter
from tables import codec, keys
from tables.epoch import open_current, open_draft, state_folder
from tables.rocksdb import RocksStore
from tests.crash.worker import Folder, Worker, plaudit


class Cluster(Folder):
    """What `Folder` is for the embedded log; its rows are spread over folders."""

    def __init__(self, path: Path, broker, monkeypatch, *, partitions=2, **settings):
        """Make the log.

        Args:
          path: Where the workers' folders go.
          broker: The broker; see docker/kafka/broker.py.
          monkeypatch: Sets the environment that commands and workers get.
          partitions: Of `users`.
          settings: Further fields of the Kafka settings, as KafkaConfig has them.
        """
        self.base = path
        self.path = path / "first"
        self.partitions = partitions
        self._commands = 0
        self.config = KafkaConfig(
            **{"brokers": broker.address, "replication": 1, **settings}
        )
        for name in self.config.__struct_fields__:
            value = str(getattr(self.config, name))
            monkeypatch.setenv(f"PLAUDIT_KAFKA_{name.upper()}", value)
        plaudit("init", "--data-dir", self.path, "--partitions", partitions)
        self.log = KafkaLog(self.config)
        self.writer = EnvelopeWriter(self.log)

    def worker(self, name="first", **options):
        """Start a worker over a folder of its own."""
        folder = self.base / name
        folder.mkdir(exist_ok=True)
        return Worker(folder, **options)

    def ends(self):
        """Return where the partitions that are folded end."""
        return {place: self.log.end_offset(*place) for place in self.places()}

    def committed(self):
        """Return how far the group is."""
        return {place: self.log.committed(GROUP, *place) for place in self.places()}

    def is_folded(self):
        """Tell whether the group is done with all there is."""
        return self.committed() == self.ends()

    def has_tables(self, name="first", places=None):
        """Tell whether tables of a folder, by default all, are in force."""
        wanted = self.places() if places is None else places
        states = [state_folder(self.base / name, *place) for place in wanted]
        return all(open_current(state) is not None for state in states)

    def folders(self):
        """Return the workers' folders."""
        return sorted(path for path in self.base.iterdir() if path.is_dir())

    def rows(self, topic, partition):
        """Return the rows that go furthest, of all folders; no worker may run."""
        found = [
            rows
            for folder in self.folders()
            if (rows := rows_in(folder, topic, partition)) is not None
        ]
        return max(found, key=offset_of)


def rows_in(folder, topic, partition):
    """Return a partition's rows in a folder, or None where there are none."""
    state = state_folder(folder, topic, partition)
    path = open_current(state) or open_draft(state)
    if path is None:
        return None
    store = RocksStore(path)
    rows = dict(store.scan(b"\x00", b"\xff"))
    store.close()
    rows.pop(keys.HEARTBEAT, None)
    return rows if keys.PARTITION in rows else None


def offset_of(rows):
    """Return how far rows go."""
    return codec.partition_rows.decode(rows[keys.PARTITION]).offset


def owner_of(folder, topic, partition):
    """Tell whether a live process holds a partition's rows open."""
    state = str(state_folder(folder, topic, partition))
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                for link in (process / "fd").iterdir():
                    if str(link.readlink()).startswith(state):
                        return True
    return False
