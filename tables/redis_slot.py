"""One partition's slot in Redis: what may be asked of it. See tables/redis_scripts.py.

Each call is one script, so it happens as a whole or not at all, and one round trip.
Several slots of one Redis may be read in one round trip, too.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from tables import redis_scripts
from tables.errors import MirrorSpoiled, MirrorUnavailable
from tables.redis_client import RedisClient
from tables.redis_clock import RedisClock

PART_ROWS_MAX: Final = 10_000
PART_BYTES_MAX: Final = 4_000_000
"""What one call adds to a draft at most; it keeps Redis busy for some 20 ms."""
TOGETHER_MAX: Final = 128
"""Slots that are read in one round trip; more would keep other clients waiting."""

SCANNED_TOGETHER: Final = 1_000
"""Names of keys that Redis looks at in one call."""
UNKNOWN_AGE_MS: Final = 30 * 86_400_000
"""How old rows are said to be of which nobody knows."""
_GLOB: Final = re.compile(r"[][*?\\^]")
_NUMBER: Final = re.compile(rb"-?[0-9]{1,15}")

Writes: TypeAlias = Mapping[bytes, bytes | None]
"""Row key -> its value, None: it is deleted."""


class Answer(NamedTuple):
    """What a script says of a slot.

    Attributes:
      verdict: ``OK``, or why nothing was done (tables/redis_scripts.py).
      offset: The slot's position before; None: no epoch is in force.
      requested: Whether somebody asked for a new epoch.
    """

    verdict: str
    offset: int | None
    requested: bool


class Found(NamedTuple):
    """Rows of one instant.

    Attributes:
      age_ms: How long ago the owner said that this is how it stands.
      beat_age_ms: How long ago an owner was heard of; None: it did not say.
      values: Values of the rows asked for, in their order.
      lists: (key, value) of each list asked for.
    """

    age_ms: int
    beat_age_ms: int | None
    values: list[bytes | None]
    lists: list[list[tuple[bytes, bytes]]]


class SlotState(NamedTuple):
    """What an operator wants to know of a slot.

    Attributes:
      offset: The position in force; None: there is none.
      requested: Whether a new epoch was asked for and is not in force yet.
      copied: Rows that the new epoch holds so far; None: none is being written.
      rows: Rows in force.
      sign: Changes whenever the owner is heard of.
    """

    offset: int | None
    requested: bool
    copied: int | None
    rows: int
    sign: tuple[bytes | None, ...]


class RedisSlot:
    """The slot of one partition of one log. Safe for threads."""

    def __init__(
        self, client: RedisClient, log_id: str, topic: str, partition: int
    ) -> None:
        """Name a slot; nothing is sent."""
        self.client = client
        self.topic = topic
        self.partition = partition
        self.name = f"plaudit:{{{log_id}/{topic}/{partition}}}"
        script = client.raw.register_script
        self._step = script(redis_scripts.STEP)
        self._beat = script(redis_scripts.BEAT)
        self._begin = script(redis_scripts.BEGIN)
        self._fill = script(redis_scripts.FILL)
        self._swap = script(redis_scripts.SWAP)
        self._read = script(redis_scripts.READ)
        self._clear = script(redis_scripts.CLEAR)
        self._sweep = script(redis_scripts.SWEEP)
        self._clock = RedisClock()

    def step(self, first: int, last: int, writes: Writes, *, age_ms: int = 0) -> Answer:
        """Apply a step, if the slot stands right before it or within it.

        Args:
          first: First offset of the step.
          last: Last offset of the step.
          writes: The rows as they are after it; with the partition row.
          age_ms: How long ago this was all that the log held.

        Returns:
          ``OK``; ``KNOWN``: it holds the step already; ``GAP``: what comes before the
          step is missing; ``GONE``: there is no epoch. All rows are one call, however
          many: of a step in parts readers would see one, and another owner's step could
          come between them.
        """
        arguments = [first, last, self._sent_ms(), age_ms, *_packed(writes)]
        return self._answer(self._call(self._step, arguments))

    def beat(
        self, applied: int, partition_row: bytes, heartbeat: bytes, age_ms: int = 0
    ) -> Answer:
        """Say that the owner lives and stands at a position.

        Args:
          applied: The position.
          partition_row: The partition row there.
          heartbeat: The heartbeat row.
          age_ms: How long ago this was all that the log held, as far as the owner
            knows; one whom the log does not reach lives on, but its rows grow old.

        Returns:
          ``OK``; ``GAP`` or ``AHEAD``: the slot's position is another; ``DIFFERS``: it
          is the same, but the slot was folded otherwise; ``GONE``: there is no epoch.
        """
        arguments = [applied, partition_row, heartbeat, self._sent_ms(), age_ms]
        return self._answer(self._call(self._beat, arguments))

    def begin(self, draft: str, applied: int, *, force: bool = False) -> bool:
        """Begin a new epoch; False where an owner that is further on writes one.

        Args:
          draft: Its name.
          applied: The owner's position.
          force: The other is of a history that the log does not have.
        """
        arguments = [draft, applied, int(force)]
        return bool(self._call(self._begin, arguments) == b"OK")

    def fill(self, draft: str, applied: int, copied: int, writes: Writes) -> bool:
        """Store rows in a draft; False where it is the draft no longer.

        Args:
          draft: Its name.
          applied: The owner's position.
          copied: How many of the rows are new to it, for those who watch.
          writes: The rows.
        """
        for part, is_last in parts(writes):
            counted = copied if is_last else 0
            arguments = [draft, applied, counted, *_packed(part)]
            if self._call(self._fill, arguments) != b"OK":
                return False
        return True

    def swap(self, draft: str, applied: int, *, force: bool, age_ms: int = 0) -> bool:
        """Put a draft in force; False where it is lost or behind what is in force."""
        arguments = [draft, applied, int(force), self._sent_ms(), age_ms]
        return bool(self._call(self._swap, arguments) == b"OK")

    def read(
        self,
        points: Sequence[bytes],
        lists: Sequence[tuple[bytes, bytes, int | None]] = (),
    ) -> Found | None:
        """Read rows that belong together; None where no epoch is in force.

        Args:
          points: Keys of rows.
          lists: (begin, end, most rows or None) of kinds that are read as lists.
        """
        arguments: list[Any] = [len(points), *points]
        for begin, end, limit in lists:
            arguments += [begin, end, -1 if limit is None else limit]
        return _found(self._call(self._read, arguments))

    def ask_in(self, pipeline: Any, points: Sequence[bytes]) -> None:
        """Put the question for rows into a pipeline; see `read_each`."""
        arguments = [len(points), *points]
        self._read(keys=[self.name], args=arguments, client=pipeline)

    def draft_rows(self) -> tuple[bytes | None, bytes | None, int | None]:
        """Return partition row and heartbeat of an owner without an epoch.

        And how long ago (ms) it was heard of, or None where it did not say.
        """
        names = ("draft_row", "draft_beat", "beat_at")
        with self.client.calling() as raw, raw.pipeline(transaction=False) as pipeline:
            pipeline.hmget(self.name, names)
            pipeline.time()
            (row, beat, beat_at), time = pipeline.execute()
        return row, beat, _age_ms(_clock_ms(time), _number(beat_at))

    def sweep(self) -> None:
        """Remove epochs that nothing names: the slot's key was lost, theirs were not.

        Looks through the names of all keys of this Redis, some a call.
        """
        pattern = _GLOB.sub(r"\\\g<0>", self.name) + ":*"
        begin = len(self.name) + 1
        with self.client.calling() as raw:
            found = {
                key[begin:].partition(b":")[0]
                for key in raw.scan_iter(match=pattern, count=SCANNED_TOGETHER)
            }
        if found:
            self._call(self._sweep, sorted(found))

    def clear(self) -> None:
        """Forget what is in force and drafts, if it is not what an owner writes."""
        self._call(self._clear, [])

    def request(self) -> None:
        """Ask the owner for a new epoch; it begins at its next step or heartbeat."""
        try:
            self._request()
        except MirrorSpoiled:
            self.clear()
            self._request()

    def _request(self) -> None:
        with self.client.calling() as raw:
            raw.hset(self.name, "request", "1")

    def state(self) -> SlotState:
        """Return how a slot stands; one that somebody else wrote is as none."""
        try:
            return self._state()
        except MirrorSpoiled:
            return SlotState(None, requested=False, copied=None, rows=0, sign=())

    def _state(self) -> SlotState:
        names = ("epoch", "offset", "request", "copied", "at", "beat_at")
        with self.client.calling() as raw:
            epoch, offset, request, copied, *sign = raw.hmget(self.name, names)
            rows_key = b"%s:%s:rows" % (self.name.encode(), epoch or b"")
            fields = 0 if epoch is None else raw.hlen(rows_key)
        rows = max(fields - 1, 0)  # One is the mark.
        return SlotState(
            offset=_number(offset) if rows else None,
            requested=request is not None,
            copied=_number(copied),
            rows=rows,
            sign=(copied, *sign),
        )

    def ask_clock(self) -> None:
        """Ask what Redis' clock shows; how old a step is, is said by it."""
        with self.client.calling() as raw:
            time = raw.time()
        self._clock.hear(_clock_ms(time))

    def _sent_ms(self) -> int:
        """Return what Redis' clock shows now, at least."""
        while (now_ms := self._clock.read_ms()) is None:
            self.ask_clock()
        return now_ms

    def _answer(self, raw: Any) -> Answer:
        if not isinstance(raw, list) or len(raw) < 2:
            raise MirrorUnavailable(
                f"Redis answers {raw!r}, which is no answer to a step"
            )
        verdict, now_ms, *held = raw
        self._clock.hear(now_ms)
        offset = held[0] if held else None
        requested = len(held) > 1 and held[1] is not None
        return Answer(verdict.decode(), offset, requested=requested)

    def _call(self, script: Any, arguments: Sequence[Any]) -> Any:
        with self.client.calling():
            return script(keys=[self.name], args=arguments)


def read_each(
    slots: Sequence[RedisSlot], points: Sequence[bytes]
) -> list[Found | None]:
    """Read the same rows of several slots in one round trip, each slot as `read` does.

    A second one asks whether Redis knows the script. What is of two slots need not be
    of one instant.

    Args:
      slots: Of one Redis, 1..`TOGETHER_MAX`.
      points: Keys of rows.
    """
    client = slots[0].client
    with client.calling() as raw, raw.pipeline(transaction=False) as pipeline:
        for slot in slots:
            slot.ask_in(pipeline, points)
        return [_found(answer) for answer in pipeline.execute()]


def parts(writes: Writes) -> Iterator[tuple[Writes, bool]]:
    """Cut writes to the size of one call; yield parts and whether each is the last."""
    part: dict[bytes, bytes | None] = {}
    size = 0
    for key, value in writes.items():
        grown = len(key) + len(value or b"")
        if part and (len(part) >= PART_ROWS_MAX or size + grown > PART_BYTES_MAX):
            yield part, False
            part, size = {}, 0
        part[key] = value
        size += grown
    yield part, True


def _packed(writes: Writes) -> list[Any]:
    """Return what the scripts' `store` takes."""
    pairs: list[bytes] = []
    deletes: list[bytes] = []
    for key, value in writes.items():
        if value is None:
            deletes.append(key)
        else:
            pairs += (key, value)
    return [len(pairs) // 2, *pairs, *deletes]


def _found(raw: Any) -> Found | None:
    """Return what the script that reads has answered; None: no epoch is in force."""
    if not raw:
        return None
    now_ms, at_ms, beat_at, values, raw_lists = raw
    pairs = zip(raw_lists[::2], raw_lists[1::2], strict=True)
    return Found(
        _age_ms(now_ms, at_ms) or 0,
        _age_ms(now_ms, _number(beat_at)),
        values,
        [list(zip(*pair, strict=True)) for pair in pairs],
    )


def _age_ms(now_ms: int, then_ms: int | None) -> int | None:
    """Return how long ago something was, by Redis' clock; None: it is not known when.

    What lies ahead is of before the clock was set back.
    """
    if then_ms is None:
        return None
    return now_ms - then_ms if then_ms <= now_ms else UNKNOWN_AGE_MS


def _clock_ms(time: tuple[int, int]) -> int:
    """Return what Redis' TIME says, ms since the epoch."""
    seconds, micros = time
    return seconds * 1_000 + micros // 1_000


def _number(text: bytes | None) -> int | None:
    """Return a number as it is stored; None where there is none, or something else."""
    return int(text) if text and _NUMBER.fullmatch(text) else None
