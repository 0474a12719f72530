"""The envelope of every answer, and the id of the request that it answers."""

from datetime import UTC, datetime, timedelta

from flask import Response, g

from api.json import encode
from rules.message import JsonObject

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso(instant_ms: int) -> str:
    """Return an instant as ``2025-10-05T12:00:00.000Z``.

    Args:
      instant_ms: ms since the Unix epoch, within the years 1..9999.
    """
    instant = _EPOCH + timedelta(milliseconds=instant_ms)
    return instant.isoformat(timespec="milliseconds")[:23] + "Z"


def iso_or_none(instant_ms: int | None) -> str | None:
    """Return `iso`, or None for None."""
    return None if instant_ms is None else iso(instant_ms)


def request_id() -> str:
    """Return the id of this request."""
    return str(g.request_id)


def now_ms() -> int:
    """Return the instant at which this request began, ms since the Unix epoch."""
    return int(g.now_ms)


def envelope(body: JsonObject, status: int) -> Response:
    """Return a JSON response; `body` gets the request's instant as ``timestamp``."""
    body["timestamp"] = iso(now_ms())
    return Response(encode(body), status, mimetype="application/json")


def success(
    data: object, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return ``{"success": true, "data": ..., "timestamp": ...}``."""
    response = envelope({"success": True, "data": data}, status)
    response.headers.update(headers or {})
    return response
