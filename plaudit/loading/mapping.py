"""Which column of a file is what, and how a cell becomes a JSON value.

--data amount=TotalPrice      a number where the cell is a JSON number, else a string
--data code:str=Code          always a string
--data amount:num=Total       always a number; another cell refuses its row
"""

import hashlib
import re
from typing import Final, Literal, TypeAlias

import msgspec

from plaudit.errors import Unusable

Kind: TypeAlias = Literal["auto", "str", "num"]
FIELDS_MAX: Final = 100
DIGEST_CHARS: Final = 16

is_number = re.compile(
    r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
).fullmatch
"""Matches text that is a JSON number: `007`, `+1`, `.5` and `1,000` are none."""

_SPEC = re.compile(r"(?P<name>[^=]+?)(?::(?P<kind>str|num))?=(?P<column>.+)", re.DOTALL)


class DataField(msgspec.Struct, frozen=True):
    """One field of `data`: its name, how it is read, and its column."""

    name: str
    kind: Kind
    column: str


class Mapping(msgspec.Struct, frozen=True):
    """What the columns of a file mean.

    Attributes:
      action: Action type of every row.
      user: Column of the user id.
      time: Column of the timestamp; None: each action happens when it is received.
      event_id: Column of the action's id; None: derived from the file, this mapping
        and the row.
      data: Fields of `data`.
    """

    action: str
    user: str
    time: str | None
    event_id: str | None
    data: tuple[DataField, ...] = ()

    def digest(self) -> str:
        """Return what stands for this meaning in ids, whatever the order of `data`."""
        fields = sorted(self.data, key=lambda field: field.name)
        text = msgspec.json.encode(msgspec.structs.replace(self, data=tuple(fields)))
        return hashlib.sha256(text).hexdigest()[:DIGEST_CHARS]

    def columns(self) -> set[str]:
        """Return every column that is read."""
        named = {self.user, self.time, self.event_id}
        named.update(field.column for field in self.data)
        return {column for column in named if column is not None}


def parse_data(specs: tuple[str, ...]) -> tuple[DataField, ...]:
    """Return the fields that --data options name.

    Raises:
      Unusable: One of them is malformed, or names a field twice.
    """
    fields: dict[str, DataField] = {}
    for spec in specs:
        match = _SPEC.fullmatch(spec)
        if match is None:
            raise Unusable(f"--data {spec} must be NAME=COLUMN, as amount=TotalPrice")
        name = match["name"]
        if name in fields:
            raise Unusable(f"--data names {name} twice")
        kind: Kind = match["kind"] or "auto"  # type: ignore[assignment]  # by _SPEC
        fields[name] = DataField(name, kind, match["column"])
    if len(fields) > FIELDS_MAX:
        raise Unusable(f"--data names more than {FIELDS_MAX} fields")
    return tuple(fields.values())
