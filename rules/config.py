"""An org's configuration: the rows that the log carries and a program is built from.

Rows keep what the operator sent (`triggers`, `effects`, `conditions` as JSON values),
so that it reads back as written; rules/condition.py and rules/parse_effect.py read it.
A row is stored and broadcast as the JSON object of its struct.
"""

from typing import Any

import msgspec

from rules.message import JsonObject

DAY_MS = 86_400_000
CAMPAIGNS_MAX = 500
RULES_PER_CAMPAIGN_MAX = 100
SEGMENTS_MAX = 500
SEGMENTS_PER_CAMPAIGN_MAX = 5
SEGMENT_USERS_MAX = 10_000
EFFECTS_MAX = 10
TRIGGERS_MAX = 50


class Tier(msgspec.Struct, frozen=True):
    """A rung of the tier table: held from `threshold` lifetime points on."""

    name: str
    threshold: int


DEFAULT_TIERS = (
    Tier("bronze", 0),
    Tier("silver", 1_000),
    Tier("gold", 5_000),
    Tier("platinum", 20_000),
)


class OrgSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What can change a ledger and is not a campaign.

    Attributes:
      dedupe_horizon_ms: How long an eventId is remembered, 1 day..90 days.
      late_horizon_ms: Older actions are kept but earn nothing; None: any age.
      future_tolerance_ms: How far ahead of the clock an action may be.
      timezone: IANA name; None: UTC.
      tiers: Ascending by threshold, the first at 0.
    """

    name: str = ""
    dedupe_horizon_ms: int = 7 * DAY_MS
    late_horizon_ms: int | None = None
    future_tolerance_ms: int = 300_000
    timezone: str | None = None
    tiers: tuple[Tier, ...] = DEFAULT_TIERS
    created_at_ms: int = 0


class Campaign(msgspec.Struct, kw_only=True):
    """A campaign row. Instants are ms since the epoch.

    `triggers` and `effects` are None on an advanced campaign (its rules are rows of
    their own) and non-empty lists on a simple one.
    """

    campaign_id: str
    name: str
    description: str | None = None
    type: str
    mode: str
    status: str
    simplified_mode: bool
    start_ms: int | None = None
    end_ms: int | None = None
    recurrence: JsonObject | None = None
    triggers: list[JsonObject] | None = None
    effects: list[JsonObject] | None = None
    conditions: Any = None
    limits: JsonObject | None = None
    priority: int = 5
    segment_ids: list[str] = []
    metadata: JsonObject = {}
    version: int = 1
    created_at_ms: int
    updated_at_ms: int


class Rule(msgspec.Struct, kw_only=True):
    """A rule row of an advanced campaign."""

    rule_id: str
    campaign_id: str
    name: str
    trigger: str
    conditions: Any = None
    effects: list[JsonObject]
    limits: JsonObject | None = None
    priority: int = 5
    enabled: bool = True
    version: int = 1
    created_at_ms: int
    updated_at_ms: int


class Segment(msgspec.Struct, kw_only=True):
    """A segment row: `dynamic` by criteria on the profile, or `static` by user ids."""

    segment_id: str
    name: str
    description: str | None = None
    type: str
    url: str | None = None
    criteria: list[JsonObject] = []
    exclude_criteria: list[JsonObject] = []
    user_ids: list[str] | None = None
    created_at_ms: int
    updated_at_ms: int


class ApiKey(msgspec.Struct, kw_only=True):
    """An API key row; the secret itself is never stored. Not broadcast to users.

    Attributes:
      key_id: Public part: ``pk_...`` (X-API-Key) or the digest part of ``sk_...``.
      secret_sha256: Hex SHA-256 of the 256-bit random secret.
      kind: ``api`` (X-API-Key + X-API-Secret) or ``secret`` (Bearer sk_...).
      permissions: e.g. ``actions:write``, ``users:read``, ``loyalty:write``.
    """

    key_id: str
    secret_sha256: str
    kind: str
    name: str = ""
    permissions: list[str] = []
    created_at_ms: int = 0
    revoked_at_ms: int | None = None


class JwtKey(msgspec.Struct, kw_only=True):
    """A key that verifies an org's JWTs. Not broadcast to users.

    Attributes:
      kid: Key id, matched to the token's header where it has one.
      algorithm: ``HS256``, ``RS256`` or ``ES256``.
      sealed_secret: HS256: the secret, encrypted under the master key (base64).
      public_pem: RS256, ES256: the public key.
    """

    kid: str
    algorithm: str
    sealed_secret: str | None = None
    public_pem: str | None = None
    created_at_ms: int = 0
    revoked_at_ms: int | None = None


class OrgConfig(msgspec.Struct):
    """All live config of one org at one version (archived campaigns are left out)."""

    org: str
    version: int
    settings: OrgSettings
    campaigns: dict[str, Campaign]
    rules: dict[str, Rule]
    segments: dict[str, Segment]


ROW_TYPES: dict[str, type[Any]] = {
    "settings": OrgSettings,
    "campaign": Campaign,
    "rule": Rule,
    "segment": Segment,
    "api_key": ApiKey,
    "jwt_key": JwtKey,
}


def row_to_json(
    row: OrgSettings | Campaign | Rule | Segment | ApiKey | JwtKey,
) -> JsonObject:
    """Return the JSON object that stores and broadcasts a config row."""
    value: JsonObject = msgspec.structs.asdict(row)
    if isinstance(row, OrgSettings):
        value["tiers"] = [msgspec.structs.asdict(tier) for tier in row.tiers]
    return value


def row_from_json(kind: str, value: JsonObject) -> Any:
    """Return the config row of a kind from its stored JSON object.

    Raises:
      msgspec.ValidationError: The value is not such a row.
    """
    return msgspec.convert(value, ROW_TYPES[kind])


def apply_change(
    config: OrgConfig | None,
    org: str,
    version: int,
    changes: list[tuple[str, str, JsonObject | None]],
) -> OrgConfig:
    """Return the config after one version's changes; the argument is left as it was.

    Raises:
      ValueError: `version` does not follow the config's.
    """
    base = config or OrgConfig(org, 0, OrgSettings(), {}, {}, {})
    if version != base.version + 1:
        raise ValueError(f"config version {version} cannot follow {base.version}")
    settings = base.settings
    tables: dict[str, dict[str, Any]] = {
        "campaign": dict(base.campaigns),
        "rule": dict(base.rules),
        "segment": dict(base.segments),
    }
    for kind, row_id, value in changes:
        row = None if value is None else row_from_json(kind, value)
        if kind == "settings":
            settings = row if row is not None else settings
        elif row is None or (kind == "campaign" and row.status == "archived"):
            tables[kind].pop(row_id, None)
            if kind == "campaign":
                tables["rule"] = _without_rules_of(tables["rule"], row_id)
        else:
            tables[kind][row_id] = row
    return OrgConfig(
        org,
        version,
        settings,
        tables["campaign"],
        tables["rule"],
        tables["segment"],
    )


def _without_rules_of(rules: dict[str, Rule], campaign_id: str) -> dict[str, Rule]:
    """Return the rules that belong to other campaigns."""
    return {
        rule_id: rule
        for rule_id, rule in rules.items()
        if rule.campaign_id != campaign_id
    }
