"""`plaudit init`."""

from pathlib import Path
from typing import Any

import click

from plaudit.commands.options import (
    data_dir_option,
    json_option,
    org_settings_options,
    settings_of,
)
from plaudit.folder import DataFolder
from plaudit.initialise import DEFAULT_ORG, AlreadyInitialised, initialise
from plaudit.org_settings import settings_body
from plaudit.output import emit
from streams.topics import PARTITIONS_MAX


@click.command()
@data_dir_option
@click.option(
    "--partitions",
    type=click.IntRange(1, PARTITIONS_MAX),
    envvar="PLAUDIT_PARTITIONS",
    default=4,
    show_default=True,
    show_envvar=True,
    help="Partitions of the users topic; fixed for ever.",
)
@click.option("--org", metavar="ORG", default=DEFAULT_ORG, show_default=True)
@org_settings_options
@click.option(
    "--if-missing", is_flag=True, help="Do nothing, and succeed, where there is one."
)
@json_option
def init(
    data_dir: Path,
    partitions: int,
    org: str,
    if_missing: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Make a data folder: a log, a master key, and an org with its keys.

    `plaudit run` does this by itself in a new folder. The org's settings are fixed
    once it is there.
    """
    settings = settings_of(data_dir, partitions=partitions)
    path = DataFolder(settings).credentials()
    text = f"{data_dir} is ready for org {org}. Keys and an admin token: {path}"
    try:
        initialise(settings, org, settings_body(**chosen), mend=not if_missing)
    except AlreadyInitialised as error:
        if not if_missing:
            raise
        text = str(error)
    emit(
        {"dataDir": str(data_dir), "orgId": org, "credentialsFile": str(path)},
        text,
        as_json=as_json,
    )
