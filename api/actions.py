"""Actions in: one, or up to 1,000 in a request.

Answered 202 once the log holds them durably. In a bulk request a bad item is refused
alone, with a code and the field.
"""

import secrets
from collections.abc import Iterable, Sequence
from decimal import Decimal

import msgspec
from flask import Blueprint, Response

from api.auth import Caller, server
from api.body import read_body
from api.commands import idempotency_key
from api.envelope import now_ms, success
from api.json import UNREADABLE, encoded, unreadable
from api.operation import operation
from api.positions import position_header
from api.problems import bad_request, not_found, refusal
from api.services import read_settings, services
from rules.action import (
    EVENT_ID_BYTES_MAX,
    ID_PATTERN,
    ActionBody,
    is_id,
    to_action,
)
from rules.bulk import SentBody, plain_actions
from rules.errors import Rejection
from rules.message import Action, JsonObject
from streams.log import Position
from tables.errors import ViewUnavailable

blueprint = Blueprint("actions", __name__)

ACTIONS_MAX = 1_000
QUEUED = "Action queued for processing"
STILL_SEEN_MS = 600_000
"""An id that expires sooner may be new again by the time an action is folded."""

_IN_FUTURE = Rejection(
    "TIMESTAMP_IN_FUTURE", "timestamp lies in the future", "timestamp"
)


class _SentBulk(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A bulk request whose items are well-formed, as far as they are read."""

    actions: list[SentBody]
    batch_id: str | None = None
    keep_ids: bool = False


class _LooseBulk(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A bulk request whose items are read one by one."""

    actions: list[msgspec.Raw]
    batch_id: str | None = None
    keep_ids: bool = False


class _Accepted(msgspec.Struct, rename="camel", gc=False):
    """What a bulk answer says of an action that was accepted."""

    index: int
    event_id: str | None
    status: str = "accepted"


_decode_action = msgspec.json.Decoder(ActionBody, float_hook=Decimal).decode
_decode_sent = msgspec.json.Decoder(_SentBulk).decode
_decode_loose = msgspec.json.Decoder(_LooseBulk).decode


@blueprint.post("/internal/actions")
@operation(server("actions:write"), body="Action", answers={202: "ActionReceipt"})
def post_action(caller: Caller) -> Response:
    """Report one action.

    Without an eventId the Idempotency-Key stands for it; without either the action
    gets an id from its position in the log and is never a duplicate. `duplicate` is
    true where the id is known to have counted before; false means not known to: the
    same id may have come a moment ago.
    """
    try:
        body = _decode_action(read_body())
    except UNREADABLE as error:
        raise refusal([unreadable(error)]) from error
    if body.event_id is None:
        body.event_id = idempotency_key()
    action = to_action(body, caller.org)
    if isinstance(action, Rejection):
        raise refusal([action])
    if (action.occurred_at_ms or 0) > _latest_ms(caller.org):
        raise refusal([_IN_FUTURE])
    # Before the action is stored: afterwards its own id may be the one that is seen.
    duplicate = _is_duplicate(action)
    positions = services().write([action])
    data = {
        "eventId": action.event_id or _event_id(positions[0]),
        "processed": False,
        "message": QUEUED,
        "duplicate": duplicate,
    }
    return success(data, 202, position_header(positions))


@blueprint.post("/internal/actions/bulk")
@operation(server("actions:write"), body="BulkActions", answers={202: "BulkReceipt"})
def post_actions(caller: Caller) -> Response:
    """Report up to 1,000 actions; the order inside one user is kept.

    With a batchId of the sender's choice, what became of the actions is counted and
    can be read for 24 hours.
    """
    text = read_body("BATCH_TOO_LARGE")
    bulk = _read_bulk(text)
    key = idempotency_key()
    if key is not None and len(key) > EVENT_ID_BYTES_MAX - len(":999"):
        message = "For a bulk request the header must be at most 251 characters"
        raise bad_request(message, "Idempotency-Key")
    actions, rejected = _check_all(text, bulk, caller.org, key)
    positions: Sequence[Position] = ()
    if actions:
        positions = services().write(actions)
    data = {
        "batchId": bulk.batch_id or "bat_" + secrets.token_hex(16),
        "total": len(actions) + len(rejected),
        "accepted": len(actions),
        "rejected": len(rejected),
        "results": encoded(_results(actions, positions, rejected)),
    }
    return success(data, 202, position_header(positions) if actions else None)


@blueprint.get("/internal/batches/<batch_id>")
@operation(server("actions:write"), answers={200: "Batch"}, refuses=(404,))
def get_batch(caller: Caller, batch_id: str) -> Response:
    """Read what became of the actions sent under a batchId in the last 24 hours."""
    tally = None
    if is_id(batch_id):
        tally = services().view.tally(caller.org, batch_id)
    if tally is None:
        raise not_found(
            "BATCH_NOT_FOUND", "No action was folded under this batchId in 24 hours"
        )
    data = {
        "batchId": batch_id,
        "applied": tally.applied,
        "duplicate": tally.duplicate,
        "tooLate": tally.too_late,
        "refused": tally.refused,
    }
    return success(data)


def _read_bulk(text: bytes) -> _SentBulk | _LooseBulk:
    """Return a bulk request within its bounds, its items as far as they can be read."""
    bulk: _SentBulk | _LooseBulk
    try:
        # The payloads are not looked into, so nobody else has seen that they are UTF-8.
        if not text.isascii():
            text.decode()
        bulk = _decode_sent(text)
    except UNREADABLE:
        # Slower, but it tells the bad items from the good ones.
        try:
            bulk = _decode_loose(text)
        except UNREADABLE as error:
            raise refusal([unreadable(error)]) from error
    if len(bulk.actions) > ACTIONS_MAX:
        message = f"A request holds at most {ACTIONS_MAX:,} actions"
        raise bad_request(message, "actions", "BATCH_TOO_LARGE")
    if not bulk.actions:
        raise bad_request("actions must hold at least one action", "actions")
    if bulk.batch_id is not None and not is_id(bulk.batch_id):
        raise bad_request(f"batchId must match {ID_PATTERN}", "batchId")
    return bulk


def _check_all(
    text: bytes, bulk: _SentBulk | _LooseBulk, org: str, key: str | None
) -> tuple[Sequence[Action], dict[int, Rejection]]:
    """Return the messages of a bulk request, and by index why others are refused.

    Actions without an id are named after the Idempotency-Key and their place in it.
    """
    latest_ms = _latest_ms(org)
    keep_id, batch = bulk.keep_ids, bulk.batch_id
    if isinstance(bulk, _SentBulk):
        _name_after(key, bulk.actions)
        plain = plain_actions(
            bulk.actions, org, latest_ms, keep_id=keep_id, batch=batch
        )
        if plain is not None:
            return plain, {}
    bodies = [_read_item(item) for item in _decode_loose(text).actions]
    _name_after(key, bodies)
    actions: list[Action] = []
    rejected: dict[int, Rejection] = {}
    for index, body in enumerate(bodies):
        action = _check(body, org, latest_ms, keep_id=keep_id, batch=batch)
        if isinstance(action, Rejection):
            rejected[index] = action
        else:
            actions.append(action)
    return actions, rejected


def _read_item(item: msgspec.Raw) -> ActionBody | Rejection:
    try:
        return _decode_action(item)
    except UNREADABLE as error:
        return unreadable(error)


def _check(
    body: ActionBody | Rejection,
    org: str,
    latest_ms: int,
    *,
    keep_id: bool,
    batch: str | None,
) -> Action | Rejection:
    """Return the message of one item, or why it is refused."""
    if isinstance(body, Rejection):
        return body
    action = to_action(body, org, keep_id=keep_id, batch=batch)
    if isinstance(action, Action) and (action.occurred_at_ms or 0) > latest_ms:
        return _IN_FUTURE
    return action


def _name_after(
    key: str | None, bodies: Sequence[SentBody | ActionBody | Rejection]
) -> None:
    """Name the actions without an id after the request's key and their place in it."""
    if key is None:
        return
    for index, body in enumerate(bodies):
        if not isinstance(body, Rejection) and body.event_id is None:
            body.event_id = f"{key}:{index}"


def _results(
    actions: Sequence[Action],
    positions: Sequence[Position],
    rejected: dict[int, Rejection],
) -> list[_Accepted | JsonObject]:
    """Return what the answer says of each action of a bulk request."""
    ids = [action.event_id for action in actions]
    if None in ids:
        ids = [
            event_id or _event_id(position)
            for event_id, position in zip(ids, positions, strict=True)
        ]
    indexes: Iterable[int] = range(len(actions) + len(rejected))
    if rejected:
        indexes = (index for index in indexes if index not in rejected)
    results: list[_Accepted | JsonObject] = list(map(_Accepted, indexes, ids))
    # Ascending, so that each finds its place.
    for index, rejection in rejected.items():
        results.insert(index, _rejected(index, rejection))
    return results


def _is_duplicate(action: Action) -> bool:
    """Tell whether an action's id is known to have counted before."""
    if action.event_id is None:
        return False
    held = services()
    _topic, partition = held.writer.locate(action.org, action.user)
    try:
        until_ms = held.view.seen_until(
            partition, action.org, action.user, action.event_id
        )
    except ViewUnavailable:
        # The log takes actions all the same.
        return False
    return until_ms is not None and until_ms > now_ms() + STILL_SEEN_MS


def _latest_ms(org: str) -> int:
    """Return the latest instant at which an action may have happened."""
    return now_ms() + read_settings(org).future_tolerance_ms


def _rejected(index: int, rejection: Rejection) -> JsonObject:
    error = {
        "code": rejection.code,
        "message": rejection.message,
        "field": rejection.field,
    }
    return {"index": index, "status": "rejected", "error": error}


def _event_id(position: Position) -> str:
    """Return the id of an action that came without one: its place in the log."""
    return (
        f"evt_{position.topic}-{position.partition}-{position.offset}-{position.place}"
    )
