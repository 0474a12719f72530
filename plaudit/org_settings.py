"""Settings of an org as the command line takes them; fixed once the org is there."""

from typing import Any, Final

from plaudit.credentials import command
from plaudit.errors import Unusable
from rules.admin_org import create_org
from rules.config import DAY_MS, OrgConfig
from rules.ledger import IdSpace
from rules.message import JsonObject
from rules.outcome import Place
from streams.topics import ORGS

TIERS_EXAMPLE: Final = "bronze:0,silver:1000"


def settings_body(
    *,
    name: str | None,
    timezone: str | None,
    dedupe_days: int | None,
    late_days: int | None,
    tiers: str | None,
) -> JsonObject:
    """Return the settings that options name, as the command `org.create` takes them.

    Raises:
      Unusable: `tiers` is malformed. What values may be is for `check_org`.
    """
    body: JsonObject = {}
    if name is not None:
        body["name"] = name
    if timezone is not None:
        body["timezone"] = timezone
    if dedupe_days is not None:
        body["dedupeHorizonMs"] = dedupe_days * DAY_MS
    if late_days is not None:
        body["lateHorizonMs"] = late_days * DAY_MS
    if tiers is not None:
        body["tiers"] = [_tier(part) for part in tiers.split(",")]
    return body


def _tier(text: str) -> JsonObject:
    name, _colon, threshold = text.strip().rpartition(":")
    if not name or not threshold.isascii() or not threshold.isdigit():
        raise Unusable(f"--tiers {text[:80]} must be like {TIERS_EXAMPLE}")
    # Cut: a threshold beyond all bounds is refused in any case.
    return {"name": name, "threshold": int(threshold[:18])}


class _NoOrg:
    """`rules.decision.OrgView` of an org that does not exist."""

    config: OrgConfig | None = None

    def row(self, _kind: str, _row_id: str) -> None:
        """Return nothing."""

    def rows(self, _kind: str) -> list[Any]:
        """Return nothing."""
        return []


def check_org(org: str, settings: JsonObject) -> None:
    """Check a new org's id and settings as the worker will, which decides later.

    Raises:
      Unusable: The worker would refuse them.
    """
    create = command(org, "org.create", {"settings": settings})
    place = Place(IdSpace("0" * 32, ORGS, 0), 0, 0)
    problem = create_org(_NoOrg(), create, place).result.error
    if problem is not None:
        raise Unusable(f"{problem.field}: {problem.message}")
