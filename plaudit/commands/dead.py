"""`plaudit dead`."""

from pathlib import Path

import click

from plaudit.commands.options import data_dir_option, json_option, settings_of
from plaudit.dead import LETTERS_MAX, DeadLetter, dead_letters
from plaudit.output import emit
from plaudit.wiring import opened

SHOWN_CHARS_MAX = 300
"""Characters of a message that a person is shown; --json has all of it."""


@click.group()
def dead() -> None:
    """Dead letters: messages that were refused behind the API."""


@dead.command("list")
@click.option(
    "--limit",
    type=click.IntRange(1, LETTERS_MAX),
    default=50,
    show_default=True,
    help="How many of the newest.",
)
@data_dir_option
@json_option
def list_letters(limit: int, data_dir: Path, as_json: bool) -> None:
    """List the newest dead letters, each with its position, reason and message.

    To send one again, mend what `action` shows with --json and send that.
    """
    with opened(settings_of(data_dir)) as parts:
        letters = dead_letters(parts.log, limit)
    text = "\n".join(map(_text, letters)) or "no dead letters"
    emit({"letters": letters}, text, as_json=as_json)


def _text(letter: DeadLetter) -> str:
    """Return a letter's lines; what producers wrote cannot steer the terminal."""
    field = f" ({letter.field})" if letter.field else ""
    lines = [
        f"{letter.position}  {letter.received_at}  {letter.code}: "
        f"{letter.message}{field}"
    ]
    named = [
        f"{name} {value}"
        for name, value in (
            ("org", letter.org),
            ("user", letter.user_id),
            ("eventId", letter.event_id),
            ("key", letter.key),
        )
        if value is not None
    ]
    if named:
        lines.append("  " + ", ".join(named))
    original = letter.original
    if original is None:
        lines.append("  (the message is not shown)")
    else:
        cut = " ..." if len(original) > SHOWN_CHARS_MAX else ""
        lines.append(f"  {original[:SHOWN_CHARS_MAX]}{cut}")
    return "\n".join(map(_visible, lines))


def _visible(line: str) -> str:
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode()
        for char in line
    )
