"""An org's config as rows, in the `orgs` partition and in every `users` partition."""

from typing import Any

from rules.config import OrgConfig, OrgSettings, row_from_json
from rules.message import JsonObject
from streams.sheet import Sheet
from tables import codec, keys
from tables.store import Reader

Change = tuple[str, str, JsonObject | None]


def put_config(sheet: Sheet, org: str, version: int, changes: list[Change]) -> None:
    """Write one config version's changes."""
    put_rows(sheet, org, changes)
    sheet.put(keys.config_version(org), codec.numbers.encode(version))


def put_rows(sheet: Sheet, org: str, changes: list[Change]) -> None:
    """Write or delete config rows."""
    for kind, row_id, value in changes:
        key = keys.config_row(org, kind, row_id)
        if value is None:
            sheet.delete(key)
        else:
            sheet.put(key, codec.config_rows.encode(value))


def load_config(reader: Reader, org: str) -> OrgConfig | None:
    """Return an org's live config as stored, or None where there is no such org."""
    stored = reader.get(keys.config_version(org))
    if stored is None:
        return None
    settings = OrgSettings()
    for row in load_rows(reader, org, "settings"):
        settings = row
    campaigns = {
        row.campaign_id: row
        for row in load_rows(reader, org, "campaign")
        if row.status != "archived"
    }
    rules = load_rows(reader, org, "rule")
    return OrgConfig(
        org,
        codec.numbers.decode(stored),
        settings,
        campaigns,
        {row.rule_id: row for row in rules if row.campaign_id in campaigns},
        {row.segment_id: row for row in load_rows(reader, org, "segment")},
    )


def load_rows(reader: Reader, org: str, kind: str) -> list[Any]:
    """Return an org's config rows of a kind, by id."""
    prefix = keys.config_rows(org, kind)
    return [
        row_from_json(kind, codec.config_rows.decode(value))
        for _key, value in reader.scan(prefix, keys.prefix_end(prefix))
    ]
