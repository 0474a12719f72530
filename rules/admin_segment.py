"""Commands about segments.

Deleting a segment leaves the campaigns that name it as they are: nobody is in it.
"""

import msgspec

from rules.config import SEGMENTS_MAX, OrgConfig, Segment, row_to_json
from rules.decision import Decision, OrgView, answered, invalid, refused
from rules.errors import Rejection
from rules.message import Command
from rules.outcome import Place
from rules.parse_segment import parse_segment, parse_segment_update
from rules.public_id import public_id


def create_segment(
    _org: OrgView, config: OrgConfig, command: Command, place: Place
) -> Decision:
    """Create a segment; 409 SEGMENT_LIMIT_REACHED."""
    problems: list[Rejection] = []
    values = parse_segment(command.body, problems)
    if values is None:
        return invalid(command, problems)
    if len(config.segments) >= SEGMENTS_MAX:
        message = f"an org has at most {SEGMENTS_MAX} segments; delete one first"
        return refused(command, 409, "SEGMENT_LIMIT_REACHED", message)
    segment = Segment(
        segment_id=public_id("seg", place.ids.new_id(place.number, 0)),
        **values,
        created_at_ms=place.clock_ms,
        updated_at_ms=place.clock_ms,
    )
    row = row_to_json(segment)
    changes = [("segment", segment.segment_id, row)]
    return answered(command, 201, row, changes=changes)


def update_segment(
    org: OrgView, _config: OrgConfig, command: Command, place: Place
) -> Decision:
    """Change a segment; 404 SEGMENT_NOT_FOUND."""
    segment = org.row("segment", command.target or "")
    if segment is None:
        return _not_found(command)
    problems: list[Rejection] = []
    values = parse_segment_update(command.body, segment, problems)
    if values is None:
        return invalid(command, problems)
    changed = msgspec.structs.replace(segment, **values, updated_at_ms=place.clock_ms)
    row = row_to_json(changed)
    changes = [("segment", changed.segment_id, row)]
    return answered(command, 200, row, changes=changes)


def delete_segment(
    org: OrgView, _config: OrgConfig, command: Command, _place: Place
) -> Decision:
    """Delete a segment for good; 404 SEGMENT_NOT_FOUND."""
    segment = org.row("segment", command.target or "")
    if segment is None:
        return _not_found(command)
    return answered(command, 204, changes=[("segment", segment.segment_id, None)])


def _not_found(command: Command) -> Decision:
    message = "the segment does not exist"
    return refused(command, 404, "SEGMENT_NOT_FOUND", message, "segmentId")
