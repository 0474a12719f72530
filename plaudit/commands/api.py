"""`plaudit api`."""

from pathlib import Path

import click

from api.secrets import SecretBox
from plaudit.commands.options import (
    data_dir_option,
    host_option,
    parent_option,
    port_option,
    settings_of,
)
from plaudit.folder import DataFolder
from plaudit.lifeline import follow
from plaudit.server import serve


@click.command()
@data_dir_option
@host_option
@port_option
@parent_option
def api(data_dir: Path, host: str, port: int, parent_pid: int | None) -> None:
    """Run the API alone, next to a worker on the same data folder."""
    settings = settings_of(data_dir, host=host, port=port)
    folder = DataFolder(settings)
    folder.require()
    # Here, where a key that is none is one message and not a crash of the server.
    SecretBox.from_file(folder.master_key)
    if parent_pid is not None:
        follow(parent_pid, settings.drain_timeout_ms)
    serve(settings)
