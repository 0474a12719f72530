"""The demo: what `plaudit run --demo` sends into a new data folder, through the API.

It may be interrupted, and go on whenever the next start is: it is counted back from the
day on which it began, what is there already is found by its name, and actions have ids
that never expire. So the next start sends it again and adds what is missing.
"""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final, Literal
from urllib.parse import quote

import msgspec

from plaudit import demo_data
from plaudit.credentials import read_credentials
from plaudit.errors import Failure
from plaudit.folder import DataFolder, write_private
from plaudit.loading.client import Client, add_positions, positions_text

BATCH: Final = "demo"
LOYALTY: Final = "/loyalty/v1"
REQUEST_ACTIONS: Final = 1_000
PAGE: Final = 100
PAGES_MAX: Final = 20
"""Pages in which a name is looked for: an org has no more campaigns or segments."""
_encode = msgspec.json.Encoder(decimal_format="number").encode


class _State(msgspec.Struct, omit_defaults=True):
    """What ``D/demo.json`` holds.

    Attributes:
      state: Whether the folder is still to be filled.
      now: The instant from which the demo's days are counted back, once it began.
    """

    state: Literal["wanted", "done"]
    now: datetime | None = None


def request_demo(folder: DataFolder) -> None:
    """Note that a new data folder is to be filled."""
    _write(folder, _State("wanted"))


def wants_demo(folder: DataFolder) -> bool:
    """Tell whether a data folder is still to be filled.

    Raises:
      Failure: The note about it cannot be read.
    """
    return _read(folder).state == "wanted"


def seed(folder: DataFolder) -> str:
    """Send the demo, wait until it is folded, and note that it is complete.

    Returns:
      One line that says so.

    Raises:
      Failure: The API does not answer, or refuses something.
      NoCredentials: The folder's credentials are gone.
    """
    credentials = read_credentials(folder.credentials())
    now = _read(folder).now
    if now is None:
        now = datetime.now(UTC).replace(microsecond=0)
        _write(folder, _State("wanted", now))
    client = Client(credentials, threading.Event())
    try:
        create_campaigns(client, now)
        count = _send_actions(client, demo_data.actions(now))
    finally:
        client.close()
    _write(folder, _State("done"))
    return (
        f"plaudit: the demo is ready: {demo_data.MEMBERS + 1:,} members did "
        f"{count:,} things; the curl lines of README.md show one of them"
    )


def _read(folder: DataFolder) -> _State:
    try:
        return msgspec.json.decode(folder.demo.read_bytes(), type=_State)
    except FileNotFoundError:
        return _State("done")
    except (msgspec.MsgspecError, ValueError) as error:
        raise Failure(
            f"{folder.demo} cannot be read: {error}. Remove it to go without the demo"
        ) from error


def _write(folder: DataFolder, state: _State) -> None:
    write_private(folder.demo, msgspec.json.encode(state))


def create_campaigns(client: Client, now: datetime) -> None:
    """Create what is not there yet of the demo's segment, campaigns and rules.

    Raises:
      Failure: The API does not answer, or refuses something.
    """
    segment = _create(client, "segments", demo_data.GOLD)
    for body in (
        demo_data.POINTS_PER_POUND,
        demo_data.DAILY_CHECK_IN,
        demo_data.TENTH_PURCHASE,
        demo_data.gold_campaign(segment["segmentId"]),
        demo_data.weekend_campaign(now.date()),
    ):
        _create(client, "campaigns", body)
    advocates = _create(client, "campaigns", demo_data.ADVOCATES)
    campaign = quote(advocates["campaignId"], safe="")
    for rule in demo_data.ADVOCATE_RULES:
        _create(client, f"campaigns/{campaign}/rules", rule)


def _create(client: Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the thing of a name, created if need be."""
    found = _find(client, path, body["name"])
    if found is not None:
        return found
    # The key is for a request that is sent twice because nobody answered.
    key = {"Idempotency-Key": "demo-" + body["name"].replace(" ", "-")}
    answer = client.request("POST", f"{LOYALTY}/{path}", _encode(body), key)
    if answer.status == 201:
        created: dict[str, Any] = msgspec.json.decode(answer.text)["data"]
        return created
    # An earlier start's command may have been decided only now.
    found = _find(client, path, body["name"])
    if found is None:
        raise Failure(f"{body['name']}: {answer.problem()}")
    return found


def _find(client: Client, path: str, name: str) -> dict[str, Any] | None:
    """Return the live thing of a name from a list of the API, or None."""
    kind = path.rpartition("/")[2]
    query = "" if kind == "rules" else f"?limit={PAGE}"
    for _ in range(PAGES_MAX):
        answer = client.request("GET", f"{LOYALTY}/{path}{query}")
        if answer.status != 200:
            raise Failure(f"the list of {kind}: {answer.problem()}")
        page = msgspec.json.decode(answer.text)["data"]
        for one in page[kind]:
            if one["name"] == name:
                found: dict[str, Any] = one
                return found
        cursor = page.get("cursor")
        if cursor is None:
            return None
        query = f"?limit={PAGE}&cursor={quote(cursor, safe='')}"
    return None


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
