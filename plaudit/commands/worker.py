"""`plaudit worker`."""

import sys
from pathlib import Path

import click

from plaudit.commands.options import data_dir_option, parent_option, settings_of
from plaudit.lifeline import follow
from plaudit.worker import work


@click.command()
@data_dir_option
@parent_option
def worker(data_dir: Path, parent_pid: int | None) -> None:
    """Run the worker alone: fold the log into the tables."""
    settings = settings_of(data_dir)
    if parent_pid is not None:
        follow(parent_pid, settings.drain_timeout_ms)
    sys.exit(work(settings))
