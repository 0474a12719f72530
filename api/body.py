"""The body of a request, within its bounds."""

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from api.json import decode_object
from api.problems import Problem, refusal
from rules.errors import Rejection
from rules.message import JsonObject

COMMAND_BYTES_MAX = 500_000
"""A command travels as one message, and a record of the log is under 900 kB."""


def read_body(too_large_code: str = "PAYLOAD_TOO_LARGE") -> bytes:
    """Return the request's body.

    Raises:
      Problem: It is larger than the app's limit (413).
    """
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge as error:
        raise _too_large(request.max_content_length, too_large_code) from error


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


def _too_large(limit: int | None, code: str) -> Problem:
    message = f"The body is larger than {limit or 0:,} bytes"
    return Problem(413, Rejection(code, message))
