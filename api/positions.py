"""X-Plaudit-Position: read your own writes.

An answer to a write says where the log stored it, ``users-3-1234,users-0-77`` (topic,
partition, offset). Sent back on a read, it makes the read wait until the tables have
folded that far.
"""

import re
from collections.abc import Sequence

from flask import request

from api.config import ORGS, ApiConfig
from api.problems import bad_request, unavailable
from api.services import EndOffset, services, wait_for
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


def _parse(
    text: str, config: ApiConfig, end_offset: EndOffset
) -> dict[tuple[str, int], int]:
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
        if int(match[3]) >= end_offset(*place):
            raise bad_request("The header names a position beyond the log", HEADER)
        wanted[place] = max(int(match[3]), wanted.get(place, -1))
    return wanted


def wait_for_positions() -> None:
    """Wait until the tables have folded what the request's header names, if any.

    Raises:
      Problem: 400 for a malformed header, 503 if it takes too long.
    """
    text = request.headers.get(HEADER)
    if not text:
        return
    held = services()
    wanted = _parse(text, held.config, held.end_offset)

    def caught_up() -> bool | None:
        for topic, partition in list(wanted):
            row = held.view.position(topic, partition)
            if row is None or row.offset < wanted[topic, partition]:
                return None
            del wanted[topic, partition]
        return True

    if wait_for(caught_up, held.config.position_timeout_ms) is None:
        raise unavailable("The tables have not reached X-Plaudit-Position yet")
