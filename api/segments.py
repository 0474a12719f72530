"""Segments: list, create, read, change, delete."""

from flask import Blueprint, Response

from api import commands, render
from api.auth import Caller, operator
from api.body import read_object
from api.envelope import success
from api.operation import operation
from api.paging import Cursors, read_choice, read_limit
from api.problems import not_found, refuse_all
from api.services import services
from rules.config import row_from_json
from rules.errors import Rejection
from rules.message import JsonObject
from rules.parse_segment import parse_segment, parse_segment_update

blueprint = Blueprint("segments", __name__)

PAGE_DEFAULT = 50
PAGE_MAX = 100

_READ = operator("loyalty:read")
_WRITE = operator("loyalty:write")


def _find_segment(org: str, segment_id: str) -> JsonObject:
    row = services().view.config_row(org, "segment", segment_id)
    if row is None:
        raise not_found("SEGMENT_NOT_FOUND", "Segment does not exist")
    return row


def _place(row: JsonObject) -> tuple[int, str]:
    """Return what sorts newest first, then by id."""
    return -row["created_at_ms"], row["segment_id"]


@blueprint.get("/segments")
@operation(
    _READ,
    query=("SegmentType", "PageLimit", "Cursor"),
    answers={200: "Segments"},
)
def list_segments(caller: Caller) -> Response:
    """List segments, newest first."""
    kind = read_choice("type", ("dynamic", "static"))
    limit = read_limit(default=PAGE_DEFAULT, most=PAGE_MAX)
    cursors = Cursors("cursor", "segments", caller.org)
    after = cursors.read(tuple[int, str])
    rows = [
        row
        for row in services().view.config_rows(caller.org, "segment")
        if kind in (None, row["type"]) and (after is None or _place(row) > after)
    ]
    rows.sort(key=_place)
    page = rows[:limit]
    data = {
        "segments": [render.segment(caller.org, row) for row in page],
        "cursor": cursors.make(_place(page[-1])) if len(rows) > limit else None,
    }
    return success(data)


@blueprint.post("/segments")
@operation(
    _WRITE,
    body="SegmentCreate",
    answers={201: "Segment", 202: "Command"},
    refuses=(409,),
)
def create_segment(caller: Caller) -> Response:
    """Create a segment: dynamic (criteria on the profile) or static (user ids)."""
    body = read_object()
    problems: list[Rejection] = []
    parse_segment(body, problems)
    refuse_all(problems)
    return commands.run(caller, "segment.create", body)


@blueprint.get("/segments/<segment_id>")
@operation(_READ, answers={200: "Segment"}, refuses=(404,))
def get_segment(caller: Caller, segment_id: str) -> Response:
    """Read a segment."""
    row = _find_segment(caller.org, segment_id)
    return success(render.segment(caller.org, row))


@blueprint.put("/segments/<segment_id>")
@operation(
    _WRITE,
    body="SegmentUpdate",
    answers={200: "Segment", 202: "Command"},
    refuses=(404, 409),
)
def update_segment(caller: Caller, segment_id: str) -> Response:
    """Change the fields of a segment that are given; its type stays."""
    body = read_object()
    current = row_from_json("segment", _find_segment(caller.org, segment_id))
    problems: list[Rejection] = []
    parse_segment_update(body, current, problems)
    refuse_all(problems)
    return commands.run(caller, "segment.update", body, target=segment_id)


@blueprint.delete("/segments/<segment_id>")
@operation(_WRITE, answers={204: None, 202: "Command"}, refuses=(404, 409))
def delete_segment(caller: Caller, segment_id: str) -> Response:
    """Delete a segment, for good; the campaigns that name it stay as they are."""
    _find_segment(caller.org, segment_id)
    return commands.run(caller, "segment.delete", {}, target=segment_id)
