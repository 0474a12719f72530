"""A file as rows: each an action ready to send, or the reason why it cannot be.

Files are read as a stream: of a file of any size only the row in hand is in memory. A
number is sent exactly as the file spells it, so `1.10` stays `1.10`.

A row that cannot be understood is refused alone. A file that is not what its name says
(no header, a missing column, a field without an end) stops the load.
"""

import csv
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from plaudit.errors import Failure, Unusable
from plaudit.loading.mapping import DataField, Mapping, is_number

LINE_BYTES_MAX: Final = 1_000_000
CELL_CHARS_MAX: Final = 100_000
ID_PREFIX_CHARS: Final = 32
"""Digits of the file's hash in the ids of rows that bring none; the mapping's follow:
the same file with corrected columns holds other actions."""

Cells: TypeAlias = list[str]
JsonCells: TypeAlias = dict[str, msgspec.Raw]


class Action(msgspec.Struct, rename="camel", omit_defaults=True):
    """An action as POST /internal/actions/bulk takes it."""

    user_id: str
    action: str
    event_id: str
    timestamp: str | None = None
    data: dict[str, str | msgspec.Raw] = {}


class Row(msgspec.Struct):
    """One row of a file.

    Attributes:
      number: 1 for the first row after the header.
      cells: As read; goes to the refused rows if need be.
      user: User id; says which lane sends it.
      body: The action as JSON; None where `code` and `reason` say why not.
      code, field, reason: Why it is refused.
    """

    number: int
    cells: Cells
    user: str = ""
    body: bytes | None = None
    code: str = ""
    field: str = ""
    reason: str = ""


class RowError(ValueError):
    """A row cannot be sent: (field, reason)."""


_encode = msgspec.json.Encoder().encode
_decode_line = msgspec.json.Decoder(JsonCells).decode
_decode_text = msgspec.json.Decoder(str).decode


class Rows(ABC):
    """The rows of one file, from the first; see `open_rows`."""

    def __init__(
        self, file: io.BufferedReader, mapping: Mapping, id_prefix: str
    ) -> None:
        """Read the header.

        Args:
          file: The file, at its beginning; closed by its owner.
          mapping: What the columns mean.
          id_prefix: Begins the id of a row that brings none; its number follows.
        """
        self._file = file
        self._mapping = mapping
        self._id_prefix = id_prefix
        self._cut = False
        self.heading: Cells = []

    def __iter__(self) -> Iterator[Row]:
        """Yield every row in the order of the file."""
        for number, cells in enumerate(self._cells(), 1):
            yield self._row(number, cells)

    def _lines(self) -> Iterator[str]:
        """Yield the file's lines; one that is too long is cut, and `_cut` set.

        Bytes that are not UTF-8 spoil their row, not the file.
        """
        mark = b"\xef\xbb\xbf"
        while line := self._file.readline(LINE_BYTES_MAX):
            rest = line
            while len(rest) == LINE_BYTES_MAX and not rest.endswith(b"\n"):
                rest = self._file.readline(LINE_BYTES_MAX)
            self._cut = rest is not line
            yield line.removeprefix(mark).decode("utf-8", "surrogateescape")
            mark = b""

    @abstractmethod
    def _cells(self) -> Iterator[Cells]:
        """Yield the cells of every row; empty where a row has none to show."""

    @abstractmethod
    def _action(self, number: int, cells: Cells) -> Action:
        """Return the action of a row; raises `RowError`."""

    def _own_id(self, number: int) -> str:
        return f"{self._id_prefix}-{number}"

    def _row(self, number: int, cells: Cells) -> Row:
        try:
            action = self._action(number, cells)
            body = _encode(action)
        except RowError as error:
            field, reason = error.args
            return Row(number, cells, code="UNREADABLE_ROW", field=field, reason=reason)
        except UnicodeEncodeError:
            reason = "not UTF-8"
            return Row(number, cells, code="UNREADABLE_ROW", reason=reason)
        except msgspec.DecodeError as error:
            reason = str(error)[:500]
            return Row(number, cells, code="UNREADABLE_ROW", reason=reason)
        return Row(number, cells, action.user_id, body)


class CsvRows(Rows):
    """Rows of a CSV file (RFC 4180, UTF-8) whose first line names the columns."""

    def __init__(
        self, file: io.BufferedReader, mapping: Mapping, id_prefix: str
    ) -> None:
        """See Rows.

        Raises:
          Unusable: A column is missing, or named twice.
        """
        super().__init__(file, mapping, id_prefix)
        csv.field_size_limit(CELL_CHARS_MAX)
        self._reader = csv.reader(self._whole_lines(), strict=True)
        self._problem = ""
        self._too_long = 0
        self.heading = next(self._cells(), [])
        places: dict[str, int] = {}
        for column in mapping.columns():
            found = self.heading.count(column)
            if found != 1:
                problem = "no column" if found == 0 else "more than one column"
                raise Unusable(
                    f"the file has {problem} {column}; its header is "
                    f"{', '.join(self.heading)[:500] or 'empty'}"
                )
            places[column] = self.heading.index(column)
        self._user = places[mapping.user]
        self._time = None if mapping.time is None else places[mapping.time]
        self._id = None if mapping.event_id is None else places[mapping.event_id]
        self._data = [
            (field, _csv_value(field), places[field.column]) for field in mapping.data
        ]

    def _whole_lines(self) -> Iterator[str]:
        for number, line in enumerate(self._lines(), 1):
            if self._cut:
                self._too_long = number
                # No CSV on purpose: the reader refuses it and goes on.
                yield '"x"x\n'
            else:
                yield line

    def _cells(self) -> Iterator[Cells]:
        while True:
            try:
                cells = next(self._reader)
            except StopIteration:
                return
            except csv.Error as error:
                if "field limit" in str(error):
                    raise Failure(
                        f"line {self._reader.line_num}: a cell does not end within "
                        f"{CELL_CHARS_MAX:,} characters; a quote is not closed. Mend "
                        "the file; what was sent before that line stays"
                    ) from error
                # The reader goes on with the next line.
                self._problem = f"line {self._reader.line_num} is not CSV: {error}"
                if self._too_long:
                    self._problem = (
                        f"line {self._too_long} is longer than {LINE_BYTES_MAX:,} bytes"
                    )
                    self._too_long = 0
                yield []
                continue
            if cells:
                yield cells

    def _action(self, number: int, cells: Cells) -> Action:
        if not cells:
            raise RowError("", self._problem)
        if len(cells) != len(self.heading):
            raise RowError(
                "", f"{len(cells)} cells where the header has {len(self.heading)}"
            )
        data: dict[str, str | msgspec.Raw] = {}
        for field, value_of, place in self._data:
            value = value_of(cells[place])
            if value is not None:
                data[field.name] = value
        return Action(
            user_id=cells[self._user],
            action=self._mapping.action,
            event_id=self._own_id(number) if self._id is None else cells[self._id],
            timestamp=None if self._time is None else cells[self._time],
            data=data,
        )


class JsonlRows(Rows):
    """Rows of a file with one JSON object a line; values keep their JSON type."""

    def __init__(
        self, file: io.BufferedReader, mapping: Mapping, id_prefix: str
    ) -> None:
        """See Rows."""
        super().__init__(file, mapping, id_prefix)
        self.heading = ["line"]

    def _cells(self) -> Iterator[Cells]:
        for line in self._lines():
            if line.strip():
                yield [line]

    def _action(self, number: int, cells: Cells) -> Action:
        if self._cut:
            raise RowError("", f"longer than {LINE_BYTES_MAX:,} bytes")
        line = cells[0].encode()
        try:
            values = _decode_line(line)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise RowError("", f"not a JSON object: {error}"[:500]) from error
        mapping = self._mapping
        data: dict[str, str | msgspec.Raw] = {}
        for field in mapping.data:
            value = _json_value(field, values.get(field.column))
            if value is not None:
                data[field.name] = value
        return Action(
            user_id=_json_id(values, mapping.user, "userId"),
            action=mapping.action,
            event_id=(
                self._own_id(number)
                if mapping.event_id is None
                else _json_id(values, mapping.event_id, "eventId")
            ),
            timestamp=(
                None
                if mapping.time is None
                else _json_text(values, mapping.time, "timestamp")
            ),
            data=data,
        )


def open_rows(
    path: Path, file: io.BufferedReader, mapping: Mapping, sha256: str
) -> Rows:
    """Return the rows of a file by what its name ends with.

    Args:
      path: ``.csv``, ``.jsonl`` or ``.ndjson``.
      file: The same file, open, at its beginning.
      mapping: What the columns mean.
      sha256: Hash of the file, hex; names rows that bring no id.

    Raises:
      Unusable: Another name, or columns are missing.
    """
    kinds: dict[str, type[Rows]] = {
        ".csv": CsvRows,
        ".jsonl": JsonlRows,
        ".ndjson": JsonlRows,
    }
    kind = kinds.get(path.suffix.lower())
    if kind is None:
        raise Unusable(f"{path.name} must end with .csv, .jsonl or .ndjson")
    prefix = f"{sha256[:ID_PREFIX_CHARS]}-{mapping.digest()}"
    return kind(file, mapping, prefix)


def _csv_value(field: DataField) -> Callable[[str], str | msgspec.Raw | None]:
    """Return how the cells of a field are read; None: there is no such value."""

    def auto(cell: str) -> str | msgspec.Raw | None:
        if is_number(cell):
            return msgspec.Raw(cell.encode())
        return cell or None

    def number(cell: str) -> msgspec.Raw | None:
        if is_number(cell):
            return msgspec.Raw(cell.encode())
        if not cell:
            return None
        raise RowError(f"data.{field.name}", f"{cell[:100]} is not a JSON number")

    def text(cell: str) -> str:
        return cell

    readers: dict[str, Callable[[str], str | msgspec.Raw | None]] = {
        "auto": auto,
        "num": number,
        "str": text,
    }
    return readers[field.kind]


def _json_value(field: DataField, raw: msgspec.Raw | None) -> str | msgspec.Raw | None:
    """Return the value of a field of a JSON line; None: there is none."""
    spelled = b"null" if raw is None else bytes(raw).strip()
    if raw is None or spelled == b"null":
        return None
    if field.kind == "auto":
        return raw
    text = _decode_text(raw) if spelled[:1] == b'"' else spelled.decode()
    if field.kind == "str":
        return text
    if is_number(text):
        return msgspec.Raw(text.encode())
    raise RowError(f"data.{field.name}", f"{text[:100]} is not a JSON number")


def _json_id(values: JsonCells, column: str, field: str) -> str:
    """Return an id, which is a string however it is written."""
    spelled = bytes(values.get(column, b"null")).strip()
    text = spelled.decode()
    if spelled[:1] == b'"':
        return _decode_text(spelled)
    if is_number(text):
        return text
    raise RowError(field, f"{column} must be a string or a number")


def _json_text(values: JsonCells, column: str, field: str) -> str:
    spelled = bytes(values.get(column, b"null")).strip()
    if spelled[:1] != b'"':
        raise RowError(field, f"{column} must be a string")
    return _decode_text(spelled)
