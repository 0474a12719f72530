"""Options that several commands share, and the settings they make."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from plaudit.settings import Settings
from rules.admin_org import DEDUPE_HORIZON_DAYS_MAX, LATE_HORIZON_DAYS_MAX

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


_ORG_SETTINGS: tuple[Callable[..., Any], ...] = (
    click.option("--name", metavar="TEXT", help="What people call the org."),
    click.option(
        "--timezone", metavar="ZONE", help="As Europe/London; by default UTC."
    ),
    click.option(
        "--dedupe-days",
        type=click.IntRange(1, DEDUPE_HORIZON_DAYS_MAX),
        help="How long an eventId is remembered; by default 7.",
    ),
    click.option(
        "--late-days",
        type=click.IntRange(1, LATE_HORIZON_DAYS_MAX),
        help="Older actions earn nothing; by default any age earns.",
    ),
    click.option(
        "--tiers",
        metavar="NAME:POINTS,...",
        help="Lifetime points from which a tier is held, from 0 up; by default "
        "bronze:0,silver:1000,gold:5000,platinum:20000.",
    ),
)


def org_settings_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that plaudit/org_settings.py reads."""
    for option in reversed(_ORG_SETTINGS):
        command = option(command)
    return command


def settings_of(data_dir: Path, **chosen: Any) -> Settings:
    """Return the environment's settings with what the options chose.

    Raises:
      BadSetting: A variable is unknown, malformed or out of bounds.
    """
    settings = Settings.from_env(os.environ)
    return replace(settings, data_dir=data_dir, **chosen)
