"""The ordinary apps on the broker: Faust's and Quix Streams'.

Both read the topic `actions`, one record an action, keyed by user, and write `ledger`,
one record an entry.
"""

import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Self

import msgspec

from bench import workload
from bench.idiomatic.rounds import APP, Line, records_of, start_app
from bench.instance import end
from bench.kafka.cluster import Cluster
from bench.kafka.contender import SESSION_S
from bench.quix.environment import quix_python
from rules.message import Action
from streams.log import Append

ACTIONS: Final = "actions"
GROUP: Final = "loyalty"
AT_LEAST_ONCE: Final = "at-least-once"
"""The default of Quix Streams."""
EXACTLY_ONCE: Final = "exactly-once"


class _Entry(msgspec.Struct):
    user_id: str
    event_id: str
    campaign: str
    currency: str
    amount: int
    balance: int


_decode = msgspec.json.Decoder(_Entry).decode


class OrdinaryApp:
    """A `Contender`: one app, one process."""

    ledger = "ledger"

    def __init__(
        self,
        name: str,
        cluster: Cluster,
        folder: Path,
        command: Sequence[str],
        broker: str,
        guarantee: str = "",
    ) -> None:
        """Name the app; see `faust_app` and `quix_app`."""
        self.name = name
        self._cluster = cluster
        self._folder = folder
        self._command = command
        self._broker = broker
        self._guarantee = guarantee
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End its process."""
        self.stop()

    @property
    def pids(self) -> list[int]:
        """Return its process, while it runs."""
        return [] if self._process is None else [self._process.pid]

    def prepare(self) -> None:
        """Make the topics; the app makes its changelog."""
        self._folder.mkdir(parents=True)
        counts = dict.fromkeys((ACTIONS, self.ledger), workload.PARTITIONS)
        self._cluster.make_topics(counts)

    def start(self) -> None:
        """Start the app."""
        self._process = start_app(
            self._command,
            self._folder,
            self._broker,
            BENCH_SESSION_S=str(SESSION_S),
            BENCH_GUARANTEE=self._guarantee,
        )

    def wait_until_ready(self) -> None:
        """Do nothing: the app reads its campaigns before it reads actions."""

    def kill(self) -> None:
        """End the app at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Let the app end; idempotent."""
        process, self._process = self._process, None
        if process is not None:
            end(process)

    def has_ended(self) -> bool:
        """Tell whether the app has ended by itself."""
        return self._process is not None and self._process.poll() is not None

    def records(self, actions: Sequence[Action]) -> list[Append]:
        """Return actions as records, one each."""
        return records_of(actions)

    def lag(self) -> int:
        """Return how many actions the group has not committed yet."""
        return sum(self._cluster.lags(GROUP, ACTIONS, workload.PARTITIONS))

    def has_written(self, entries: int) -> bool:
        """Tell whether the ledger holds that many entries, for everybody to read."""
        if self._guarantee == EXACTLY_ONCE:
            # Entries of a transaction can be read once it commits, offsets with it.
            return self.lag() == 0
        return sum(self._cluster.ends(self.ledger, workload.PARTITIONS)) >= entries

    def lines(self, records: Iterable[tuple[int, bytes]]) -> list[Line]:
        """Return the entries of ledger records."""
        entries = [_decode(value) for _, value in records]
        return [
            Line(
                one.user_id,
                one.event_id,
                one.campaign,
                one.currency,
                one.amount,
                one.balance,
            )
            for one in entries
        ]


def faust_app(cluster: Cluster, folder: Path) -> OrdinaryApp:
    """Return the Faust app, on the aiokafka transport that comes with Faust."""
    name = "idiomatic_faust"
    return OrdinaryApp(name, cluster, folder, APP, f"kafka://{cluster.address}")


def quix_app(
    cluster: Cluster, folder: Path, guarantee: str = AT_LEAST_ONCE
) -> OrdinaryApp:
    """Return the Quix Streams app, with one of its two guarantees."""
    name = "quix" if guarantee == AT_LEAST_ONCE else "quix_exactly_once"
    command = (quix_python(), "-m", "bench.quix.app")
    return OrdinaryApp(name, cluster, folder, command, cluster.address, guarantee)
