"""How figures are shown and kept."""

from pathlib import Path
from typing import Final

import msgspec

from plaudit.output import table

__all__ = ["RESULTS", "table", "write_json"]

RESULTS: Final = Path(__file__).parent / "results"


def write_json(path: Path, value: object) -> None:
    """Write a value as JSON for people and programs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(value), indent=2)
    path.write_bytes(text + b"\n")
