"""`plaudit run`."""

import sys
from pathlib import Path

import click

from plaudit import supervisor
from plaudit.commands.options import (
    data_dir_option,
    host_option,
    port_option,
    settings_of,
)


@click.command()
@data_dir_option
@host_option
@port_option
@click.option("--demo", is_flag=True, help="Fill a new data folder with a demo.")
def run(data_dir: Path, host: str, port: int, demo: bool) -> None:
    """Start worker and API, and keep them running until SIGTERM or Ctrl-C.

    A new data folder is initialised first. D/credentials.json then holds what a script
    needs: url, orgId, apiKey, apiSecret, secretKey and adminToken.
    """
    settings = settings_of(data_dir, host=host, port=port)
    sys.exit(supervisor.run(settings, demo=demo))
