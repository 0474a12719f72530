"""Reading a whole body by a table of its fields.

A table maps each wire name to the row's field and how to read it. What an update does
not name stays as it is; null puts a field back to what it is when it was never given.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from rules import fields
from rules.calendar import parse_timestamp_ms, zone
from rules.errors import Rejection
from rules.fields import refuse
from rules.message import JsonObject

Reader: TypeAlias = Callable[[Any, str, list[Rejection]], Any]

REQUIRED: Final = object()
"""Stands where a field has no null: it must be given."""


class Field(NamedTuple):
    """How one field is read.

    Attributes:
      name: Its name in the row.
      read: Takes (raw, path, problems); returns the value, or None with a problem.
      when_null: What null means, or REQUIRED.
    """

    name: str
    read: Reader
    when_null: Any = REQUIRED


def read_body(
    body: JsonObject,
    table: Mapping[str, Field],
    problems: list[Rejection],
    *,
    also: Collection[str] = (),
) -> JsonObject:
    """Read the fields that a body names.

    Args:
      body: The decoded body.
      table: Its fields, in the order in which problems are to be reported.
      problems: Where each problem goes.
      also: Keys that the caller reads itself; every other one is an unknown field.

    Returns:
      Row field -> value, of those that are there and in order.
    """
    values: JsonObject = {}
    for key, field in table.items():
        if key not in body:
            continue
        raw = body[key]
        if raw is None:
            if field.when_null is REQUIRED:
                refuse(problems, key, "is required")
            else:
                values[field.name] = field.when_null
            continue
        value = field.read(raw, key, problems)
        if value is not None:
            values[field.name] = value
    fields.check_keys(body, {*table, *also}, "", problems)
    return values


def require(body: JsonObject, keys: Collection[str], problems: list[Rejection]) -> None:
    """Refuse a body that leaves out a key; `read_body` has refused nulls."""
    for key in keys:
        if key not in body:
            refuse(problems, key, "is required")


def text(chars_max: int, *, empty: bool = False) -> Reader:
    """Read a line of text."""
    return lambda raw, path, problems: fields.check_text(
        raw, chars_max, path, problems, empty=empty
    )


def prose(chars_max: int) -> Reader:
    """Read a text of several lines, maybe empty."""
    return lambda raw, path, problems: fields.check_text(
        raw, chars_max, path, problems, prose=True, empty=True
    )


def integer(least: int, most: int) -> Reader:
    """Read an integer within inclusive bounds."""
    return lambda raw, path, problems: fields.check_integer(
        raw, least, most, path, problems
    )


def choice(*choices: str) -> Reader:
    """Read one of some words."""
    return lambda raw, path, problems: fields.check_choice(raw, choices, path, problems)


def free_object(bytes_max: int, depth_max: int) -> Reader:
    """Read an object of the caller's own making, within bounds."""

    def read(raw: Any, path: str, problems: list[Rejection]) -> JsonObject | None:
        value = fields.check_object(raw, path, problems)
        if value is None:
            return None
        kept = fields.check_json(value, bytes_max, depth_max, path, problems)
        return value if kept else None

    return read


def as_sent(raw: Any, _path: str, _problems: list[Rejection]) -> Any:
    """Keep a value for a later check of the whole."""
    return raw


def instant(raw: Any, path: str, problems: list[Rejection]) -> int | None:
    """Read an RFC 3339 instant, or a date (midnight UTC), as ms since the epoch."""
    instant_ms = parse_timestamp_ms(raw) if isinstance(raw, str) else None
    if instant_ms is None:
        refuse(problems, path, "must be an RFC 3339 instant or a date")
    return instant_ms


def timezone(raw: Any, path: str, problems: list[Rejection]) -> str | None:
    """Read the IANA name of a known time zone."""
    if isinstance(raw, str) and zone(raw) is not None:
        return raw
    refuse(problems, path, "must be the IANA name of a time zone, as Europe/London")
    return None


def check_row_size(row: JsonObject, bytes_max: int, problems: list[Rejection]) -> None:
    """Refuse a row that is too large to be broadcast with its neighbours."""
    if fields.json_bytes(row) > bytes_max:
        refuse(problems, None, f"must be at most {bytes_max:,} bytes of JSON in all")
