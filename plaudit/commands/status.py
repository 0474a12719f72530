"""`plaudit status`."""

import sys
from pathlib import Path

import click

from plaudit.commands.options import data_dir_option, json_option, settings_of
from plaudit.errors import FAILED
from plaudit.output import emit, table
from plaudit.status import Status, read_status
from plaudit.wiring import opened


@click.command()
@data_dir_option
@json_option
def status(data_dir: Path, as_json: bool) -> None:
    """Show how far every partition is folded, and what stands in the way.

    Exit code 1 unless every partition has a worker and none is parked.
    """
    with opened(settings_of(data_dir)) as parts:
        found = read_status(parts)
    emit(found, _text(found), as_json=as_json)
    if not found.healthy:
        sys.exit(FAILED)


def _text(found: Status) -> str:
    rows = [("PARTITION", "STATE", "APPLIED", "END", "LAG")]
    rows += [
        (
            f"{one.topic}/{one.partition}",
            one.state if one.worker_alive else f"{one.state}, no worker",
            str(one.applied_offset),
            str(one.end_offset),
            str(one.lag),
        )
        for one in found.partitions
    ]
    lines = [
        f"log {found.log_id}, {found.url or 'credentials.json is missing'}",
        _workers(found),
        table(rows),
    ]
    lines += [
        f"{one.topic}/{one.partition} is parked at {one.parked_offset}: {one.reason}"
        for one in found.partitions
        if one.parked_offset is not None
    ]
    if found.dead_letters:
        lines.append(f"{found.dead_letters} records of dead letters")
    return "\n".join(lines)


def _workers(found: Status) -> str:
    if not found.worker_alive:
        return "worker does not run"
    without = sum(not one.worker_alive for one in found.partitions)
    return f"worker runs, {without} partitions have none" if without else "worker runs"
