"""`plaudit load`."""

from pathlib import Path

import click
import msgspec

from plaudit.commands.options import (
    data_dir_option,
    json_option,
    org_option,
    settings_of,
)
from plaudit.credentials import Credentials, read_credentials
from plaudit.errors import Failure
from plaudit.folder import DataFolder
from plaudit.loading.load import Summary, load_file
from plaudit.loading.mapping import Mapping, parse_data
from plaudit.output import emit


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--user", required=True, metavar="COL", help="Column of the user id.")
@click.option("--action", required=True, metavar="NAME", help="What the users did.")
@click.option(
    "--time", metavar="COL", help="Column of the time; a date is midnight UTC."
)
@click.option(
    "--id",
    "event_id",
    metavar="COL",
    help="Column of the action's id; by default made of the file's hash, "
    "the options that say what its columns mean, and the row.",
)
@click.option(
    "--data",
    multiple=True,
    metavar="NAME=COL",
    help="A field of the data; NAME:str=COL and NAME:num=COL force its type.",
)
@click.option("--again", is_flag=True, help="Send the file though it was sent before.")
@org_option
@click.option(
    "--url", metavar="URL", help="The API; by default that of the org's file."
)
@data_dir_option
@json_option
def load(  # noqa: PLR0913, PLR0917  # click: one argument an option
    file: Path,
    user: str,
    action: str,
    time: str | None,
    event_id: str | None,
    data: tuple[str, ...],
    again: bool,
    org: str | None,
    url: str | None,
    data_dir: Path,
    as_json: bool,
) -> None:
    """Send the rows of FILE (.csv or .jsonl) as actions, each once, in order.

    Interrupt it as you like: the same command goes on where it stopped, and adds
    nothing twice however much later it runs.
    """
    mapping = Mapping(action, user, time, event_id, parse_data(data))
    folder = DataFolder(settings_of(data_dir))
    credentials = _credentials(folder, org)
    if url is not None:
        credentials = msgspec.structs.replace(credentials, url=url)
    try:
        summary = load_file(file, mapping, credentials, folder.loads, again=again)
    except KeyboardInterrupt:
        raise Failure("interrupted; run the same command again to go on") from None
    emit(summary, _text(summary), as_json=as_json)


def _credentials(folder: DataFolder, org: str | None) -> Credentials:
    """Return the credentials of an org, which may be the first one's; None: its."""
    path = folder.credentials(org)
    if org is not None and not path.exists():
        first = read_credentials(folder.credentials())
        if first.org_id == org:
            return first
    return read_credentials(path)


def _text(summary: Summary) -> str:
    if summary.already_loaded:
        head = f"{summary.file} was loaded before; nothing is sent (--again to force)"
    else:
        head = (
            f"{summary.file}: {summary.rows:,} rows in {summary.seconds:,.1f} s, "
            f"{summary.rows_per_second:,.0f}/s"
        )
    lines = [
        head,
        f"  accepted   {summary.accepted:,}",
        f"  duplicate  {summary.duplicate:,}",
        f"  too late   {summary.too_late:,}",
        f"  refused    {summary.refused:,}",
    ]
    if summary.unknown:
        lines.append(f"  unknown    {summary.unknown:,} (sent more than a day ago)")
    if summary.refused_file:
        lines.append(f"refused rows, with reasons: {summary.refused_file}")
    return "\n".join(lines)
