"""What a data folder is doing, read from its log and tables."""

import msgspec

from plaudit.commanding import is_fresh
from plaudit.credentials import NoCredentials, read_credentials
from plaudit.wiring import Parts
from streams.topics import DEAD, DEAD_LETTERS, ORGS, USERS
from tables.codec import Heartbeat, PartitionRow
from tables.errors import ViewUnavailable


class PartitionStatus(msgspec.Struct, rename="camel", kw_only=True):
    """How far one partition is folded.

    Attributes:
      state: ``current``, ``behind``, ``parked``, ``rebuilding`` (cannot be read yet) or
        ``new`` (no tables yet).
      applied_offset: Last offset that the tables hold; -1: none.
      end_offset: Offset that the next record will get.
      lag: Records between the two.
      worker_alive: Its worker has shown itself lately. Where one of several has gone,
        its partitions are without for some seconds, until another takes them.
      parked_offset: Where it stands parked, or None.
      reason: Why it is parked, and what to do.
    """

    topic: str
    partition: int
    state: str
    applied_offset: int
    end_offset: int
    lag: int
    worker_alive: bool
    parked_offset: int | None = None
    reason: str | None = None


class Status(msgspec.Struct, rename="camel", kw_only=True):
    """The whole of it.

    Attributes:
      healthy: Every partition has a worker and none is parked.
      worker_alive: A worker runs: some partition has one.
      dead_letters: Records of refused messages.
    """

    url: str | None
    log_id: str
    healthy: bool
    worker_alive: bool
    dead_letters: int
    partitions: list[PartitionStatus]


def read_status(parts: Parts) -> Status:
    """Return the status of an opened data folder."""
    places = [(ORGS, 0), *((USERS, number) for number in range(parts.partitions))]
    partitions = [_partition(parts, *place) for place in places]
    healthy = all(one.worker_alive and one.parked_offset is None for one in partitions)
    # The first record of every partition is the genesis.
    dead_letters = max(parts.log.end_offset(DEAD, DEAD_LETTERS) - 1, 0)
    return Status(
        url=_url(parts),
        log_id=parts.log.log_id,
        healthy=healthy,
        worker_alive=any(one.worker_alive for one in partitions),
        dead_letters=dead_letters,
        partitions=partitions,
    )


def _url(parts: Parts) -> str | None:
    """Return where the API listens, or None where credentials.json is lost."""
    try:
        return read_credentials(parts.folder.credentials()).url
    except NoCredentials:
        return None


def parked_offset(parts: Parts, topic: str, partition: int) -> int | None:
    """Return the offset at which a partition stands parked, or None."""
    heartbeat = _look(parts, topic, partition)[1]
    return None if heartbeat is None else heartbeat.parked_offset


def _partition(parts: Parts, topic: str, partition: int) -> PartitionStatus:
    end = parts.log.end_offset(topic, partition)
    row, heartbeat, readable = _look(parts, topic, partition)
    applied = -1 if row is None else row.offset
    parked = None if heartbeat is None else heartbeat.parked_offset
    state = "new" if row is None else "behind"
    if applied == end - 1:
        state = "current"
    if row is not None and not readable:
        state = "rebuilding"
    if parked is not None:
        state = "parked"
    return PartitionStatus(
        topic=topic,
        partition=partition,
        state=state,
        applied_offset=applied,
        end_offset=end,
        lag=max(end - 1 - applied, 0),
        worker_alive=is_fresh(heartbeat),
        parked_offset=parked,
        reason=None if heartbeat is None else heartbeat.parked_reason,
    )


def _look(
    parts: Parts, topic: str, partition: int
) -> tuple[PartitionRow | None, Heartbeat | None, bool]:
    """Return position, heartbeat, and whether the tables can be read."""
    view = parts.view
    try:
        row = view.position(topic, partition)
        return row, view.heartbeat(topic, partition), True
    except ViewUnavailable:
        draft = view.draft(topic, partition)
    return (None, None, False) if draft is None else (*draft, False)
