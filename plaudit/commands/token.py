"""`plaudit token`."""

from pathlib import Path

import click

from plaudit.commands.options import (
    data_dir_option,
    json_option,
    org_option,
    settings_of,
)
from plaudit.credentials import TTL_S_MAX, issue_token, read_credentials
from plaudit.errors import Unusable
from plaudit.output import emit
from plaudit.wiring import opened
from rules.action import USER_BYTES_MAX, name_problem

HOUR_S = 3_600


@click.command()
@click.option("--sub", required=True, metavar="USER", help="The user it speaks for.")
@click.option(
    "--scope",
    required=True,
    metavar="SCOPES",
    help="Scopes, separated by commas: audience:read, audience:write, loyalty:read ...",
)
@org_option
@click.option(
    "--ttl-seconds",
    type=click.IntRange(1, TTL_S_MAX),
    default=HOUR_S,
    show_default=True,
    help="Seconds until it expires.",
)
@data_dir_option
@json_option
def token(
    sub: str,
    scope: str,
    org: str | None,
    ttl_seconds: int,
    data_dir: Path,
    as_json: bool,
) -> None:
    """Print a JWT for a user of an org."""
    problem = name_problem(sub, "--sub", USER_BYTES_MAX)
    if problem is not None:
        raise Unusable(problem.message)
    scopes = tuple(scope.replace(",", " ").split())
    if not scopes:
        raise Unusable("--scope must name at least one scope")
    with opened(settings_of(data_dir)) as parts:
        org = org or read_credentials(parts.folder.credentials()).org_id
        box = parts.secrets()
        text = issue_token(parts.view, box, org, sub, scopes, ttl_seconds)
    emit({"token": text, "orgId": org, "sub": sub}, text, as_json=as_json)
