"""A producer at an even pace: small bulk requests, each at its own instant.

    python -m bench.producer DATA_DIR --port 8400 --rate 5000 --seconds 20

A schedule, not a loop that waits for answers: a slow answer does not lower the rate, a
request that is late is sent as soon as a connection is free. It says when it begins
(`STARTED`) and at the end, as a line of JSON, what it achieved; SIGTERM ends it early.
"""

import json
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

import click

from bench import workload
from bench.instance import BULK, BenchFailed, Client
from bench.measure import percentile, rounded

STARTED: Final = "started"
REQUEST_ACTIONS: Final = 50
CONNECTIONS: Final = 4
"""So many requests may be under way; together they keep the pace."""
TIMES_KEPT_MAX: Final = 100_000
"""Answer times that a connection remembers for the percentiles."""


class Pace:
    """Hands out request numbers, each at its instant."""

    def __init__(self, interval_s: float, until_s: float) -> None:
        """Begin now.

        Args:
          interval_s: From one request to the next.
          until_s: After this long there are none.
        """
        self.began = time.monotonic()
        self.stop = threading.Event()
        self._interval_s = interval_s
        self._count = round(until_s / interval_s)
        self._next = 0
        self._lock = threading.Lock()

    def next(self) -> int | None:
        """Wait for the next request's instant; None: it was the last."""
        with self._lock:
            number = self._next
            if number >= self._count or self.stop.is_set():
                return None
            self._next += 1
        due = self.began + number * self._interval_s
        if self.stop.wait(max(0.0, due - time.monotonic())):
            return None
        return number


class Connection(threading.Thread):
    """Sends the requests that it gets from the pace.

    Attributes:
      sent: Actions accepted.
      times_ms: How long answers took.
      error: Why it gave up, or None.
    """

    def __init__(self, client: Client, pace: Pace, users: int, first: int) -> None:
        """Bind to a connection that nobody else uses."""
        super().__init__(name="producer", daemon=True)
        self.sent = 0
        self.times_ms: list[float] = []
        self.error: BaseException | None = None
        self._client = client
        self._pace = pace
        self._users = users
        self._first = first

    def run(self) -> None:
        """Send until the pace ends."""
        try:
            while (number := self._pace.next()) is not None:
                first = self._first + number * REQUEST_ACTIONS
                body = workload.bulk_body(
                    workload.actions(REQUEST_ACTIONS, self._users, first=first)
                )
                began = time.perf_counter()
                self._client.post(BULK, body)
                took_ms = (time.perf_counter() - began) * 1e3
                self.sent += REQUEST_ACTIONS
                if len(self.times_ms) < TIMES_KEPT_MAX:
                    self.times_ms.append(took_ms)
        except (OSError, BenchFailed) as error:
            self.error = error
            self._pace.stop.set()


def produce(
    clients: list[Client], *, rate: int, seconds: float, users: int, first: int
) -> dict[str, Any]:
    """Send at a rate and return what it came to.

    Args:
      clients: One connection each.
      rate: Actions a second.
      seconds: For how long.
      users: Size of the population.
      first: Number of the first action; other numbers, other event ids.

    Raises:
      BenchFailed: A request was not accepted.
    """
    pace = Pace(REQUEST_ACTIONS / rate, seconds)
    signal.signal(signal.SIGTERM, lambda *_: pace.stop.set())
    click.echo(STARTED)
    connections = [Connection(client, pace, users, first) for client in clients]
    for connection in connections:
        connection.start()
    for connection in connections:
        connection.join()
    took_s = time.monotonic() - pace.began
    for connection in connections:
        if connection.error is not None:
            raise BenchFailed(f"the producer stopped: {connection.error}")
    times_ms = [time_ms for one in connections for time_ms in one.times_ms]
    sent = sum(connection.sent for connection in connections)
    return {
        "sent": sent,
        "actions_per_second": rounded(sent / took_s),
        "post_p50_ms": rounded(percentile(times_ms, 0.5)) if times_ms else None,
        "post_p99_ms": rounded(percentile(times_ms, 0.99)) if times_ms else None,
    }


@click.command()
@click.argument("data_dir", type=click.Path(path_type=Path))
@click.option("--port", type=int, required=True)
@click.option("--rate", type=int, default=5_000, help="Actions a second.")
@click.option("--seconds", type=float, default=20.0)
@click.option("--users", type=int, default=workload.POPULATION)
@click.option("--first", type=int, default=0, help="Number of the first action.")
def main(
    data_dir: Path, port: int, rate: int, seconds: float, users: int, first: int
) -> None:
    """Send actions at an even pace."""
    clients = [Client(data_dir, port) for _ in range(CONNECTIONS)]
    try:
        figures = produce(clients, rate=rate, seconds=seconds, users=users, first=first)
    except BenchFailed as error:
        sys.exit(str(error))
    finally:
        for client in clients:
            client.close()
    click.echo(json.dumps(figures))


if __name__ == "__main__":
    main()
