"""`plaudit mirror rebuild`: new epochs of the mirror, written by its owners.

Only the owner of a partition knows its rows, so the command asks it and watches. What
was in force is read, and kept up to date, until its successor is complete.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from plaudit.errors import Failure, Unusable
from plaudit.loading.progress import Progress
from plaudit.mirrors import opened_mirrors
from plaudit.rebuilding import chosen_places
from plaudit.settings import Settings
from plaudit.wiring import opened
from tables.redis_slot import RedisSlot, SlotState

LOOK_EVERY_S: Final = 0.2
SILENT_MAX_S: Final = 30.0
"""How long an owner may be silent before the command gives up watching."""


class Mirrored(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """The new epoch of one partition.

    Attributes:
      offset: Position that the mirror holds.
      rows: Rows in it, seen ids left out.
    """

    topic: str
    partition: int
    offset: int
    rows: int


class Summary(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """What was written anew, and the time it took."""

    seconds: float
    partitions: list[Mirrored]


def rebuild(
    settings: Settings,
    places: Sequence[str],
    *,
    silent_max_s: float = SILENT_MAX_S,
    monotonic: Callable[[], float] = time.monotonic,
) -> Summary:
    """Have the mirror of the named partitions, or all, written anew.

    Args:
      settings: Where.
      places: ``users/2``, ``orgs/0`` ...; empty: every partition.
      silent_max_s: See `SILENT_MAX_S`.
      monotonic: Seconds of a clock that never steps back.

    Raises:
      Unusable: There is no mirror, no data folder, or no such partition.
      Failure: An owner is silent; what was asked for is done when one runs.
      MirrorUnavailable: Redis does not answer.
    """
    began = monotonic()
    with (
        opened(settings) as parts,
        opened_mirrors(settings, parts.log.log_id) as mirrors,
    ):
        if mirrors is None:
            raise Unusable("there is no mirror: PLAUDIT_REDIS_URL is not set")
        chosen = chosen_places(parts.partitions, places)
        slots = {place: mirrors.slot(*place) for place in chosen}
        for slot in slots.values():
            slot.request()
        progress = Progress("mirror", "rows")
        try:
            states = _watch(slots, progress, silent_max_s, monotonic)
        finally:
            progress.end()
    return Summary(
        seconds=round(monotonic() - began, 3),
        partitions=[
            Mirrored(
                topic=topic,
                partition=partition,
                offset=-1 if state.offset is None else state.offset,
                rows=state.rows,
            )
            for (topic, partition), state in states.items()
        ],
    )


def _watch(
    slots: dict[tuple[str, int], RedisSlot],
    progress: Progress,
    silent_max_s: float,
    monotonic: Callable[[], float],
) -> dict[tuple[str, int], SlotState]:
    """Look at the slots until each has its new epoch."""
    states: dict[tuple[str, int], SlotState] = {}
    heard = dict.fromkeys(slots, monotonic())
    while True:
        for place, slot in slots.items():
            state = slot.state()
            known = states.get(place)
            if known is None or known.sign != state.sign:
                heard[place] = monotonic()
            states[place] = state
        left = [place for place, state in states.items() if not _is_done(state)]
        copied = sum(_copied(state) for state in states.values())
        share = sum(_share(state) for state in states.values()) / len(states)
        progress.show(copied, share, last=not left)
        if not left:
            return states
        for place in left:
            if monotonic() - heard[place] > silent_max_s:
                raise Failure(
                    f"nobody owns {place[0]}/{place[1]}: no worker has been heard of "
                    f"for {silent_max_s:.0f} s. The request stays: a worker that runs "
                    "with PLAUDIT_REDIS_URL fulfils it"
                )
        time.sleep(LOOK_EVERY_S)


def _is_done(state: SlotState) -> bool:
    return not state.requested and state.offset is not None


def _copied(state: SlotState) -> int:
    return state.rows if _is_done(state) else state.copied or 0


def _share(state: SlotState) -> float:
    """Return the part of an epoch that is written, as far as one can tell."""
    if _is_done(state):
        return 1.0
    # What was in force tells how much there is to write; at most nearly all of it.
    return min((state.copied or 0) / state.rows, 0.99) if state.rows else 0.0
