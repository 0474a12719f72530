"""How figures are shown and kept."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from bench import workload
from bench.measure import Spread, machine, versions
from plaudit.output import table

__all__ = ["RESULTS", "Figure", "Report", "table", "write_json"]

RESULTS: Final = Path(__file__).parent / "results"


class Figure(msgspec.Struct, frozen=True):
    """A figure of the report.

    Attributes:
      unit: As the table shows it.
      target: What it should be, as the table shows it; empty: no target.
      spread: What it is.
    """

    unit: str
    target: str
    spread: Spread


class Report:
    """What parts found out.

    Attributes:
      figures: By name, in the order of the table.
      details: By part: sizes, rounds and whatever else explains the figures.
    """

    def __init__(self) -> None:
        """Note how busy the machine is before anything is measured."""
        self.figures: dict[str, Figure] = {}
        self.details: dict[str, Any] = {}
        self._machine = machine()

    def add(self, name: str, found: Spread, unit: str = "", target: str = "") -> None:
        """Take in a figure."""
        self.figures[name] = Figure(unit, target, found)

    def shown(self) -> str:
        """Return the figures as a table."""
        rows = [("figure", "median", "min", "max", "unit", "target")]
        rows += [
            (
                name,
                f"{figure.spread.median:,g}",
                f"{figure.spread.least:,g}",
                f"{figure.spread.most:,g}",
                figure.unit,
                figure.target,
            )
            for name, figure in self.figures.items()
        ]
        return table(rows)

    def stored(self, sizes: msgspec.Struct, **more_versions: str) -> dict[str, Any]:
        """Return what the file holds.

        Args:
          sizes: How much was measured.
          more_versions: Of what is no library of this environment.
        """
        return {
            **{name: figure.spread.median for name, figure in self.figures.items()},
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": self._machine,
            "load_averages_after": machine()["load_averages"],
            "versions": versions() | more_versions,
            "seed": workload.SEED,
            "campaigns": workload.CAMPAIGNS,
            "action_types": workload.TYPES,
            "partitions": workload.PARTITIONS,
            "envelope_actions": workload.ENVELOPE_ACTIONS,
            "sizes": sizes,
            "figures": self.figures,
            "details": self.details,
        }


def write_json(path: Path, value: object) -> None:
    """Write a value as JSON for people and programs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(value), indent=2)
    path.write_bytes(text + b"\n")
