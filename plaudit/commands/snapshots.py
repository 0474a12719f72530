"""`plaudit snapshots`."""

from datetime import UTC, datetime
from pathlib import Path

import click

from plaudit.commands.options import data_dir_option, json_option, settings_of
from plaudit.errors import Failure
from plaudit.output import emit, table
from plaudit.snapshotting import Listed, list_snapshots, take_snapshots


@click.group()
def snapshots() -> None:
    """Snapshots: copies of the tables on shared storage (PLAUDIT_SNAPSHOTS_URL)."""


@snapshots.command("list")
@click.argument("places", nargs=-1, metavar="[TOPIC/PARTITION]...")
@data_dir_option
@json_option
def list_all(places: tuple[str, ...], data_dir: Path, as_json: bool) -> None:
    """List the snapshots of all partitions, or of those named, newest first."""
    found = list_snapshots(settings_of(data_dir), places)
    emit({"snapshots": found}, text_of(found) or "no snapshots", as_json=as_json)


@snapshots.command("take")
@click.argument("places", nargs=-1, metavar="[TOPIC/PARTITION]...")
@data_dir_option
@json_option
def take(places: tuple[str, ...], data_dir: Path, as_json: bool) -> None:
    """Take a snapshot of all partitions, or of those named, while no worker runs.

    A worker takes them by itself. What is stored already is not sent again, so an
    interrupted one goes on with the same command.
    """
    try:
        taken = take_snapshots(settings_of(data_dir), places)
    except KeyboardInterrupt:
        raise Failure("interrupted; run the same command again to go on") from None
    emit({"snapshots": taken}, text_of(taken), as_json=as_json)


def text_of(found: list[Listed]) -> str:
    """Return snapshots as a person reads them; empty where there are none."""
    if not found:
        return ""
    rows = [("partition", "offset", "messages", "complete", "MB", "")]
    return table([*rows, *map(_row, found)])


def _row(one: Listed) -> tuple[str, ...]:
    place = f"{one.topic}/{one.partition}"
    if one.created_ms is None or one.size is None:
        return (place, "", "", "", "", f"damaged: {one.problem}")
    return (
        place,
        str(one.offset),
        f"{one.messages:,}",
        _when(one.created_ms),
        f"{one.size / 1e6:,.1f}",
        "good",
    )


def _when(created_ms: int) -> str:
    """Return a time, or the number that stands for one which no calendar has."""
    try:
        when = datetime.fromtimestamp(created_ms / 1_000, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{created_ms} ms"
    return f"{when:%Y-%m-%d %H:%M:%S}Z"
