"""`plaudit orgs`."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from plaudit.commanding import ask
from plaudit.commands.options import (
    data_dir_option,
    json_option,
    org_settings_options,
    settings_of,
)
from plaudit.credentials import NoCredentials, new_org, read_credentials
from plaudit.errors import Failure, Refused
from plaudit.org_settings import check_org, settings_body
from plaudit.output import emit
from plaudit.settings import Settings
from plaudit.wiring import Parts, opened
from tables.errors import ViewUnavailable


@click.group()
def orgs() -> None:
    """Orgs: tenants that share nothing."""


@orgs.command("create")
@click.argument("org")
@org_settings_options
@data_dir_option
@json_option
def create(org: str, data_dir: Path, as_json: bool, **chosen: Any) -> None:
    """Create an org with an API key, a secret key and a key that signs tokens.

    Its credentials go to D/credentials-ORG.json (0600). Its settings are fixed once it
    is there.
    """
    org_settings = {"name": org, **settings_body(**chosen)}
    check_org(org, org_settings)
    settings = settings_of(data_dir)
    with opened(settings) as parts:
        path = parts.folder.credentials(org)
        if path.exists() or _exists(parts, org):
            raise Failure(
                f"org {org} exists already; nothing is changed. Its first credentials "
                "were written when it was created, `plaudit keys create` makes more"
            )
        url = _url(parts, settings)
        credentials, command = new_org(org, org_settings, url, parts.secrets())
        # First: whatever happens next, the secrets are not lost.
        credentials.write(path)
        try:
            results = ask(parts, [command])
        except Refused:
            path.unlink()
            raise
    state = "created" if results is not None else "pending"
    later = "" if results is not None else " as soon as a worker runs"
    emit(
        {"orgId": org, "state": state, "credentialsFile": str(path)},
        f"org {org} is there{later}. Keys and an admin token: {path}",
        as_json=as_json,
    )


def _exists(parts: Parts, org: str) -> bool:
    """Tell whether an org is known to exist; the worker decides about the others."""
    with suppress(NoCredentials):
        # The first org exists before any worker has run.
        if read_credentials(parts.folder.credentials()).org_id == org:
            return True
    try:
        return parts.view.config_version(org) is not None
    except ViewUnavailable:
        return False


def _url(parts: Parts, settings: Settings) -> str:
    """Return where the API is: as the first org's file says, if it is there."""
    try:
        return read_credentials(parts.folder.credentials()).url
    except NoCredentials:
        return settings.url
