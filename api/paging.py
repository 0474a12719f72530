"""Limits and opaque cursors.

A cursor is base64url JSON, ``[scope, key]``; the scope is a digest of what is listed,
so a cursor of another route, org or user is refused instead of read wrongly.
"""

import base64
import binascii
import hashlib
from typing import Any

import msgspec
from flask import request

from api.problems import bad_request

CURSOR_BYTES_MAX = 1_024


def read_limit(*, default: int, most: int) -> int:
    """Return the query's `limit`.

    Raises:
      Problem: It is no whole number of 1..`most` (400).
    """
    text = request.args.get("limit")
    if text is None:
        return default
    if text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= most:
        return int(text)
    raise bad_request(f"limit must be a whole number from 1 to {most}", "limit")


def read_choice(name: str, choices: tuple[str, ...]) -> str | None:
    """Return a query parameter that must be one of some words, or None.

    Raises:
      Problem: It is another word (400).
    """
    value = request.args.get(name)
    if value is None or value in choices:
        return value
    raise bad_request(f"{name} must be one of {', '.join(choices)}", name)


class Cursors:
    """Cursors of one list.

    Args:
      parameter: Query parameter that brings the cursor back.
      scope: What is listed: route, org, user ...
    """

    def __init__(self, parameter: str, *scope: str) -> None:
        """Prepare for one request."""
        self._parameter = parameter
        text = "\0".join(scope).encode()
        self._scope = hashlib.blake2b(text, digest_size=8).hexdigest()

    def make(self, key: object) -> str:
        """Return the cursor of the page that begins after a key."""
        text = msgspec.json.encode([self._scope, key])
        return base64.urlsafe_b64encode(text).decode()

    def read(self, key_type: Any) -> Any:
        """Return the key in the query's cursor, or None on the first page.

        Args:
          key_type: Type of the keys that this list's cursors hold.

        Raises:
          Problem: It is no cursor of this list (400).
        """
        cursor = request.args.get(self._parameter)
        if not cursor:
            return None
        try:
            if len(cursor) > CURSOR_BYTES_MAX:
                raise ValueError("too long")
            text = base64.b64decode(cursor.encode(), altchars=b"-_", validate=True)
            scope, key = msgspec.json.decode(text, type=tuple[str, key_type])
        except (binascii.Error, ValueError, RecursionError) as error:
            raise self._refused() from error
        if scope != self._scope:
            raise self._refused()
        return key

    def _refused(self) -> Exception:
        name = self._parameter
        return bad_request(f"{name} is not a cursor of this list", name)
