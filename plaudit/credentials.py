"""Credentials of an org: what a script needs to use the API at once.

    {"url": "http://127.0.0.1:8400", "orgId": "demo", "apiKey": "pk_...",
     "apiSecret": "...", "secretKey": "sk_...", "adminToken": "eyJ..."}

The key's secrets are drawn here, stored in the file (0600) and in the log only as
hashes; the secret that signs tokens is in the log, sealed under `D/master.key`.
"""

import hashlib
import secrets
import time
from pathlib import Path
from typing import Final

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from api.secrets import SecretBox
from plaudit.errors import Failure, Unusable
from plaudit.folder import write_private
from rules.config import JwtKey, row_from_json
from rules.message import Command, JsonObject
from tables.views import ReadView

PERMISSIONS: Final = (
    "actions:write",
    "users:read",
    "users:write",
    "users:export",
    "rewards:write",
    "loyalty:read",
    "loyalty:write",
)
ADMIN: Final = "admin"
ADMIN_SCOPES: Final = ("loyalty:read", "loyalty:write")
ADMIN_TTL_S: Final = 30 * 86_400
TTL_S_MAX: Final = 366 * 86_400
SECRET_BYTES: Final = 32
NEW_KEYS: Final = (
    "Lost secrets cannot be read back, only their hashes are stored: `plaudit keys "
    "create --org ORG` makes new ones, `plaudit token --org ORG` a token"
)
RSA_BITS_MIN: Final = 2_048


class NoCredentials(Unusable):
    """A credentials file is missing or holds none."""


class NoSigningKey(Failure):
    """An org has no key that signs tokens."""


class Credentials(msgspec.Struct, rename="camel", frozen=True):
    """What the file holds."""

    url: str
    org_id: str
    api_key: str
    api_secret: str
    secret_key: str
    admin_token: str

    def write(self, path: Path) -> None:
        """Store them for their owner alone."""
        text = msgspec.json.format(msgspec.json.encode(self), indent=2)
        write_private(path, text + b"\n")


def read_credentials(path: Path) -> Credentials:
    """Return the credentials of a file.

    Raises:
      NoCredentials: It is missing or holds none.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Credentials)
    except FileNotFoundError:
        raise NoCredentials(
            f"{path} is missing. `plaudit init` and `plaudit orgs create` write it "
            f"once: name an org with --org, or restore the file. {NEW_KEYS}"
        ) from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise NoCredentials(
            f"{path} holds no credentials: {error}. {NEW_KEYS}"
        ) from error


def command(org: str, name: str, body: dict[str, object], **more: str) -> Command:
    """Return an admin command of the command line, under an unguessable id."""
    command_id = f"cmd_{secrets.token_hex(16)}"
    return Command(
        org, None, command_id, name, more.get("target"), body, actor="plaudit"
    )


class NewKey(msgspec.Struct, frozen=True):
    """A key before anybody knows it.

    Attributes:
      key_id: Public part.
      secret: What its owner keeps; empty where only the owner has it.
      command: Creates it; carries the secret only hashed or sealed.
    """

    key_id: str
    secret: str
    command: Command


def new_key(org: str, kind: str, name: str, permissions: tuple[str, ...]) -> NewKey:
    """Draw a key of a kind, ``api`` or ``secret`` (``sk_...``, sent as a bearer)."""
    secret = secrets.token_urlsafe(SECRET_BYTES)
    if kind == "secret":
        secret = f"sk_{secret}"
        digest = hashlib.sha256(secret.encode()).hexdigest()
        key_id = f"sk_{digest[:32]}"
    else:
        digest = hashlib.sha256(secret.encode()).hexdigest()
        key_id = f"pk_{secrets.token_hex(16)}"
    body: dict[str, object] = {
        "keyId": key_id,
        "secretSha256": digest,
        "kind": kind,
        "name": name,
        "permissions": list(permissions),
    }
    return NewKey(key_id, secret, command(org, "key.create", body))


def new_signing_key(org: str, box: SecretBox) -> NewKey:
    """Draw a key that signs an org's tokens with HS256; the log gets it sealed."""
    kid = _new_kid()
    secret = secrets.token_urlsafe(SECRET_BYTES)
    body: dict[str, object] = {
        "kid": kid,
        "algorithm": "HS256",
        "sealedSecret": box.seal(secret.encode(), org=org, name=kid),
    }
    return NewKey(kid, secret, command(org, "jwt_key.create", body))


def new_verifying_key(org: str, public_pem: bytes) -> NewKey:
    """Return a key that verifies tokens which its owner signs elsewhere.

    Args:
      org: Org id.
      public_pem: An RSA key of at least 2,048 bits (RS256), or one on P-256 (ES256).

    Raises:
      Unusable: It is neither.
    """
    try:
        key = load_pem_public_key(public_pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Unusable("the file holds no public key in PEM form") from error
    if isinstance(key, RSAPublicKey) and key.key_size >= RSA_BITS_MIN:
        algorithm = "RS256"
    elif isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        algorithm = "ES256"
    else:
        raise Unusable(f"the key must be RSA ({RSA_BITS_MIN} bits or more) or P-256")
    kid = _new_kid()
    body: dict[str, object] = {
        "kid": kid,
        "algorithm": algorithm,
        "publicPem": public_pem.decode(),
    }
    return NewKey(kid, "", command(org, "jwt_key.create", body))


def _new_kid() -> str:
    return f"jwt_{secrets.token_hex(8)}"


def new_org(
    org: str, settings: JsonObject, url: str, box: SecretBox
) -> tuple[Credentials, Command]:
    """Draw an org's credentials, and the command that creates it with them.

    It is one command, so that either all of it comes to be or nothing.

    Args:
      org: Org id.
      settings: As `org.create` takes them.
      url: Base URL of the API.
      box: Seals the secret that signs tokens.
    """
    api = new_key(org, "api", "default", PERMISSIONS)
    secret = new_key(org, "secret", "default", PERMISSIONS)
    signing = new_signing_key(org, box)
    create = command(
        org,
        "org.create",
        {
            "settings": settings,
            "keys": [api.command.body, secret.command.body],
            "jwtKeys": [signing.command.body],
        },
    )
    token = sign_token(
        signing.secret.encode(), signing.key_id, org, ADMIN, ADMIN_SCOPES, ADMIN_TTL_S
    )
    credentials = Credentials(url, org, api.key_id, api.secret, secret.secret, token)
    return credentials, create


def sign_token(
    signing: bytes,
    kid: str,
    org: str,
    subject: str,
    scopes: tuple[str, ...],
    ttl_s: int,
) -> str:
    """Return a JWT.

    Args:
      signing: The org's HS256 secret.
      kid: Its key id.
      org: Org id.
      subject: User id.
      scopes: What it allows.
      ttl_s: Seconds from now until it expires.
    """
    now_s = int(time.time())
    claims = {
        "sub": subject,
        "orgId": org,
        "scope": list(scopes),
        "iat": now_s,
        "exp": now_s + ttl_s,
    }
    return jwt.encode(claims, signing, algorithm="HS256", headers={"kid": kid})


def issue_token(
    view: ReadView,
    box: SecretBox,
    org: str,
    subject: str,
    scopes: tuple[str, ...],
    ttl_s: int,
) -> str:
    """Return a JWT signed with an org's newest HS256 key that is not revoked.

    Raises:
      NoSigningKey: There is none, the org is unknown, or the worker has not folded it
        yet.
      ViewUnavailable: The tables cannot be read.
    """
    rows = view.config_rows(org, "jwt_key")
    keys: list[JwtKey] = [row_from_json("jwt_key", row) for row in rows]
    signing = [
        key
        for key in keys
        if key.algorithm == "HS256" and key.sealed_secret and key.revoked_at_ms is None
    ]
    if not signing:
        raise NoSigningKey(
            f"org {org} has no key that signs tokens. Check the name; a new org needs "
            "the worker to have run (`plaudit run`); where all are revoked, `plaudit "
            "keys create --kind jwt` makes another"
        )
    key = max(signing, key=lambda one: (one.created_at_ms, one.kid))
    secret = box.open(key.sealed_secret or "", org=org, name=key.kid)
    return sign_token(secret, key.kid, org, subject, scopes, ttl_s)
