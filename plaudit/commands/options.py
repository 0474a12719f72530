"""Options that several commands share, and the settings they make."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from plaudit.settings import Settings

data_dir_option: Callable[..., Any] = click.option(
    "--data-dir",
    "-d",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="PLAUDIT_DATA_DIR",
    default=Path("data"),
    show_default="./data",
    show_envvar=True,
    help="The data folder.",
)
host_option: Callable[..., Any] = click.option(
    "--host",
    envvar="PLAUDIT_HOST",
    default="127.0.0.1",
    show_default=True,
    show_envvar=True,
    help="Address to listen on.",
)
port_option: Callable[..., Any] = click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    envvar="PLAUDIT_PORT",
    default=8_400,
    show_default=True,
    show_envvar=True,
    help="TCP port to listen on.",
)
json_option: Callable[..., Any] = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON value."
)
org_option: Callable[..., Any] = click.option(
    "--org", metavar="ORG", help="The org; by default that of credentials.json."
)
parent_option: Callable[..., Any] = click.option(
    "--parent-pid", type=int, hidden=True, help="End when this process has ended."
)


def settings_of(data_dir: Path, **chosen: Any) -> Settings:
    """Return the environment's settings with what the options chose.

    Raises:
      BadSetting: A variable is unknown, malformed or out of bounds.
    """
    settings = Settings.from_env(os.environ)
    return replace(settings, data_dir=data_dir, **chosen)
