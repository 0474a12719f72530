"""What the three have in common: a process that reads actions and writes a ledger."""

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from bench.idiomatic.rounds import Line
from rules.message import Action
from streams.log import Append

SESSION_S: Final = 10.0
"""How long a killed member of a group is waited for; the same for all three."""


class Contender(Protocol):
    """One of the three, in a folder and on topics of its own.

    Attributes:
      name: As figures have it.
      ledger: The topic that it writes.
    """

    name: str
    ledger: str

    @property
    def pids(self) -> list[int]:
        """Return its processes, one each; what they started is below them."""

    def prepare(self) -> None:
        """Make its topics, on a broker that holds none."""

    def start(self) -> None:
        """Start its process, which goes on where the last one was."""

    def wait_until_ready(self) -> None:
        """Wait until its campaigns are in force; what comes before earns nothing."""

    def kill(self) -> None:
        """End its process at once, as kill -9 does."""

    def stop(self) -> None:
        """Let its process end; idempotent."""

    def has_ended(self) -> bool:
        """Tell whether its process has ended by itself."""

    def records(self, actions: Sequence[Action]) -> list[Append]:
        """Return actions as the records that it reads."""

    def lag(self) -> int:
        """Return how many records are not done yet: state and entries stored."""

    def has_written(self, entries: int) -> bool:
        """Tell whether the ledger holds that many entries, for everybody to read."""

    def lines(self, records: Iterable[tuple[int, bytes]]) -> list[Line]:
        """Return what records of the ledger, by partition and in order, say."""
