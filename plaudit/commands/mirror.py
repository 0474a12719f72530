"""`plaudit mirror`: the copy of the tables in Redis that readers ask."""

from pathlib import Path

import click

from plaudit import mirror as mirroring
from plaudit.commands.options import data_dir_option, json_option, settings_of
from plaudit.errors import Failure
from plaudit.output import emit


@click.group()
def mirror() -> None:
    """The copy of the tables in Redis that readers ask."""


@mirror.command()
@click.argument("places", nargs=-1, metavar="[TOPIC/PARTITION]...")
@data_dir_option
@json_option
def rebuild(places: tuple[str, ...], data_dir: Path, as_json: bool) -> None:
    """Write the mirror anew from the tables: all of it, or partitions (users/2).

    Workers run meanwhile: each writes the partitions that it owns. What is there stays
    in force, and up to date, until its successor is complete.
    """
    try:
        summary = mirroring.rebuild(settings_of(data_dir), places)
    except KeyboardInterrupt:
        raise Failure("no longer watched; the owners go on by themselves") from None
    emit(summary, _text(summary), as_json=as_json)


def _text(summary: mirroring.Summary) -> str:
    lines = [
        f"{one.topic}/{one.partition}: written anew up to offset {one.offset}, "
        f"{one.rows:,} rows"
        for one in summary.partitions
    ]
    return "\n".join([*lines, f"{summary.seconds:,.1f} s"])
