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
from plaudit.credentials import (
    PERMISSIONS,
    command,
    new_key,
    new_signing_key,
    new_verifying_key,
    read_credentials,
)
from plaudit.errors import Unusable
from plaudit.output import emit, table
from plaudit.wiring import Parts, opened

PEM_BYTES_MAX = 8_192


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
    type=click.Choice(["api", "secret", "jwt"]),
    default="api",
    show_default=True,
    help="api: X-API-Key and X-API-Secret; secret: Authorization: Bearer sk_...; "
    "jwt: signs users' tokens.",
)
@click.option(
    "--public-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --kind jwt: verify tokens with this PEM; by default a secret is drawn.",
)
@data_dir_option
@json_option
def create(
    org: str | None,
    name: str,
    permissions: tuple[str, ...],
    kind: str,
    public_key: Path | None,
    data_dir: Path,
    as_json: bool,
) -> None:
    """Create a key and print its secret, this once."""
    is_jwt = kind == "jwt"
    if is_jwt and (name or permissions):
        raise Unusable("a key of --kind jwt has no --name and no --permission")
    if public_key is not None and not is_jwt:
        raise Unusable("--public-key is for --kind jwt")
    granted = [] if is_jwt else list(permissions or PERMISSIONS)
    with opened(settings_of(data_dir)) as parts:
        org = _org(parts, org)
        if public_key is not None:
            key = new_verifying_key(org, _read_pem(public_key))
        elif is_jwt:
            key = new_signing_key(org, parts.secrets())
        else:
            key = new_key(org, kind, name, tuple(granted))
        results = ask(parts, [key.command])
    lines = [f"key     {key.key_id}"]
    if key.secret:
        lines.append(f"secret  {key.secret}")
    if results is None:
        lines.append("(works as soon as a worker runs)")
    emit(
        {
            "orgId": org,
            "keyId": key.key_id,
            "secret": key.secret or None,
            "kind": kind,
            "permissions": granted,
            "state": "created" if results is not None else "pending",
        },
        "\n".join(lines),
        as_json=as_json,
    )


def _read_pem(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(PEM_BYTES_MAX)


@keys.command("list")
@org_option
@data_dir_option
@json_option
def list_keys(org: str | None, data_dir: Path, as_json: bool) -> None:
    """List an org's keys, revoked ones included, without their secrets."""
    with opened(settings_of(data_dir)) as parts:
        org = _org(parts, org)
        shown = [_shown(row) for row in parts.view.config_rows(org, "api_key")]
        shown += [_shown_jwt(row) for row in parts.view.config_rows(org, "jwt_key")]
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
    """Revoke a key of any kind, for good.

    Tokens that a revoked jwt key signed are refused from then on.
    """
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


def _shown_jwt(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "keyId": row["kid"],
        "kind": "jwt",
        "name": row["algorithm"],
        "permissions": [],
        "createdAt": _iso(row["created_at_ms"]),
        "revokedAt": _iso(row.get("revoked_at_ms")),
    }


def _iso(instant_ms: int | None) -> str | None:
    if instant_ms is None:
        return None
    instant = datetime.fromtimestamp(instant_ms // 1_000, UTC)
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")
