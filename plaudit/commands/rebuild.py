"""`plaudit rebuild`."""

from pathlib import Path

import click

from plaudit import rebuilding
from plaudit.commands.options import data_dir_option, json_option, settings_of
from plaudit.errors import Failure
from plaudit.output import emit
from streams.rebuild import Rebuilt


@click.command()
@click.argument("places", nargs=-1, metavar="[TOPIC/PARTITION]...")
@data_dir_option
@json_option
def rebuild(places: tuple[str, ...], data_dir: Path, as_json: bool) -> None:
    """Make the tables anew from the log alone: all, or those named (users/2).

    No worker may run. What was there stays in force until its successor is complete;
    then both are compared. Interrupt it as you like: the same command goes on.
    """
    settings = settings_of(data_dir)
    try:
        summary = rebuilding.rebuild(settings, places)
    except KeyboardInterrupt:
        raise Failure("interrupted; run the same command again to go on") from None
    emit(summary, _text(summary), as_json=as_json)


def _text(summary: rebuilding.Summary) -> str:
    lines = [_line(one) for one in summary.partitions]
    rate = summary.messages / max(summary.seconds, 0.001)
    lines.append(
        f"{summary.messages:,} messages in {summary.seconds:,.1f} s, {rate:,.0f}/s"
    )
    return "\n".join(lines)


def _line(one: Rebuilt) -> str:
    head = (
        f"{one.topic}/{one.partition}: rebuilt up to offset {one.offset}, "
        f"{one.messages:,} messages"
    )
    if one.identical:
        return f"{head}; identical to what was there"
    if one.identical is None:
        return f"{head}; not compared: {one.difference}"
    return (
        f"{head}; NOT identical to what was there: the first row that differs is a "
        f"{one.difference} (key {one.difference_key})"
    )
