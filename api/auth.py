"""Who asks: JWTs of an org's users and operators, API keys of its servers.

Every call names its org (X-Monterosa-Org-ID, alias X-Org-ID). A JWT is verified with
the keys of the org in its own ``orgId`` claim and must then be of the org named; a
key's algorithm is pinned, so a token cannot choose how it is checked. What fails to
verify is answered alike whether or not the org, the key or the user exists.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import jwt
from flask import request

from api.problems import Problem, bad_request
from api.secrets import SecretUnreadable
from api.services import services
from rules.action import USER_BYTES_MAX, is_id, name_problem
from rules.config import ApiKey, JwtKey, row_from_json
from rules.errors import Rejection

LEEWAY_S = 60
TOKEN_BYTES_MAX = 8_192
CREDENTIAL_BYTES_MAX = 256
KEYS_PER_TOKEN_MAX = 8
ALGORITHMS = frozenset({"HS256", "RS256", "ES256"})

_is_key_id = re.compile(r"[A-Za-z0-9_.-]{1,128}").fullmatch
_NO_DIGEST = "0" * 64


class Credential(Enum):
    """What a route takes as proof."""

    NONE = auto()
    TOKEN = auto()
    KEY = auto()
    TOKEN_OR_KEY = auto()


@dataclass(frozen=True)
class Access:
    """What a route asks of its caller.

    Attributes:
      credential: A JWT, an API key, either, or nothing.
      scope: Scope of the JWT or permission of the key; None: any.
    """

    credential: Credential
    scope: str | None = None


OPEN = Access(Credential.NONE)
ANYONE = Access(Credential.TOKEN_OR_KEY)


def user(scope: str) -> Access:
    """Return the access of an end user's route."""
    return Access(Credential.TOKEN, scope)


def server(permission: str) -> Access:
    """Return the access of a backend's route."""
    return Access(Credential.KEY, permission)


def operator(scope: str) -> Access:
    """Return the access of an admin route."""
    return Access(Credential.TOKEN_OR_KEY, scope)


@dataclass(frozen=True)
class Caller:
    """Who was let in.

    Attributes:
      org: Org id; every read and write of the request is scoped to it.
      actor: The JWT's subject or the API key's id.
    """

    org: str
    actor: str


NOBODY = Caller("", "")


def authenticate(access: Access) -> Caller:
    """Return the caller of the current request.

    Raises:
      Problem: 401 without valid credentials, 400 without an org, 403 for another org
        or a missing scope.
    """
    if access.credential is Credential.NONE:
        return NOBODY
    has_key = "X-API-Key" in request.headers or "X-API-Secret" in request.headers
    has_token = "Authorization" in request.headers
    by_token = has_token and access.credential is not Credential.KEY
    by_key = has_key and access.credential is not Credential.TOKEN
    if not by_token and not by_key:
        raise _unauthorized(f"{_WANTED[access.credential]} required")
    org = _named_org()
    if by_token:
        caller, granted = _token_caller(org)
    else:
        caller, granted = _key_caller(org)
    if access.scope is not None and access.scope not in granted:
        raise Problem(
            403, Rejection("INSUFFICIENT_SCOPE", f"The scope {access.scope} is missing")
        )
    return caller


_WANTED = {
    Credential.TOKEN: "A bearer token is",
    Credential.KEY: "X-API-Key and X-API-Secret are",
    Credential.TOKEN_OR_KEY: "A bearer token, or X-API-Key and X-API-Secret, are",
}


def _unauthorized(message: str) -> Problem:
    return Problem(
        401,
        Rejection("UNAUTHORIZED", message),
        headers={"WWW-Authenticate": 'Bearer realm="plaudit"'},
    )


def _named_org() -> str:
    named = request.headers.get("X-Monterosa-Org-ID")
    alias = request.headers.get("X-Org-ID")
    org = named if named is not None else alias
    if org is None:
        raise bad_request("The header is required", "X-Monterosa-Org-ID")
    if not is_id(org) or (alias is not None and alias != org):
        raise bad_request("The header must name one org", "X-Monterosa-Org-ID")
    return org


def _key_caller(org: str) -> tuple[Caller, frozenset[str]]:
    key_id = request.headers.get("X-API-Key", "")
    secret = request.headers.get("X-API-Secret", "")
    digest = hashlib.sha256(secret[:CREDENTIAL_BYTES_MAX].encode()).hexdigest()
    row = None
    if _is_key_id(key_id) and len(secret) <= CREDENTIAL_BYTES_MAX:
        row = services().view.config_row(org, "api_key", key_id)
    key: ApiKey | None = None if row is None else row_from_json("api_key", row)
    # An unknown key costs the same comparison as a known one.
    same = hmac.compare_digest(digest, key.secret_sha256 if key else _NO_DIGEST)
    if key is None or not same or key.kind != "api" or key.revoked_at_ms is not None:
        raise _unauthorized("The API key or its secret is not valid")
    return Caller(org, key.key_id), frozenset(key.permissions)


def _token_caller(org: str) -> tuple[Caller, frozenset[str]]:
    scheme, _, token = request.headers["Authorization"].partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not 0 < len(token) <= TOKEN_BYTES_MAX:
        raise _unauthorized("A bearer token is required")
    claims = _verified_claims(token)
    if claims["orgId"] != org:
        raise Problem(403, Rejection("FORBIDDEN", "The token is of another org"))
    subject = claims["sub"]
    if name_problem(subject, "sub", USER_BYTES_MAX):
        raise _unauthorized("The token's subject is not a user id")
    return Caller(org, subject), _scopes(claims.get("scope"))


def _scopes(claim: object) -> frozenset[str]:
    if isinstance(claim, str):
        return frozenset(claim.replace(",", " ").split())
    if isinstance(claim, list):
        return frozenset(item for item in claim if isinstance(item, str))
    return frozenset()


_UNVERIFIABLE = (jwt.PyJWTError, ValueError, TypeError, RecursionError)
"""What PyJWT raises, on purpose or not, for a token that is none."""


def _verified_claims(token: str) -> dict[str, Any]:
    try:
        unverified = jwt.decode_complete(token, options={"verify_signature": False})
    except _UNVERIFIABLE as error:
        raise _unauthorized("The token is not valid") from error
    header = unverified["header"]
    org = unverified["payload"].get("orgId")
    message = "The token is not valid"
    for row in _candidates(org, header.get("alg"), header.get("kid")):
        try:
            return _decode(token, org, row)
        except jwt.ExpiredSignatureError:
            message = "The token has expired"
        except (*_UNVERIFIABLE, SecretUnreadable):
            continue
    raise _unauthorized(message)


def _candidates(org: object, algorithm: object, kid: object) -> list[JwtKey]:
    """Return the org's keys that may have signed a token."""
    if not isinstance(org, str) or not is_id(org):
        return []
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        return []
    rows = services().view.config_rows(org, "jwt_key")
    keys: list[JwtKey] = [row_from_json("jwt_key", row) for row in rows]
    fitting = [
        key
        for key in keys
        if key.revoked_at_ms is None
        and key.algorithm == algorithm
        and (kid is None or key.kid == kid)
    ]
    # Newest first: it is the likeliest, and an org may keep many old ones.
    fitting.sort(key=lambda key: (-key.created_at_ms, key.kid))
    return fitting[:KEYS_PER_TOKEN_MAX]


def _decode(token: str, org: str, key: JwtKey) -> dict[str, Any]:
    secret: bytes | str
    if key.algorithm == "HS256":
        sealed = key.sealed_secret or ""
        secret = services().secrets.open(sealed, org=org, name=key.kid)
    else:
        secret = key.public_pem or ""
    return jwt.decode(
        token,
        secret,
        algorithms=[key.algorithm],
        leeway=LEEWAY_S,
        options={"require": ["exp", "sub", "orgId"], "verify_aud": False},
    )
