"""`plaudit rebuild`: the tables from the log alone, while no worker runs."""

import re
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

import msgspec

from plaudit.errors import Unusable
from plaudit.folder import DataFolder
from plaudit.loading.progress import Progress
from plaudit.mirrors import request_epochs
from plaudit.opening import open_log
from plaudit.settings import Settings
from streams.lock import WorkerLock
from streams.log import GroupLog
from streams.rebuild import Rebuild, Rebuilt
from streams.topics import ORGS, USERS
from tables.clock import wall_clock_ms

_PLACE: Final = re.compile(r"(users|orgs)/([0-9]{1,6})")


class Summary(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What was rebuilt.

    Attributes:
      identical: Every partition equals what was there; None: not all were compared.
      messages: Messages that all were folded from, earlier attempts included.
      seconds: Time that this run took.
    """

    identical: bool | None
    messages: int
    seconds: float
    partitions: list[Rebuilt]


def rebuild(settings: Settings, places: Sequence[str]) -> Summary:
    """Rebuild the named partitions, or all.

    Args:
      settings: Where.
      places: ``users/2``, ``orgs/0`` ...; empty: every partition.

    Raises:
      Unusable: There is no such partition, or no data folder.
      FolderLocked: A worker uses the folder.
      WrongLog: The log does not reach what was processed.
      RebuildFailed: A record cannot be folded.
      MirrorUnavailable: There is a mirror, and it cannot be told.
    """
    folder = DataFolder(settings)
    folder.require_for_worker()
    began = time.monotonic()
    with WorkerLock(folder.path):
        log = open_log(settings)
        try:
            chosen = chosen_places(log.partitions(USERS), places)
            # First: a mirror must not outlive rows that were found wrong.
            request_epochs(settings, log.log_id, chosen)
            done = [_rebuild_one(settings, log, place) for place in chosen]
        finally:
            log.close()
    verdicts = {one.identical for one in done}
    identical = True if verdicts == {True} else None
    return Summary(
        identical=False if False in verdicts else identical,
        messages=sum(one.messages for one in done),
        seconds=round(time.monotonic() - began, 3),
        partitions=done,
    )


def _rebuild_one(settings: Settings, log: GroupLog, place: tuple[str, int]) -> Rebuilt:
    progress = Progress(f"{place[0]}/{place[1]}", "messages")
    job = Rebuild(log, settings.data_dir, place, version("tzdata"), wall_clock_ms)
    try:
        return job.run(progress.show)
    finally:
        progress.end()


def chosen_places(partitions: int, places: Sequence[str]) -> list[tuple[str, int]]:
    """Return the named partitions, or all.

    Args:
      partitions: How many `users` has.
      places: ``users/2``, ``orgs/0`` ...; empty: every partition.

    Raises:
      Unusable: There is no such partition.
    """
    every = [(ORGS, 0), *((USERS, number) for number in range(partitions))]
    chosen: list[tuple[str, int]] = []
    for text in places:
        match = _PLACE.fullmatch(text)
        place = (match[1], int(match[2])) if match else ("", 0)
        if place not in every:
            raise Unusable(
                f"there is no partition {text[:80]}; they are orgs/0 and users/0 to "
                f"users/{len(every) - 2}"
            )
        if place not in chosen:
            chosen.append(place)
    return chosen or every
