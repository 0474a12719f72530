"""The rows that were refused, as a CSV file with the reason before the cells.

    row,code,field,reason,InvoiceNo,InvoiceDate,...

A cell that a spreadsheet would run as a formula gets a leading apostrophe; numbers,
negative ones too, stay as they are.
"""

import csv
import io
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from plaudit.loading.mapping import is_number
from plaudit.loading.rows import Cells, Row

HEADING: Final = ["row", "code", "field", "reason"]
FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r")


class RefusedFile:
    """Appends refused rows; a context manager. Made only when a row is refused."""

    def __init__(self, path: Path, heading: Cells, length: int) -> None:
        """Continue a file at a length.

        Args:
          path: The file.
          heading: Names of the rows' cells.
          length: Bytes to keep; what an interrupted run wrote behind them goes.
        """
        self.path = path
        self._heading = heading
        self._file: io.FileIO | None = None
        self.length = length

    def __enter__(self) -> Self:
        """Cut the file to its length."""
        if self.path.exists():
            if self.length:
                os.truncate(self.path, self.length)
            else:
                self.path.unlink()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def append(self, rows: list[Row]) -> None:
        """Write refused rows, durably; `length` grows."""
        if not rows:
            return
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\r\n")
        if self.length == 0:
            writer.writerow(HEADING + [_escaped(cell) for cell in self._heading])
        for row in rows:
            reason = [str(row.number), row.code, row.field, row.reason]
            writer.writerow([_escaped(cell) for cell in reason + row.cells])
        if self._file is None:
            fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._file = io.FileIO(fd, "w")
        self._file.write(text.getvalue().encode("utf-8", "surrogateescape"))
        os.fsync(self._file.fileno())
        self.length = self._file.tell()


def _escaped(cell: str) -> str:
    if cell.startswith(FORMULA_STARTS) and not is_number(cell):
        return "'" + cell
    return cell
