"""`plaudit seed-demo`, which `plaudit run --demo` starts once."""

from pathlib import Path

import click

from plaudit.commands.options import data_dir_option, parent_option, settings_of
from plaudit.demo import seed
from plaudit.folder import DataFolder
from plaudit.lifeline import follow


@click.command(hidden=True)
@data_dir_option
@parent_option
def seed_demo(data_dir: Path, parent_pid: int | None) -> None:
    """Send the demo to a running API."""
    settings = settings_of(data_dir)
    if parent_pid is not None:
        follow(parent_pid, settings.drain_timeout_ms)
    click.echo(seed(DataFolder(settings)))
