"""The body of a request, within its bounds."""

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from api.json import decode_object
from api.problems import Problem, refusal, unavailable
from api.services import services
from rules.errors import Rejection
from rules.message import JsonObject

COMMAND_BYTES_MAX = 500_000
"""A command travels as one message, and a record of the log is under 900 kB."""


UPLOAD_WAIT_S = 5.0
DRAIN_BYTES_MAX = 64_000_000
DRAIN_CHUNK_BYTES = 65_536


def read_body(too_large_code: str = "PAYLOAD_TOO_LARGE") -> bytes:
    """Return the request's body.

    Raises:
      Problem: It is larger than the app's limit (413), or too many others are being
        received (503): a body takes as long as its sender pleases.
    """
    uploads = services().uploads
    if not uploads.acquire(timeout=UPLOAD_WAIT_S):
        raise unavailable("Too many bodies are being received")
    try:
        return _receive(services().config.body_bytes_max, too_large_code)
    finally:
        uploads.release()


def _receive(limit: int, too_large_code: str) -> bytes:
    try:
        text = request.get_data(cache=False)
    except RequestEntityTooLarge as error:
        _drain(request.content_length or 0)
        raise _too_large(limit, too_large_code) from error
    # A body of unknown length is cut off at one byte more than the limit.
    if len(text) > limit:
        _drain(DRAIN_BYTES_MAX if request.content_length is None else 0)
        raise _too_large(limit, too_large_code)
    return text


def _drain(left: int) -> None:
    """Read away what the client still sends, up to `DRAIN_BYTES_MAX`.

    A connection that is closed on a client that is still sending shows the client a
    broken pipe instead of the answer. Only callers who were let in get so far.
    """
    left = min(left, DRAIN_BYTES_MAX)
    stream = request.environ["wsgi.input"]
    while left > 0:
        chunk = stream.read(min(left, DRAIN_CHUNK_BYTES))
        if not chunk:
            return
        left -= len(chunk)


def read_object() -> JsonObject:
    """Return the JSON object that is the body of a command.

    Raises:
      Problem: It is larger than `COMMAND_BYTES_MAX` (413), or no JSON object (400).
    """
    text = read_body()
    if len(text) > COMMAND_BYTES_MAX:
        raise _too_large(COMMAND_BYTES_MAX, "PAYLOAD_TOO_LARGE")
    value = decode_object(text)
    if isinstance(value, Rejection):
        raise refusal([value])
    return value


def _too_large(limit: int, code: str) -> Problem:
    message = f"The body is larger than {limit:,} bytes"
    return Problem(413, Rejection(code, message))
