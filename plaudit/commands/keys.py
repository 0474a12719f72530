"""`plaudit keys`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from plaudit.commanding import ask
from plaudit.commands.options import (
    data_dir_option,
    json_option,
    org_option,
    settings_of,
)
from plaudit.credentials import PERMISSIONS, command, new_key, read_credentials
from plaudit.output import emit, table
from plaudit.wiring import Parts, opened


@click.group()
def keys() -> None:
    """API keys of an org."""


def _org(parts: Parts, org: str | None) -> str:
    return org or read_credentials(parts.folder.credentials()).org_id


@keys.command("create")
@org_option
@click.option("--name", default="", metavar="TEXT", help="What it is for.")
@click.option(
    "--permission",
    "permissions",
    multiple=True,
    type=click.Choice(PERMISSIONS),
    help="May be repeated; by default all of them.",
)
@click.option(
    "--kind",
    type=click.Choice(["api", "secret"]),
    default="api",
    show_default=True,
    help="api: X-API-Key and X-API-Secret; secret: Authorization: Bearer sk_...",
)
@data_dir_option
@json_option
def create(
    org: str | None,
    name: str,
    permissions: tuple[str, ...],
    kind: str,
    data_dir: Path,
    as_json: bool,
) -> None:
    """Create a key and print its secret, this once."""
    with opened(settings_of(data_dir)) as parts:
        org = _org(parts, org)
        key = new_key(org, kind, name, permissions or PERMISSIONS)
        results = ask(parts, [key.command])
    pending = "" if results is not None else "\n(works as soon as a worker runs)"
    emit(
        {
            "orgId": org,
            "keyId": key.key_id,
            "secret": key.secret,
            "kind": kind,
            "permissions": list(permissions or PERMISSIONS),
            "state": "created" if results is not None else "pending",
        },
        f"key     {key.key_id}\nsecret  {key.secret}{pending}",
        as_json=as_json,
    )


@keys.command("list")
@org_option
@data_dir_option
@json_option
def list_keys(org: str | None, data_dir: Path, as_json: bool) -> None:
    """List an org's keys, revoked ones included, without their secrets."""
    with opened(settings_of(data_dir)) as parts:
        rows = parts.view.config_rows(_org(parts, org), "api_key")
    shown = [_shown(row) for row in rows]
    lines = [("KEY", "KIND", "NAME", "PERMISSIONS", "CREATED", "REVOKED")]
    lines += [
        (
            key["keyId"],
            key["kind"],
            key["name"],
            " ".join(key["permissions"]),
            key["createdAt"],
            key["revokedAt"] or "-",
        )
        for key in shown
    ]
    emit({"keys": shown}, table(lines), as_json=as_json)


@keys.command("revoke")
@click.argument("key_id")
@org_option
@data_dir_option
@json_option
def revoke(key_id: str, org: str | None, data_dir: Path, as_json: bool) -> None:
    """Revoke a key, for good."""
    with opened(settings_of(data_dir)) as parts:
        org = _org(parts, org)
        results = ask(parts, [command(org, "key.revoke", {}, target=key_id)])
    state = "revoked" if results is not None else "pending"
    later = "" if results is not None else " as soon as a worker runs"
    emit(
        {"orgId": org, "keyId": key_id, "state": state},
        f"{key_id} is revoked{later}",
        as_json=as_json,
    )


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "keyId": row["key_id"],
        "kind": row["kind"],
        "name": row["name"],
        "permissions": row["permissions"],
        "createdAt": _iso(row["created_at_ms"]),
        "revokedAt": _iso(row["revoked_at_ms"]),
    }


def _iso(instant_ms: int | None) -> str | None:
    if instant_ms is None:
        return None
    instant = datetime.fromtimestamp(instant_ms // 1_000, UTC)
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
