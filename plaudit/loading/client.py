"""The HTTP side of a load: bulk requests that are tried until they are answered.

A request that gets no answer may be stored or not. It is sent again under the same ids,
which the engine counts once.
"""

import http.client
import ssl
import threading
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from plaudit.credentials import Credentials
from plaudit.errors import Failure, Unusable

TIMEOUT_S: Final = 60.0
TRIES_MAX: Final = 60
PAUSE_FIRST_S: Final = 0.1
PAUSE_LONGEST_S: Final = 5.0
ANSWER_BYTES_MAX: Final = 16_000_000
PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that a later try may not meet."""
POSITION: Final = "X-Plaudit-Position"
INTERNAL: Final = "/v1/api/audience/internal"


class ItemError(msgspec.Struct):
    """Why one action of a request was refused."""

    code: str
    message: str
    field: str | None = None


class ItemResult(msgspec.Struct):
    """What the API says of one action of a request."""

    index: int
    status: str
    error: ItemError | None = None


class _Receipt(msgspec.Struct):
    results: list[ItemResult]


class _BulkAnswer(msgspec.Struct):
    data: _Receipt


class Tally(msgspec.Struct, rename="camel"):
    """What became of a batch, as the engine counted it."""

    applied: int
    duplicate: int
    too_late: int
    refused: int


class _TallyAnswer(msgspec.Struct):
    data: Tally


class PartitionState(msgspec.Struct, rename="camel"):
    """How far a partition is folded, and whether it stands parked."""

    topic: str
    partition: int
    state: str
    applied_offset: int


class _Ready(msgspec.Struct):
    partitions: list[PartitionState]


class _ReadyAnswer(msgspec.Struct):
    data: _Ready


class _ErrorBody(msgspec.Struct):
    error: ItemError


class Answer(NamedTuple):
    """An answer of the API: its status, its body, and the positions it names."""

    status: int
    text: bytes
    positions: str

    def problem(self) -> str:
        """Return what an error answer says."""
        try:
            error = msgspec.json.decode(self.text, type=_ErrorBody).error
        except (msgspec.MsgspecError, ValueError):
            return f"HTTP {self.status}"
        return f"HTTP {self.status} {error.code}: {error.message}"


class TooLarge(Exception):
    """The API takes no body of that size (413)."""


class Client:
    """One connection to the API; used by one thread at a time."""

    def __init__(self, credentials: Credentials, stop: threading.Event) -> None:
        """Connect to nothing yet.

        Args:
          credentials: Where the API is, and the key to use.
          stop: Ends waiting and trying.

        Raises:
          Unusable: The URL is none.
        """
        parts = urlsplit(credentials.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Unusable(f"{credentials.url} is not an http or https URL")
        self._stop = stop
        self._path = parts.path.rstrip("/")
        self._headers = {
            "Content-Type": "application/json",
            "X-Org-ID": credentials.org_id,
            "X-API-Key": credentials.api_key,
            "X-API-Secret": credentials.api_secret,
        }
        host, port = parts.hostname, parts.port
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            context = ssl.create_default_context()
            self._connection = http.client.HTTPSConnection(
                host, port, timeout=TIMEOUT_S, context=context
            )
        else:
            self._connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)

    def close(self) -> None:
        """Close the connection; idempotent."""
        self._connection.close()

    def send(self, body: bytes) -> tuple[list[ItemResult], str]:
        """Send a bulk request.

        Returns:
          What was said of each action, in order, and the positions in the log.

        Raises:
          TooLarge: Send it in two.
          Failure: Refused as a whole, or no answer after `TRIES_MAX` tries.
        """
        answer = self.request("POST", f"{INTERNAL}/actions/bulk", body)
        if answer.status == 413:
            raise TooLarge
        results = _decoded(_good(answer).text, _BulkAnswer).data.results
        return results, answer.positions

    def tally(self, batch_id: str, positions: str) -> Tally | None:
        """Return what became of a batch once all positions are folded.

        Returns:
          None where the batch is unknown: nothing of it was stored, or it is too old.

        Raises:
          Failure: Not folded after `TRIES_MAX` tries.
        """
        headers = {POSITION: positions} if positions else {}
        answer = self.request("GET", f"{INTERNAL}/batches/{batch_id}", headers=headers)
        if answer.status == 404:
            return None
        tally: Tally = _decoded(_good(answer).text, _TallyAnswer).data
        return tally

    def partitions(self) -> list[PartitionState]:
        """Return how far each partition is folded; empty while nobody says so."""
        try:
            answer = self._once("GET", "/ready", None, {})
            return msgspec.json.decode(answer.text, type=_ReadyAnswer).data.partitions
        except (OSError, http.client.HTTPException):
            self._connection.close()
        except (msgspec.MsgspecError, ValueError):
            # Not Plaudit's: something before it does not serve this route.
            pass
        return []

    def wait(self, seconds: float) -> None:
        """Pause, or less if told to stop."""
        self._stop.wait(seconds)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Return the first answer that a later try would not change.

        Args:
          method: HTTP method.
          path: From the root of the API on.
          body: JSON.
          headers: More headers.

        Raises:
          Failure: No such answer after `TRIES_MAX` tries, or told to stop.
        """
        pause_s = PAUSE_FIRST_S
        problem = "no answer"
        for _ in range(TRIES_MAX):
            if self._stop.is_set():
                raise Failure("stopped")
            try:
                answer = self._once(method, path, body, headers or {})
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                problem = f"{type(error).__name__}: {error}"
            else:
                if answer.status not in PASSING:
                    return answer
                problem = answer.problem()
            self._stop.wait(pause_s)
            pause_s = min(pause_s * 2, PAUSE_LONGEST_S)
        raise Failure(
            f"the API does not answer ({problem}). What is sent stays; run the same "
            "command again to go on"
        )

    def _once(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Answer:
        self._connection.request(
            method, self._path + path, body, {**self._headers, **headers}
        )
        response = self._connection.getresponse()
        text = response.read(ANSWER_BYTES_MAX)
        return Answer(response.status, text, response.headers.get(POSITION, ""))


def _good(answer: Answer) -> Answer:
    if answer.status >= 300:
        raise Failure(f"the API refuses the request: {answer.problem()}")
    return answer


def _decoded(answer: bytes | None, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(answer or b"", type=kind)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Failure(f"what answers is not Plaudit's API: {error}") from error


def positions_text(positions: dict[str, int]) -> str:
    """Return positions as the header's value."""
    return ",".join(f"{place}-{offset}" for place, offset in positions.items())


def add_positions(positions: dict[str, int], text: str) -> None:
    """Raise positions by what an answer's header says."""
    for part in text.split(","):
        place, dash, offset = part.strip().rpartition("-")
        if dash and offset.isdigit():
            positions[place] = max(positions.get(place, -1), int(offset))
