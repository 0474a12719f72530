"""Plaudit on the broker: its worker, with the mirror in Redis that readers ask."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

import msgspec

from bench import workload
from bench.idiomatic.rounds import Line
from bench.instance import BenchFailed, Instance
from bench.kafka.cluster import Cluster
from rules.ledger import Entry
from rules.message import Action, ConfigChange
from streams.log import Append
from streams.messages import decode_record
from streams.topics import LEDGER, USERS
from tables.errors import ViewUnavailable

SNAPSHOT_EVERY_S: Final = 86_400
"""No worker takes one while it is measured: their age is the benchmark's choice."""


class _Header(msgspec.Struct):
    topic: str
    partition: int


_HEAD: Final = b"[1,{"
_decode = msgspec.json.Decoder(tuple[int, _Header, list[Entry]]).decode


class PlauditWorker:
    """A `Contender`: one worker or more, each with a data folder of its own."""

    name = "plaudit"
    ledger = LEDGER

    def __init__(
        self,
        cluster: Cluster,
        folder: Path,
        redis_url: str,
        *,
        workers: int = 1,
        processes: int = 0,
        snapshots: bool = False,
    ) -> None:
        """Name the workers; nothing runs yet.

        Args:
          cluster: The broker.
          folder: Of the data folders; does not exist yet.
          redis_url: An empty Redis.
          workers: How many `start` starts.
          processes: Of each worker; 0: as many as there are cores.
          snapshots: There is a storage for them; workers restore what is in it.
        """
        self._cluster = cluster
        self._folder = folder
        self._redis_url = redis_url
        self._workers = workers
        self._processes = processes
        self._snapshots = folder / "snapshots" if snapshots else None
        self._instance: Instance | None = None
        self._pids: list[int] = []
        self._names: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End its processes."""
        self.stop()
        if self._instance is not None:
            self._instance.parts.close()

    @property
    def instance(self) -> Instance:
        """Return what `prepare` made."""
        if self._instance is None:
            raise BenchFailed("there is no Plaudit yet")
        return self._instance

    @property
    def pids(self) -> list[int]:
        """Return the workers' processes, one each; what they started is below them."""
        return self._pids

    def prepare(self) -> None:
        """Make the log with its org and campaigns."""
        self._folder.mkdir(parents=True)
        if self._snapshots is not None:
            self._snapshots.mkdir()
        self._instance = Instance(
            self.folder(0),
            kafka_brokers=self._cluster.address,
            kafka_replication=1,
            redis_url=self._redis_url,
            worker_processes=self._processes,
            snapshots_url="" if self._snapshots is None else self._snapshots.as_uri(),
            snapshot_every_s=SNAPSHOT_EVERY_S,
        )

    def folder(self, number: int) -> Path:
        """Return the data folder of a worker, from 0."""
        return self._folder / f"worker-{number}"

    def start(self) -> None:
        """Start the workers; each goes on with what is in its folder."""
        self._pids = [self.start_worker(number) for number in range(self._workers)]

    def start_worker(self, number: int) -> int:
        """Start one worker more, and return its process."""
        return self.instance.start("worker", data_dir=self.folder(number))

    def wait_until_ready(self) -> None:
        """Wait until the campaigns are folded and broadcast."""
        self.instance.wait_until_folded()

    def kill(self) -> None:
        """Kill the workers and all that they started."""
        while self._pids:
            self.instance.kill(self._pids.pop())

    def stop(self) -> None:
        """Let the workers end; idempotent."""
        self._pids.clear()
        if self._instance is not None:
            self._instance.stop()

    def has_ended(self) -> bool:
        """Tell whether a worker has ended by itself."""
        return self.instance.has_ended()

    def records(self, actions: Sequence[Action]) -> list[Append]:
        """Return actions as envelopes."""
        return workload.envelopes(actions, workload.PARTITIONS)

    def lag(self) -> int:
        """Return how many records are not folded yet, as the mirror shows."""
        return sum(self.lags())

    def lags(self) -> list[int]:
        """Return that of each partition of `users`."""
        ends = self._cluster.ends(USERS, workload.PARTITIONS)
        return [
            end - 1 - applied for end, applied in zip(ends, self.applied(), strict=True)
        ]

    def applied(self) -> list[int]:
        """Return each partition's last offset that is folded and stored; none: -1."""
        return [self._applied(number) for number in range(workload.PARTITIONS)]

    def _applied(self, partition: int) -> int:
        try:
            row = self.instance.parts.view.position(USERS, partition)
        except ViewUnavailable:
            # No tables yet.
            return -1
        return -1 if row is None else row.offset

    def has_written(self, entries: int) -> bool:
        """Tell whether all is folded: entries are acked before a step is stored."""
        del entries
        return self.lag() == 0

    def lines(self, records: Iterable[tuple[int, bytes]]) -> list[Line]:
        """Return the entries of ledger records, by the rule that consumers follow."""
        return kept_lines(records, self._campaign_names())

    def _campaign_names(self) -> dict[str, str]:
        """Return the campaigns' names by id; they stand in the log."""
        if not self._names:
            log = self.instance.parts.log
            offset = 0
            while records := log.read(USERS, 0, offset):
                offset = records[-1].offset + 1
                for record in records:
                    for message in decode_record(record.key, record.value).messages:
                        if isinstance(message, ConfigChange):
                            self._names |= _names_in(message)
                if len(self._names) == workload.CAMPAIGNS:
                    break
        return self._names


def kept_lines(
    records: Iterable[tuple[int, bytes]], names: Mapping[str, str]
) -> list[Line]:
    """Return the entries that a consumer keeps.

    Of each source partition it remembers the greatest (number, ordinal), and drops what
    is not above it.

    Args:
      records: Of the topic `ledger`, by partition, from the beginning.
      names: Of the campaigns, by id.
    """
    greatest: dict[tuple[str, int], tuple[int, int]] = {}
    lines = []
    for _partition, value in records:
        if not value.startswith(_HEAD):
            # Each partition begins with the log's genesis record.
            continue
        _version, header, entries = _decode(value)
        source = (header.topic, header.partition)
        for entry in entries:
            place = (entry.number, entry.ordinal)
            if place > greatest.get(source, (-1, -1)):
                greatest[source] = place
                lines.append(_line(entry, names[entry.campaign_id or ""]))
    return lines


def _line(entry: Entry, campaign: str) -> Line:
    return Line(
        entry.user,
        entry.event_id or "",
        campaign,
        entry.currency or "",
        entry.amount,
        entry.balance_after,
    )


def _names_in(message: ConfigChange) -> dict[str, str]:
    return {
        row_id: str(row["name"])
        for kind, row_id, row in message.changes
        if kind == "campaign" and row is not None
    }
