"""`plaudit skip`."""

import re
from pathlib import Path

import click

from plaudit.commands.options import data_dir_option, json_option, settings_of
from plaudit.errors import Failure, Unusable
from plaudit.output import emit
from plaudit.status import parked_offset
from plaudit.wiring import opened
from streams.skips import Skip, append_skip
from streams.topics import ORGS, USERS

REASON_CHARS_MAX = 500
_PLACE = re.compile(
    r"(?P<topic>[a-z]+)/(?P<partition>[0-9]{1,6})@(?P<offset>[0-9]{1,18})"
)


@click.command()
@click.argument("place", metavar="TOPIC/PARTITION@OFFSET")
@click.option("--reason", default="", metavar="TEXT", help="Why; kept in the log.")
@data_dir_option
@json_option
def skip(place: str, reason: str, data_dir: Path, as_json: bool) -> None:
    """Take the record at which a partition stands parked out of the way.

    For example `plaudit skip users/2@1234`. The record folds as nothing, in every
    replay, for ever; `plaudit status` shows which one to name.
    """
    match = _PLACE.fullmatch(place)
    if match is None or match["topic"] not in (USERS, ORGS):
        raise Unusable(f"{place[:80]} must be like users/2@1234")
    topic, partition = match["topic"], int(match["partition"])
    offset = int(match["offset"])
    if offset == 0:
        raise Unusable(
            f"{place} is the genesis record, which says what log this is: nothing can "
            "stand in for it. Mend what `plaudit status` names"
        )
    with opened(settings_of(data_dir)) as parts:
        if partition >= parts.log.partitions(topic):
            raise Unusable(f"there is no partition {topic}/{partition}")
        parked = parked_offset(parts, topic, partition)
        if parked != offset:
            where = "is not parked" if parked is None else f"is parked at {parked}"
            raise Failure(
                f"{topic}/{partition} {where}; only the record at which a partition "
                "stands parked can be skipped"
            )
        append_skip(
            parts.log, Skip(topic, partition, offset, reason[:REASON_CHARS_MAX])
        )
    emit(
        {"topic": topic, "partition": partition, "offset": offset, "skipped": True},
        f"{place} is skipped; the partition goes on",
        as_json=as_json,
    )
