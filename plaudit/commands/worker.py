"""`plaudit worker`."""

import sys
from pathlib import Path

import click

from plaudit.commands.options import data_dir_option, parent_option, settings_of
from plaudit.lifeline import follow, follow_pipe
from plaudit.shares import Share
from plaudit.worker import work


@click.command()
@data_dir_option
@parent_option
@click.option("--share", hidden=True, help="INDEX/COUNT of the partitions to fold.")
@click.option("--lifeline", type=int, hidden=True, help="End when this pipe does.")
def worker(
    data_dir: Path, parent_pid: int | None, share: str | None, lifeline: int | None
) -> None:
    """Run the worker alone: fold the log into the tables."""
    if lifeline is not None:
        follow_pipe(lifeline)
    settings = settings_of(data_dir)
    if parent_pid is not None:
        follow(parent_pid, settings.drain_timeout_ms)
    if share is not None:
        index, _slash, count = share.partition("/")
        from plaudit.fold_process import work_share  # noqa: PLC0415 - a process's own

        sys.exit(work_share(settings, Share(int(index), int(count))))
    sys.exit(work(settings))
