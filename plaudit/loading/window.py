"""A window of rows, sent by several lanes at once; a user's rows stay in order.

A user always belongs to the same lane, a lane sends one request after another, and a
window begins when the one before it is answered.
"""

import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Final

import msgspec

from plaudit.credentials import Credentials
from plaudit.errors import Failure
from plaudit.loading.client import Client, TooLarge, add_positions
from plaudit.loading.rows import Row

LANES: Final = 4
"""Requests under way at once."""
REQUEST_ROWS_MAX: Final = 1_000
REQUEST_BYTES_MAX: Final = 3_000_000
"""Leaves room under the API's default limit of 5 MB."""
WINDOW_ROWS_MAX: Final = 8_000
WINDOW_BYTES_MAX: Final = 32_000_000


class Sent(msgspec.Struct):
    """What became of a window's rows."""

    accepted: int = 0
    refused: list[Row] = []
    positions: dict[str, int] = {}

    def add(self, other: "Sent") -> None:
        """Add another part of the same window."""
        self.accepted += other.accepted
        self.refused = self.refused + other.refused
        for place, offset in other.positions.items():
            self.positions[place] = max(self.positions.get(place, -1), offset)


def take_window(rows: Iterator[Row]) -> list[Row]:
    """Return the next rows of a file, bounded by number and bytes; empty at its end."""
    window: list[Row] = []
    size = 0
    for row in islice(rows, WINDOW_ROWS_MAX):
        window.append(row)
        size += len(row.body or b"") + sum(map(len, row.cells))
        if size >= WINDOW_BYTES_MAX:
            break
    return window


class Sender:
    """Sends windows, one at a time."""

    def __init__(self, credentials: Credentials) -> None:
        """Open a lane's connection when it is first needed.

        Args:
          credentials: Where the API is, and the key to use.
        """
        self._stop = threading.Event()
        self._clients = [Client(credentials, self._stop) for _ in range(LANES)]
        self._threads = ThreadPoolExecutor(LANES, thread_name_prefix="lane")
        self._pending: list[Future[Sent]] = []
        self._unread: list[Row] = []

    def start(self, window: list[Row], batch_id: str) -> None:
        """Begin to send a window; `finish` must have ended the one before."""
        lanes: list[list[Row]] = [[] for _ in range(LANES)]
        self._unread = []
        for row in window:
            if row.body is None:
                self._unread.append(row)
            else:
                lanes[zlib.crc32(row.user.encode()) % LANES].append(row)
        self._pending = [
            self._threads.submit(self._send_lane, client, rows, batch_id)
            for client, rows in zip(self._clients, lanes, strict=True)
            if rows
        ]

    def finish(self) -> Sent:
        """Wait until the window is sent and return what became of it.

        Raises:
          Failure: A request was refused as a whole, or never answered.
        """
        total = Sent(refused=self._unread)
        for pending in self._pending:
            # Each try has a timeout, and the number of tries a bound.
            total.add(pending.result())
        self._pending = []
        total.refused.sort(key=lambda row: row.number)
        return total

    def close(self) -> None:
        """Stop after the requests under way, and close the connections."""
        self._stop.set()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for client in self._clients:
            client.close()

    def _send_lane(self, client: Client, rows: list[Row], batch_id: str) -> Sent:
        sent = Sent()
        for part in requests_of(rows):
            sent.add(_send_part(client, part, batch_id))
        return sent


def requests_of(rows: list[Row]) -> Iterator[list[Row]]:
    """Yield rows in runs that fit in one request each."""
    part: list[Row] = []
    size = 0
    for row in rows:
        length = len(row.body or b"") + 1
        if part and (
            len(part) == REQUEST_ROWS_MAX or size + length > REQUEST_BYTES_MAX
        ):
            yield part
            part, size = [], 0
        part.append(row)
        size += length
    if part:
        yield part


def request_body(rows: list[Row], batch_id: str) -> bytes:
    """Return the body of a bulk request."""
    actions = b",".join(row.body or b"" for row in rows)
    return b'{"actions":[%b],"batchId":"%b","keepIds":true}' % (
        actions,
        batch_id.encode(),
    )


def _send_part(client: Client, rows: list[Row], batch_id: str) -> Sent:
    try:
        results, positions = client.send(request_body(rows, batch_id))
    except TooLarge:
        return _send_halves(client, rows, batch_id)
    if len(results) != len(rows):
        raise Failure("the API's answer does not speak of every action sent")
    sent = Sent()
    for row, result in zip(rows, results, strict=True):
        error = result.error
        if error is None:
            sent.accepted += 1
        else:
            row.code, row.reason = error.code, error.message
            row.field = error.field or ""
            sent.refused.append(row)
    add_positions(sent.positions, positions)
    return sent


def _send_halves(client: Client, rows: list[Row], batch_id: str) -> Sent:
    """Send rows that are too large together; at most log2(1,000) levels deep."""
    if len(rows) == 1:
        rows[0].code, rows[0].reason = "PAYLOAD_TOO_LARGE", "larger than the API takes"
        return Sent(refused=rows)
    middle = len(rows) // 2
    sent = _send_part(client, rows[:middle], batch_id)
    sent.add(_send_part(client, rows[middle:], batch_id))
    return sent
