"""The demo: what `plaudit run --demo` sends into a new data folder, through the API.

It may be interrupted: campaigns have idempotency keys and actions have ids, so the next
start sends it again and adds what is missing.
"""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

import msgspec

from plaudit import demo_data
from plaudit.credentials import read_credentials
from plaudit.errors import Failure
from plaudit.folder import DataFolder, write_private
from plaudit.loading.client import Client, add_positions, positions_text

BATCH: Final = "demo"
LOYALTY: Final = "/loyalty/v1"
REQUEST_ACTIONS: Final = 1_000
_encode = msgspec.json.Encoder(decimal_format="number").encode


def request_demo(folder: DataFolder) -> None:
    """Note that a new data folder is to be filled."""
    write_private(folder.demo, b'{"state":"wanted"}')


def wants_demo(folder: DataFolder) -> bool:
    """Tell whether a data folder is still to be filled."""
    try:
        return b"wanted" in folder.demo.read_bytes()
    except FileNotFoundError:
        return False


def finish_demo(folder: DataFolder) -> None:
    """Note that the demo is complete."""
    write_private(folder.demo, b'{"state":"done"}')


def seed(folder: DataFolder) -> str:
    """Send the demo and wait until it is folded.

    Returns:
      One line that says so.

    Raises:
      Failure: The API does not answer, or refuses something.
    """
    credentials = read_credentials(folder.credentials())
    now = datetime.now(UTC).replace(microsecond=0)
    client = Client(credentials, threading.Event())
    try:
        _create_campaigns(client, now)
        count = _send_actions(client, demo_data.actions(now))
    finally:
        client.close()
    return (
        f"plaudit: the demo is ready: {demo_data.MEMBERS + 1:,} members did "
        f"{count:,} things; the curl lines of README.md show one of them"
    )


def _create_campaigns(client: Client, now: datetime) -> None:
    segment = _create(client, "segments", demo_data.GOLD)
    _create(client, "campaigns", demo_data.POINTS_PER_POUND)
    _create(client, "campaigns", demo_data.DAILY_CHECK_IN)
    _create(client, "campaigns", demo_data.TENTH_PURCHASE)
    _create(client, "campaigns", demo_data.gold_campaign(segment["segmentId"]))
    _create(client, "campaigns", demo_data.weekend_campaign(now.date()))
    advocates = _create(client, "campaigns", demo_data.ADVOCATES)
    for rule in demo_data.ADVOCATE_RULES:
        _create(client, f"campaigns/{advocates['campaignId']}/rules", rule)


def _create(client: Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Create something once, however often this is called."""
    answer = client.request(
        "POST",
        f"{LOYALTY}/{path}",
        _encode(body),
        {"Idempotency-Key": "demo-" + body["name"].replace(" ", "-")},
    )
    if answer.status != 201:
        raise Failure(f"{body['name']}: {answer.problem()}")
    created: dict[str, Any] = msgspec.json.decode(answer.text)["data"]
    return created


def _send_actions(client: Client, actions: Iterator[dict[str, Any]]) -> int:
    """Send actions in their order, wait until all are folded, return their number."""
    positions: dict[str, int] = {}
    count = 0
    while part := list(islice(actions, REQUEST_ACTIONS)):
        body = {"actions": part, "batchId": BATCH, "keepIds": True}
        results, text = client.send(_encode(body))
        for result in results:
            if result.error is not None:
                raise Failure(f"action {count + result.index}: {result.error.message}")
        add_positions(positions, text)
        count += len(part)
    client.tally(BATCH, positions_text(positions))
    return count
