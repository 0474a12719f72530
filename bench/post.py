"""What a bulk request of 1,000 actions costs the API, CPU milliseconds.

`process` is a real `plaudit api`, requests over HTTP, its CPU as the kernel counts it
over a block of requests. The worker is stopped meanwhile, so that the API's read view
has nothing to follow; `process_beside_worker` is the same with the worker folding what
is sent: the difference is what following its tables costs. `in_process` is the Flask
app alone, called here as a server calls it.
"""

import io
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from api.app import create_app
from bench import workload
from bench.instance import BULK, BenchFailed, Client, Instance
from bench.measure import Spread, spread
from bench.processes import cpu_s, family

ACTIONS: Final = 1_000
WARM_UP: Final = 20
"""Requests before the first that counts."""


class PostFigures(msgspec.Struct, frozen=True):
    """CPU milliseconds of one request of `ACTIONS` actions, over the rounds.

    Attributes:
      process_ms: Of the API's processes, the worker stopped.
      process_beside_worker_ms: With the worker folding what is sent.
      in_process_ms: Of the Flask app alone, the commit to the log included.
      requests: Of one round.
    """

    process_ms: Spread
    process_beside_worker_ms: Spread
    in_process_ms: Spread
    requests: int


def measure_post(
    folder: Path, *, requests: int, repeats: int, users: int
) -> PostFigures:
    """Measure in a folder that does not exist yet.

    Args:
      folder: Where.
      requests: Of one round.
      repeats: Rounds.
      users: Size of the population.
    """
    bodies = _Bodies(users)
    with Instance(folder) as instance:
        worker = instance.start("worker")
        api = instance.start("api")
        instance.wait_until_ready()
        with instance.connect() as client:
            _post_all(client, bodies.take(WARM_UP))
            instance.wait_until_folded()
            beside = [
                _process_ms(client, api, bodies.take(requests)) for _ in range(repeats)
            ]
            instance.end(worker)
            alone = [
                _process_ms(client, api, bodies.take(requests)) for _ in range(repeats)
            ]
        instance.end(api)
        inside = _in_process_ms(instance, bodies, requests, repeats)
    return PostFigures(spread(alone), spread(beside), spread(inside), requests)


class _Bodies:
    """Bodies of bulk requests; no action comes twice."""

    def __init__(self, users: int) -> None:
        self._users = users
        self._first = 0

    def take(self, count: int) -> list[bytes]:
        """Return the next bodies."""
        bodies = []
        for _ in range(count):
            actions = workload.actions(ACTIONS, self._users, first=self._first)
            bodies.append(workload.bulk_body(actions))
            self._first += ACTIONS
        return bodies


def _post_all(client: Client, bodies: list[bytes]) -> None:
    for body in bodies:
        client.post(BULK, body)


def _process_ms(client: Client, api: int, bodies: list[bytes]) -> float:
    processes = family(api)
    before_s = cpu_s(processes)
    _post_all(client, bodies)
    return (cpu_s(processes) - before_s) / len(bodies) * 1e3


def _in_process_ms(
    instance: Instance, bodies: _Bodies, requests: int, repeats: int
) -> list[float]:
    parts = instance.parts
    app = create_app(
        instance.settings.with_partitions(parts.partitions).api,
        writer=parts.writer,
        view=parts.view,
        secrets=parts.secrets(),
        end_offset=parts.log.end_offset,
    )
    headers = {
        "HTTP_X_ORG_ID": instance.credentials.org_id,
        "HTTP_X_API_KEY": instance.credentials.api_key,
        "HTTP_X_API_SECRET": instance.credentials.api_secret,
    }
    for body in bodies.take(WARM_UP):
        _call(app, headers, body)
    rounds = []
    for _ in range(repeats):
        taken = bodies.take(requests)
        began = time.thread_time()
        for body in taken:
            _call(app, headers, body)
        rounds.append((time.thread_time() - began) / requests * 1e3)
    return rounds


def _call(app: Any, headers: dict[str, str], body: bytes) -> None:
    """Let a WSGI app answer a bulk request.

    Raises:
      BenchFailed: It does not accept it.
    """
    answered: list[str] = []

    def start_response(status: str, _headers: object, _info: object = None) -> None:
        answered.append(status)

    environ = {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": BULK,
        "QUERY_STRING": "",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        **headers,
    }
    answer: Iterable[bytes] = app(environ, start_response)
    text = b"".join(answer)
    if hasattr(answer, "close"):
        answer.close()
    if answered != ["202 ACCEPTED"]:
        raise BenchFailed(f"{answered}: {text[:500].decode()}")
