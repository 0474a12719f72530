"""Commands about the org itself and its keys."""

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from rules import body as read
from rules.action import ID_PATTERN, is_id
from rules.body import Field
from rules.config import (
    DAY_MS,
    ApiKey,
    JwtKey,
    OrgConfig,
    OrgSettings,
    Tier,
    row_to_json,
)
from rules.decision import Change, Decision, OrgView, answered, invalid, refused
from rules.errors import Rejection
from rules.fields import (
    NAME_CHARS_MAX,
    check_integer,
    check_keys,
    check_list,
    check_object,
    check_pattern,
    check_text,
    child,
    refuse,
)
from rules.ledger import BALANCE_MAX
from rules.message import Command, JsonObject
from rules.outcome import Place

SETTINGS_ID: Final = "settings"
"""Row id of an org's only settings row."""

TIERS_MAX = 50
TIER_NAME_CHARS_MAX = 64
DEDUPE_HORIZON_DAYS_MAX = 90
LATE_HORIZON_DAYS_MAX = 36_500
FIRST_KEYS_MAX = 10
"""Keys of either kind that an org can be created with."""
API_KEYS_MAX = 1_000
JWT_KEYS_MAX = 100
PERMISSIONS_MAX = 32
PEM_CHARS_MAX = 8_192

_KEY_PATTERN: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_SHA256_PATTERN: Final = re.compile(r"[0-9a-f]{64}")
_SEALED_PATTERN: Final = re.compile(r"[A-Za-z0-9+/_=-]{1,4096}")
_PERMISSION_PATTERN: Final = re.compile(r"[a-z_]{1,32}:[a-z_]{1,32}")
_PUBLIC_PEM_HEAD: Final = "-----BEGIN PUBLIC KEY-----"


def _tiers(raw: Any, path: str, problems: list[Rejection]) -> tuple[Tier, ...] | None:
    items = check_list(raw, TIERS_MAX, path, problems)
    if items is None:
        return None
    before = len(problems)
    tiers: list[Tier] = []
    for i, item in enumerate(items):
        at = f"{path}[{i}]"
        tier = check_object(item, at, problems)
        if tier is None:
            continue
        check_keys(tier, ("name", "threshold"), at, problems)
        where = child(at, "name")
        name = check_text(tier.get("name"), TIER_NAME_CHARS_MAX, where, problems)
        where = child(at, "threshold")
        threshold = check_integer(
            tier.get("threshold"), 0, BALANCE_MAX, where, problems
        )
        if name is not None and threshold is not None:
            _check_above(tiers, name, threshold, at, problems)
            tiers.append(Tier(name, threshold))
    if not items:
        refuse(problems, path, "must have at least one tier")
    return tuple(tiers) if len(problems) == before else None


def _check_above(
    tiers: list[Tier], name: str, threshold: int, path: str, problems: list[Rejection]
) -> None:
    """Check that a tier may stand above those before it."""
    if any(tier.name == name for tier in tiers):
        refuse(problems, child(path, "name"), "must differ from the other tiers'")
    if not tiers and threshold != 0:
        refuse(problems, child(path, "threshold"), "of the first tier must be 0")
    if tiers and threshold <= tiers[-1].threshold:
        message = "must be above the tier's before it"
        refuse(problems, child(path, "threshold"), message)


def _permissions(raw: Any, path: str, problems: list[Rejection]) -> list[str] | None:
    items = check_list(raw, PERMISSIONS_MAX, path, problems)
    if items is None:
        return None
    checked = [
        check_pattern(item, _PERMISSION_PATTERN, f"{path}[{i}]", problems)
        for i, item in enumerate(items)
    ]
    return [item for item in checked if item is not None]


def _pattern(pattern: re.Pattern[str]) -> read.Reader:
    return lambda raw, path, problems: check_pattern(raw, pattern, path, problems)


def _public_pem(raw: Any, path: str, problems: list[Rejection]) -> str | None:
    pem = check_text(raw, PEM_CHARS_MAX, path, problems, prose=True)
    if pem is not None and not pem.lstrip().startswith(_PUBLIC_PEM_HEAD):
        refuse(problems, path, "must be a public key in PEM form")
        return None
    return pem


_SETTINGS: Final = {
    "name": Field("name", read.text(NAME_CHARS_MAX, empty=True), ""),
    "timezone": Field("timezone", read.timezone, None),
    "dedupeHorizonMs": Field(
        "dedupe_horizon_ms", read.integer(DAY_MS, DEDUPE_HORIZON_DAYS_MAX * DAY_MS)
    ),
    "lateHorizonMs": Field(
        "late_horizon_ms", read.integer(1, LATE_HORIZON_DAYS_MAX * DAY_MS), None
    ),
    "futureToleranceMs": Field("future_tolerance_ms", read.integer(0, DAY_MS)),
    "tiers": Field("tiers", _tiers),
}
_API_KEY: Final = {
    "keyId": Field("key_id", _pattern(_KEY_PATTERN)),
    "secretSha256": Field("secret_sha256", _pattern(_SHA256_PATTERN)),
    "kind": Field("kind", read.choice("api", "secret")),
    "name": Field("name", read.text(NAME_CHARS_MAX, empty=True), ""),
    "permissions": Field("permissions", _permissions, []),
}
_JWT_KEY: Final = {
    "kid": Field("kid", _pattern(_KEY_PATTERN)),
    "algorithm": Field("algorithm", read.choice("HS256", "RS256", "ES256")),
    "sealedSecret": Field("sealed_secret", _pattern(_SEALED_PATTERN), None),
    "publicPem": Field("public_pem", _public_pem, None),
}


def create_org(org: OrgView, command: Command, place: Place) -> Decision:
    """Create an org with its settings and its first keys; 409 ORG_EXISTS.

    All or nothing: where the org is refused, none of the keys comes to be.
    """
    problems: list[Rejection] = []
    if not is_id(command.org):
        refuse(problems, "org", f"must match {ID_PATTERN}")
    check_keys(command.body, ("settings", "keys", "jwtKeys"), "", problems)
    raw = command.body.get("settings")
    body = {} if raw is None else check_object(raw, "settings", problems)
    found: list[Rejection] = []
    values = read.read_body(body or {}, _SETTINGS, found)
    _add_below("settings", found, problems)
    keys: list[ApiKey | JwtKey] = []
    _first_keys("keys", _api_key, command, place, keys, problems)
    _first_keys("jwtKeys", _jwt_key, command, place, keys, problems)
    if problems:
        return invalid(command, problems)
    if org.config is not None:
        return refused(command, 409, "ORG_EXISTS", "the org exists already")
    row = row_to_json(OrgSettings(**values, created_at_ms=place.clock_ms))
    private = [_change(key) for key in keys]
    changes = [("settings", SETTINGS_ID, row)]
    return answered(command, 201, row, changes=changes, private=private)


def create_key(
    org: OrgView, _config: OrgConfig, command: Command, place: Place
) -> Decision:
    """Create an API key; 409 KEY_EXISTS, KEY_LIMIT_REACHED."""
    problems: list[Rejection] = []
    key = _api_key(command.body, place, problems)
    if key is None:
        return invalid(command, problems)
    if _find_key(org, key.key_id) is not None:
        return refused(command, 409, "KEY_EXISTS", "the key id is taken", "keyId")
    if _live(org, "api_key") >= API_KEYS_MAX:
        message = f"an org has at most {API_KEYS_MAX:,} API keys; revoke one first"
        return refused(command, 409, "KEY_LIMIT_REACHED", message)
    return answered(command, 201, _shown(key), private=[_change(key)])


def create_jwt_key(
    org: OrgView, _config: OrgConfig, command: Command, place: Place
) -> Decision:
    """Create a key that verifies JWTs; 409 KEY_EXISTS, KEY_LIMIT_REACHED."""
    problems: list[Rejection] = []
    key = _jwt_key(command.body, place, problems)
    if key is None:
        return invalid(command, problems)
    if _find_key(org, key.kid) is not None:
        return refused(command, 409, "KEY_EXISTS", "the key id is taken", "kid")
    if _live(org, "jwt_key") >= JWT_KEYS_MAX:
        message = f"an org has at most {JWT_KEYS_MAX} JWT keys; revoke one first"
        return refused(command, 409, "KEY_LIMIT_REACHED", message)
    return answered(command, 201, _shown(key), private=[_change(key)])


def revoke_key(
    org: OrgView, _config: OrgConfig, command: Command, place: Place
) -> Decision:
    """Revoke a key of either kind; 404 KEY_NOT_FOUND.

    A second time changes nothing.
    """
    key = _find_key(org, command.target or "")
    if key is None:
        return refused(command, 404, "KEY_NOT_FOUND", "the key does not exist", "keyId")
    if key.revoked_at_ms is not None:
        return answered(command, 200, _shown(key))
    key = msgspec.structs.replace(key, revoked_at_ms=place.clock_ms)
    return answered(command, 200, _shown(key), private=[_change(key)])


def _api_key(
    body: JsonObject, place: Place, problems: list[Rejection]
) -> ApiKey | None:
    """Return the API key of a body, or None with a problem."""
    before = len(problems)
    values = read.read_body(body, _API_KEY, problems)
    read.require(body, ("keyId", "secretSha256", "kind"), problems)
    if len(problems) > before:
        return None
    return ApiKey(**values, created_at_ms=place.clock_ms)


def _jwt_key(
    body: JsonObject, place: Place, problems: list[Rejection]
) -> JwtKey | None:
    """Return the JWT key of a body, or None with a problem."""
    before = len(problems)
    values = read.read_body(body, _JWT_KEY, problems)
    read.require(body, ("kid", "algorithm"), problems)
    _check_secret(values, problems)
    if len(problems) > before:
        return None
    return JwtKey(**values, created_at_ms=place.clock_ms)


def _first_keys(
    name: str,
    read_key: Callable[[JsonObject, Place, list[Rejection]], ApiKey | JwtKey | None],
    command: Command,
    place: Place,
    keys: list[ApiKey | JwtKey],
    problems: list[Rejection],
) -> None:
    """Append the keys that an org is created with; their ids must differ."""
    raw = command.body.get(name)
    if raw is None:
        return
    taken = {_key_id(key) for key in keys}
    for i, item in enumerate(check_list(raw, FIRST_KEYS_MAX, name, problems) or ()):
        at = f"{name}[{i}]"
        body = check_object(item, at, problems)
        if body is None:
            continue
        found: list[Rejection] = []
        key = read_key(body, place, found)
        _add_below(at, found, problems)
        if key is None:
            continue
        if _key_id(key) in taken:
            refuse(problems, at, "must have an id that no other key has")
        taken.add(_key_id(key))
        keys.append(key)


def _add_below(path: str, found: list[Rejection], problems: list[Rejection]) -> None:
    """Add the problems of a part of the body, under the part's path."""
    for problem in found:
        field = child(path, problem.field) if problem.field else path
        refuse(problems, field, problem.message, problem.code)


def _find_key(org: OrgView, key_id: str) -> ApiKey | JwtKey | None:
    """Return the key of an id, which is unique over both kinds, or None."""
    key: ApiKey | JwtKey | None = org.row("api_key", key_id)
    return key if key is not None else org.row("jwt_key", key_id)


def _live(org: OrgView, kind: str) -> int:
    """Return how many keys of a kind are not revoked."""
    return sum(key.revoked_at_ms is None for key in org.rows(kind))


def _key_id(key: ApiKey | JwtKey) -> str:
    return key.key_id if isinstance(key, ApiKey) else key.kid


def _change(key: ApiKey | JwtKey) -> Change:
    kind = "api_key" if isinstance(key, ApiKey) else "jwt_key"
    return kind, _key_id(key), row_to_json(key)


def _check_secret(values: JsonObject, problems: list[Rejection]) -> None:
    """Check that a JWT key has what its algorithm needs, and nothing else."""
    algorithm = values.get("algorithm")
    if algorithm is None:
        return
    wanted, other = ("sealedSecret", "sealed_secret"), ("publicPem", "public_pem")
    if algorithm != "HS256":
        wanted, other = other, wanted
    if values.get(wanted[1]) is None:
        refuse(problems, wanted[0], f"is required for {algorithm}")
    if values.get(other[1]) is not None:
        refuse(problems, other[0], f"is not for {algorithm}")


def _shown(key: ApiKey | JwtKey) -> JsonObject:
    """Return a key's row without what only the verifier may see."""
    row = row_to_json(key)
    for secret in ("secret_sha256", "sealed_secret"):
        row.pop(secret, None)
    return row
