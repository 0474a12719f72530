"""A load at an even pace, sent beside what else is done."""

import threading
from collections.abc import Sequence
from typing import Final, Self

from bench.instance import BenchFailed
from bench.kafka.cluster import Cluster
from streams.log import Append

TIMEOUT_S: Final = 300.0


class PacedLoad(threading.Thread):
    """Sends records from a thread; what is left is not sent once the block ends."""

    def __init__(
        self, cluster: Cluster, records: Sequence[Append], per_second: float
    ) -> None:
        """Prepare to send some records a second."""
        super().__init__(name="load", daemon=True)
        self._cluster = cluster
        self._records = records
        self._per_second = per_second
        self._stop_sending = threading.Event()
        self._error: Exception | None = None

    def __enter__(self) -> Self:
        """Begin."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Send no more."""
        self._stop_sending.set()
        self.join(TIMEOUT_S)

    def run(self) -> None:
        """Send; an error is raised by who waits."""
        try:
            self._cluster.produce(self._records, self._per_second, self._stop_sending)
        except Exception as error:  # noqa: BLE001 - raised again in the other thread
            self._error = error

    def wait(self) -> None:
        """Wait until all is sent."""
        self.join(TIMEOUT_S)
        self.check()

    def check(self) -> None:
        """Raise `BenchFailed` if nothing more is sent because of an error."""
        if self._error is not None:
            raise BenchFailed(f"the load stopped: {self._error}") from self._error
