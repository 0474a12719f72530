"""What commands print: a person's lines or, with --json, one JSON value on stdout."""

from collections.abc import Sequence

import click
import msgspec


def emit(value: object, text: str, *, as_json: bool) -> None:
    """Print a command's result.

    Args:
      value: What --json prints; anything msgspec can encode.
      text: What a person reads.
      as_json: Which of the two.
    """
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))
    else:
        click.echo(text)


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Return rows as columns of equal width; the first row is the heading."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    )
