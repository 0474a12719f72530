"""X-Plaudit-Position: read your own writes.

An answer to a write says where the log stored it, ``users-3-1234,users-0-77`` (topic,
partition, offset). Sent back on a read, it makes the read wait until the tables have
folded that far. The log is asked only about what they have not: a position beyond its
end never comes. Where it does not answer the tables may still get there.
"""

import re
import time
from collections.abc import Sequence

from flask import request

from api.config import ORGS, ApiConfig
from api.problems import bad_request, unavailable
from api.services import Services, services, wait_for
from streams.log import Position, Positions

HEADER = "X-Plaudit-Position"
HEADER_BYTES_MAX = 65_536

_is_position = re.compile(r"(users|orgs)-([0-9]{1,6})-([0-9]{1,15})").fullmatch


def position_header(positions: Sequence[Position]) -> dict[str, str]:
    """Return the header that names the last of some positions in each partition."""
    # A bulk request has 1,000 positions in a handful of records.
    spans = positions.spans if isinstance(positions, Positions) else positions
    records = sorted({span[:3] for span in spans})
    last = {(topic, partition): offset for topic, partition, offset in records}
    return {HEADER: ",".join(f"{t}-{p}-{offset}" for (t, p), offset in last.items())}


def _parse(text: str, config: ApiConfig) -> dict[tuple[str, int], int]:
    wanted: dict[tuple[str, int], int] = {}
    if len(text) > HEADER_BYTES_MAX:
        raise bad_request("The header is too long", HEADER)
    for part in text.split(","):
        match = _is_position(part.strip())
        if match is None:
            raise bad_request("The header must be a list like users-3-1234", HEADER)
        place = (match[1], int(match[2]))
        if place[1] >= (1 if place[0] == ORGS else config.partitions):
            raise bad_request("The header names an unknown partition", HEADER)
        wanted[place] = max(int(match[3]), wanted.get(place, -1))
    return wanted


class _Wait:
    """What one request waits for."""

    def __init__(self, held: Services, wanted: dict[tuple[str, int], int]) -> None:
        self._held = held
        self._wanted = wanted
        self._asked_at: float | None = None

    def look(self) -> bool | None:
        """Return True once the tables are there, None before.

        Raises:
          Problem: 400; the log has said that it does not reach so far.
        """
        self._check_ends()
        for place, offset in list(self._wanted.items()):
            row = self._held.view.position(*place)
            if row is None or row.offset < offset:
                return None
            del self._wanted[place]
        return True

    def ask_log(self) -> None:
        """Have the log asked where it ends; `look` takes the answers as they come."""
        self._asked_at = self._held.ends.ask(self._wanted)

    def _check_ends(self) -> None:
        if self._asked_at is None:
            return
        for place, offset in self._wanted.items():
            end = self._held.ends.known(place, self._asked_at)
            if end is not None and offset >= end:
                raise bad_request("The header names a position beyond the log", HEADER)


def wait_for_positions() -> None:
    """Wait until the tables have folded what the request's header names, if any.

    Raises:
      Problem: 400 for a malformed header, 503 if it takes too long.
    """
    text = request.headers.get(HEADER)
    if not text:
        return
    held = services()
    deadline = time.monotonic() + held.config.position_timeout_ms / 1_000
    wait = _Wait(held, _parse(text, held.config))
    if wait_for(wait.look, 0):
        return
    wait.ask_log()
    with held.position_waits.turn("Too many reads wait for X-Plaudit-Position"):
        left_ms = max(int((deadline - time.monotonic()) * 1_000), 0)
        if wait_for(wait.look, left_ms) is None:
            raise unavailable("The tables have not reached X-Plaudit-Position yet")
