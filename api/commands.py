"""Commands: append, wait for the outcome, answer with it.

The fold decides, and its result row is the answer. Where the wait runs out the answer
is 202 with a `Location`, at which the outcome can be read for 24 hours. That address
is sealed: it says where the result row is, and opens only for the caller that asked.
"""

import re
import secrets
from functools import partial
from typing import Any

import msgspec
from flask import Blueprint, Response, request, url_for

from api import render
from api.auth import ANYONE, Caller
from api.envelope import now_ms, success
from api.operation import operation
from api.positions import position_header
from api.problems import RETRY_AFTER_S, Problem, bad_request, error_json, not_found
from api.profiles import read_profile
from api.secrets import SecretUnreadable
from api.services import Services, services, wait_for
from rules.errors import Rejection
from rules.message import Command, JsonObject
from rules.outcome import Result

blueprint = Blueprint("commands", __name__)

HANDLE_BYTES_MAX = 2_048

_is_idempotency_key = re.compile(r"[\x21-\x7e]{1,255}").fullmatch


class Handle(msgspec.Struct, array_like=True, frozen=True):
    """Where a command's result row will be, and whose thing it is about."""

    topic: str
    partition: int
    command_id: str
    name: str
    user: str | None


def idempotency_key() -> str | None:
    """Return the request's Idempotency-Key, or None.

    Raises:
      Problem: It is not 1..255 printable characters of ASCII (400).
    """
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _is_idempotency_key(key):
        message = "The header must be 1 to 255 printable ASCII characters"
        raise bad_request(message, "Idempotency-Key")
    return key


def run(
    caller: Caller,
    name: str,
    body: JsonObject,
    *,
    user: str | None = None,
    target: str | None = None,
) -> Response:
    """Append a command, wait for its outcome and answer with it.

    Args:
      caller: Who asks; its org is the command's.
      name: Which command, e.g. ``campaign.update``.
      body: The request's body.
      user: The user whose aggregate decides; None: the org's.
      target: Id of the thing it is about.

    Raises:
      Problem: The outcome is a refusal.
      LogUnavailable: The command may or may not have been stored.
    """
    held = services()
    command_id = "cmd_" + secrets.token_hex(16)
    message = Command(
        caller.org,
        user,
        command_id,
        name,
        target,
        body,
        idempotency_key(),
        caller.actor,
    )
    positions = held.write([message])
    topic, partition = held.writer.locate(caller.org, user)
    handle = Handle(topic, partition, command_id, name, user)
    result = _outcome(held, handle)
    headers = position_header(positions)
    if result is None:
        return _pending(caller, handle, headers)
    if result.error is not None:
        raise Problem(
            result.status, result.error, details=result.details, headers=headers
        )
    if result.status == 204:
        return Response(status=204, headers=headers)
    return success(_shape(caller, handle, result), result.status, headers)


def _outcome(held: Services, handle: Handle) -> Result | None:
    """Return what has become of a command, or None where that takes too long."""
    look = partial(held.view.result, handle.topic, handle.partition, handle.command_id)
    # The command is stored. Where too many wait already, its outcome is read later.
    with held.outcome_waits.try_turn() as has_turn:
        return wait_for(look, held.config.command_timeout_ms if has_turn else 0)


def _pending(caller: Caller, handle: Handle, headers: dict[str, str]) -> Response:
    sealed = services().secrets.seal(
        msgspec.json.encode(handle), org=caller.org, name=_bound_to(caller)
    )
    headers["Location"] = url_for("audience.commands.get_command", command_id=sealed)
    headers["Retry-After"] = str(RETRY_AFTER_S)
    return success(_state(sealed, "pending"), 202, headers)


def _bound_to(caller: Caller) -> str:
    return f"command/{caller.actor}"


def _shape(caller: Caller, handle: Handle, result: Result) -> Any:
    """Return a success as the GET of the same thing shows it."""
    if handle.user is not None:
        return read_profile(caller.org, handle.user)
    row = result.body
    if result.status == 204 or not row:
        return None
    kind = handle.name.partition(".")[0]
    if kind == "campaign":
        return render.campaign(caller.org, row, now_ms())
    return render.segment(caller.org, row) if kind == "segment" else render.rule(row)


def _state(
    command_id: str,
    status: str,
    http_status: int | None = None,
    result: Any = None,
    error: JsonObject | None = None,
) -> JsonObject:
    return {
        "commandId": command_id,
        "status": status,
        "httpStatus": http_status,
        "result": result,
        "error": error,
    }


@blueprint.get("/internal/commands/<command_id>")
@operation(ANYONE, answers={200: "Command"}, refuses=(404,))
def get_command(caller: Caller, command_id: str) -> Response:
    """Read what became of a command that was answered with 202.

    Only whoever sent it can read it. An outcome is kept for 24 hours.
    """
    unknown = not_found("COMMAND_NOT_FOUND", "There is no such command of yours")
    if len(command_id) > HANDLE_BYTES_MAX:
        raise unknown
    held = services()
    try:
        text = held.secrets.open(command_id, org=caller.org, name=_bound_to(caller))
        handle = msgspec.json.decode(text, type=Handle)
    except (SecretUnreadable, msgspec.DecodeError) as error:
        raise unknown from error
    result = held.view.result(handle.topic, handle.partition, handle.command_id)
    if result is None:
        return success(_state(command_id, "pending"))
    if result.error is not None:
        why: Rejection = result.error
        refused = error_json(why, result.details)
        return success(_state(command_id, "refused", result.status, error=refused))
    shape = _shape(caller, handle, result)
    return success(_state(command_id, "succeeded", result.status, shape))
