"""Campaigns: list, create, read, change, archive."""

from flask import Blueprint, Response

from api import commands, render
from api.auth import Caller, operator
from api.body import read_object
from api.envelope import now_ms, success
from api.operation import operation
from api.paging import Cursors, read_choice, read_limit
from api.problems import not_found, refuse_all
from api.services import services
from rules.config import Campaign, row_from_json
from rules.errors import Rejection
from rules.message import JsonObject
from rules.parse_campaign import parse_campaign, parse_campaign_update

blueprint = Blueprint("campaigns", __name__)

PAGE_DEFAULT = 50
PAGE_MAX = 100
STATUSES = ("draft", "active", "paused", "completed", "archived")
TYPES = ("Challenge", "Reward", "Badge", "Streak", "Competition")
MODES = ("always-on", "time-bound", "recurring")


def find_campaign(org: str, campaign_id: str) -> JsonObject:
    """Return a campaign's row, archived ones included.

    Raises:
      Problem: There is none in the org (404).
    """
    row = services().view.config_row(org, "campaign", campaign_id)
    if row is None:
        raise not_found("CAMPAIGN_NOT_FOUND", "Campaign does not exist")
    return row


@blueprint.get("/campaigns")
@operation(
    operator("loyalty:read"),
    query=("CampaignStatus", "CampaignType", "CampaignMode", "PageLimit", "Cursor"),
    answers={200: "Campaigns"},
)
def list_campaigns(caller: Caller) -> Response:
    """List campaigns, newest first; archived ones only with ``status=archived``."""
    status = read_choice("status", STATUSES)
    kind = read_choice("type", TYPES)
    mode = read_choice("mode", MODES)
    limit = read_limit(default=PAGE_DEFAULT, most=PAGE_MAX)
    cursors = Cursors("cursor", "campaigns", caller.org)
    after = cursors.read(tuple[int, str])
    rows = [
        row
        for row in services().view.config_rows(caller.org, "campaign")
        if kind in (None, row["type"])
        and mode in (None, row["mode"])
        and _status_fits(render.status_of(row, now_ms()), status)
    ]
    rows.sort(key=_place)
    if after is not None:
        rows = [row for row in rows if _place(row) > after]
    page = rows[:limit]
    data = {
        "campaigns": [render.campaign(caller.org, row, now_ms()) for row in page],
        "cursor": cursors.make(_place(page[-1])) if len(rows) > limit else None,
    }
    return success(data)


def _status_fits(status: str, wanted: str | None) -> bool:
    return status == wanted if wanted else status != "archived"


def _place(row: JsonObject) -> tuple[int, str]:
    """Return what sorts newest first, then by id."""
    return -row["created_at_ms"], row["campaign_id"]


@blueprint.post("/campaigns")
@operation(
    operator("loyalty:write"),
    body="CampaignCreate",
    answers={201: "Campaign", 202: "Command"},
    refuses=(409,),
)
def create_campaign(caller: Caller) -> Response:
    """Create a campaign: simple (triggers and effects) or advanced (neither)."""
    body = read_object()
    problems: list[Rejection] = []
    parse_campaign(body, problems)
    refuse_all(problems)
    return commands.run(caller, "campaign.create", body)


@blueprint.get("/campaigns/<campaign_id>")
@operation(operator("loyalty:read"), answers={200: "Campaign"}, refuses=(404,))
def get_campaign(caller: Caller, campaign_id: str) -> Response:
    """Read a campaign."""
    row = find_campaign(caller.org, campaign_id)
    return success(render.campaign(caller.org, row, now_ms()))


@blueprint.put("/campaigns/<campaign_id>")
@operation(
    operator("loyalty:write"),
    body="CampaignUpdate",
    answers={200: "Campaign", 202: "Command"},
    refuses=(404, 409),
)
def update_campaign(caller: Caller, campaign_id: str) -> Response:
    """Change the fields that are given; what earlier actions earned stays."""
    body = read_object()
    row = find_campaign(caller.org, campaign_id)
    current: Campaign = row_from_json("campaign", row)
    problems: list[Rejection] = []
    parse_campaign_update(body, current, problems)
    refuse_all(problems)
    return commands.run(caller, "campaign.update", body, target=campaign_id)


@blueprint.delete("/campaigns/<campaign_id>")
@operation(
    operator("loyalty:write"),
    answers={204: None, 202: "Command"},
    refuses=(404, 409),
)
def archive_campaign(caller: Caller, campaign_id: str) -> Response:
    """Archive a campaign, for good: it earns nothing from now on."""
    find_campaign(caller.org, campaign_id)
    return commands.run(caller, "campaign.archive", {}, target=campaign_id)
