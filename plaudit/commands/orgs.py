"""`plaudit orgs`."""

from pathlib import Path

import click

from plaudit.commanding import ask
from plaudit.commands.options import data_dir_option, json_option, settings_of
from plaudit.credentials import new_org, read_credentials
from plaudit.errors import Failure, Refused, Unusable
from plaudit.initialise import is_org
from plaudit.output import emit
from plaudit.wiring import opened


@click.group()
def orgs() -> None:
    """Orgs: tenants that share nothing."""


@orgs.command("create")
@click.argument("org")
@click.option("--name", default="", metavar="TEXT", help="What people call it.")
@data_dir_option
@json_option
def create(org: str, name: str, data_dir: Path, as_json: bool) -> None:
    """Create an org with an API key, a secret key and a key that signs tokens.

    Its credentials go to D/credentials-ORG.json (0600).
    """
    if not is_org(org):
        raise Unusable(f"an org id matches [A-Za-z0-9_-]{{1,64}}; {org[:80]} does not")
    with opened(settings_of(data_dir)) as parts:
        path = parts.folder.credentials(org)
        first = read_credentials(parts.folder.credentials())
        if path.exists() or first.org_id == org:
            raise Failure(f"org {org} exists already; its credentials are in {path}")
        credentials, commands = new_org(org, name or org, first.url, parts.secrets())
        # First: whatever happens next, the secrets are not lost.
        credentials.write(path)
        try:
            results = ask(parts, commands)
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
