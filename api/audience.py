"""What a user's app reads and writes, and backends read of many users."""

from itertools import islice
from typing import Annotated

import msgspec
from flask import Blueprint, Response, request

from api import commands, render
from api.auth import Caller, server, user
from api.body import read_object
from api.envelope import now_ms, success
from api.operation import operation
from api.paging import Cursors, read_choice, read_limit
from api.problems import Problem, bad_request, refuse_all
from api.profiles import profile, read_profile, read_users
from api.services import read_settings, services
from rules.action import USER_BYTES_MAX, name_problem
from rules.config import DAY_MS
from rules.errors import Rejection
from rules.ledger import BALANCE_MAX, CURRENCIES, Entry
from rules.profile import parse_profile_update
from rules.state import NOTIFICATIONS_MAX

blueprint = Blueprint("users", __name__)

PROFILES_MAX = 100
TRANSACTIONS_DEFAULT = 50
TRANSACTIONS_MAX = 100
SCAN_CHUNK = 200
SCANNED_MAX = 2_000
"""Entries that one request looks at; a page that reaches it is short, not the last."""
NOTIFICATIONS_PAGE_MAX = 50
NOTIFICATIONS_KEPT_MS = 90 * DAY_MS
TRANSACTIONS_KEPT_MS = 400 * DAY_MS

SequenceKey = Annotated[int, msgspec.Meta(ge=1, le=BALANCE_MAX)]
"""What a cursor of a user's list holds: below which sequence the page begins."""


@blueprint.get("/profile")
@operation(user("audience:read"), answers={200: "Profile"})
def get_profile(caller: Caller) -> Response:
    """Read your profile; a user never seen has zeros and no `createdAt`."""
    return success(read_profile(caller.org, caller.actor))


@blueprint.patch("/profile")
@operation(
    user("audience:write"),
    body="ProfileUpdate",
    answers={200: "Profile", 202: "Command"},
    refuses=(409,),
)
def patch_profile(caller: Caller) -> Response:
    """Change your displayName, preferences or customFields.

    Preferences and custom fields are merged key by key; null deletes a key.
    """
    body = read_object()
    problems: list[Rejection] = []
    parse_profile_update(body, problems)
    refuse_all(problems)
    return commands.run(caller, "profile.update", body, user=caller.actor)


@blueprint.get("/transactions")
@operation(
    user("audience:read"),
    query=("TransactionType", "Currency", "TransactionLimit", "LastEvaluatedKey"),
    answers={200: "Transactions"},
)
def list_transactions(caller: Caller) -> Response:
    """List your credits and debits of the last 400 days, newest first."""
    kind = read_choice("type", ("credit", "debit"))
    currency = read_choice("currency", CURRENCIES)
    limit = read_limit(default=TRANSACTIONS_DEFAULT, most=TRANSACTIONS_MAX)
    cursors = Cursors("lastEvaluatedKey", "transactions", caller.org, caller.actor)
    page, below = _scan(caller, kind, currency, limit, cursors.read(SequenceKey))
    data = {
        "transactions": [render.transaction(entry) for entry in page],
        "count": len(page),
        "lastEvaluatedKey": None if below is None else cursors.make(below),
    }
    return success(data)


def _scan(
    caller: Caller,
    kind: str | None,
    currency: str | None,
    limit: int,
    below: int | None,
) -> tuple[list[Entry], int | None]:
    """Return a page of matching entries and below which sequence the next begins."""
    view = services().view
    _, partition = services().writer.locate(caller.org, caller.actor)
    page: list[Entry] = []
    oldest_ms = now_ms() - TRANSACTIONS_KEPT_MS
    for _ in range(SCANNED_MAX // SCAN_CHUNK):
        entries = view.entries(
            partition, caller.org, caller.actor, below=below, limit=SCAN_CHUNK
        )
        for entry in entries:
            # A partition's clock never goes back: all that follow are older still.
            if entry.created_at_ms < oldest_ms:
                return page, None
            if not _wanted(entry, kind, currency):
                continue
            if len(page) == limit:
                return page, page[-1].sequence
            page.append(entry)
        if len(entries) < SCAN_CHUNK:
            return page, None
        below = entries[-1].sequence
    return page, below


def _wanted(entry: Entry, kind: str | None, currency: str | None) -> bool:
    if entry.currency is None:
        return False
    return kind in (None, entry.kind) and currency in (None, entry.currency)


@blueprint.get("/notifications")
@operation(
    user("audience:read"),
    query=("Unread", "NotificationLimit", "LastEvaluatedKey"),
    answers={200: "Notifications"},
)
def list_notifications(caller: Caller) -> Response:
    """List your notifications of the last 90 days, newest first."""
    read_choice("unread", ("true", "false"))
    limit = read_limit(default=NOTIFICATIONS_PAGE_MAX, most=NOTIFICATIONS_PAGE_MAX)
    cursors = Cursors("lastEvaluatedKey", "notifications", caller.org, caller.actor)
    below = cursors.read(SequenceKey)
    _, partition = services().writer.locate(caller.org, caller.actor)
    notes = services().view.notifications(
        partition, caller.org, caller.actor, below=None, limit=NOTIFICATIONS_MAX
    )
    oldest_ms = now_ms() - NOTIFICATIONS_KEPT_MS
    kept = [note for note in notes if note.created_at_ms >= oldest_ms]
    following = (note for note in kept if below is None or note.sequence < below)
    page = list(islice(following, limit))
    more = bool(page) and page[-1].sequence > kept[-1].sequence
    data = {
        "notifications": [render.notification(note) for note in page],
        "unreadCount": len(kept),
        "lastEvaluatedKey": cursors.make(page[-1].sequence) if more else None,
    }
    return success(data)


@blueprint.get("/internal/profiles")
@operation(server("users:read"), query=("UserIds",), answers={200: "Profiles"})
def list_profiles(caller: Caller) -> Response:
    """Read up to 100 profiles at once, in the order asked for."""
    text = request.args.get("user_ids")
    if not text:
        raise bad_request("user_ids is required", "user_ids")
    user_ids = list(dict.fromkeys(text.split(",")))
    if len(user_ids) > PROFILES_MAX:
        message = f"user_ids names more than {PROFILES_MAX} users"
        raise bad_request(message, "user_ids", "BATCH_TOO_LARGE")
    for user_id in user_ids:
        problem = name_problem(user_id, "user_ids", USER_BYTES_MAX)
        if problem is not None:
            raise Problem(400, Rejection(problem.code, problem.message, "user_ids"))
    users = read_users(caller.org, user_ids)
    tiers = read_settings(caller.org).tiers
    found = [
        profile(caller.org, found_user, tiers, now_ms())
        for user_id in user_ids
        if (found_user := users[user_id]) is not None
    ]
    missing = [user_id for user_id in user_ids if users[user_id] is None]
    return success({"profiles": found, "notFound": missing, "count": len(found)})
