"""The mirror of one partition's rows in Redis, written by the partition's owner.

`advance` does one bounded piece of work. A slot that stands right before a step gets
the step. One that is some steps behind gets the rows that those steps changed, as they
are now. One that is further behind, or gone, or was folded otherwise, gets a new epoch:

    begin a draft -> copy the rows chunk by chunk, in key order; steps that come
    meanwhile are written to the draft, too -> put it in force

A row is copied as it is at that moment, and every later change of it follows with its
step, so that at the end the draft is what the rows are. Readers see what was in force,
and its steps, until then.
"""

import secrets
from collections.abc import Callable
from typing import Final

import msgspec

from tables import keys
from tables.errors import MirrorSpoiled
from tables.mirror import MirroredStore, StepWrites
from tables.redis_slot import PART_BYTES_MAX, UNKNOWN_AGE_MS, Answer, RedisSlot

COPY_ROWS_MAX: Final = 5_000
"""Rows of one piece of a copy; the partition waits for it, some 50 ms."""
REPLAY_ROWS_MAX: Final = 50_000
"""Rows that a replay of deltas writes at most, in one call of some 100 ms; beyond, a
new epoch is written."""
REPLAY_BYTES_MAX: Final = 32_000_000
"""Size of their values, likewise."""


class _Draft(msgspec.Struct):
    """An epoch that is being written.

    Attributes:
      name: Its name; nobody else's is the same.
      kinds: Kinds of rows that are not all copied yet, ascending.
      cursor: Where the copy goes on.
    """

    name: str
    kinds: list[int]
    cursor: bytes


class RedisMirror:
    """See the module. Not safe for threads: one call at a time."""

    def __init__(
        self,
        slot: RedisSlot,
        store: MirroredStore,
        kinds: frozenset[int],
        log_end: Callable[[], int],
        age_ms: Callable[[int], int | None],
    ) -> None:
        """Bind a slot to the rows; nothing is sent yet.

        Args:
          slot: The partition's slot.
          store: Its rows.
          kinds: Kinds of rows that are mirrored.
          log_end: Returns the offset that the partition's next record will get.
          age_ms: Returns how long ago the rows were all that the log held, given
            their next offset; None: that is not known.
        """
        self._slot = slot
        self._store = store
        self._kinds = kinds
        self._log_end = log_end
        self._rows_age_ms = age_ms
        self._checked = False
        self._step: StepWrites | None = None
        self._beat: bytes | None = None
        self._draft: _Draft | None = None
        self._wanted = False
        self._forced = False
        store.tell(self)

    @property
    def pending(self) -> bool:
        """Whether `advance` has anything to do."""
        return not (self._step is None and self._beat is None and self._draft is None)

    @property
    def copying(self) -> bool:
        """Whether a new epoch is being written, which `advance` goes on with."""
        return self._draft is not None

    def take_step(self, step: StepWrites) -> None:
        """Take note of a step that is stored; the next `advance` mirrors it."""
        if self._step is not None:
            # The one before is in the deltas, but a draft would never get it.
            self._draft = None
        self._step = step

    def take_beat(self, heartbeat: bytes) -> None:
        """Take note of a heartbeat row that is stored."""
        self._beat = heartbeat

    def advance(self, *, readable: bool) -> None:
        """Do one bounded piece of work; after a failure, the same call does it again.

        Args:
          readable: Whether readers may see the rows: a new epoch waits for it.

        Raises:
          MirrorUnavailable: Redis does not answer, or not now.
          MirrorSpoiled: Somebody else wrote there; the next call begins a new epoch.
          MirrorUnusable: It cannot be used as it is set up.
        """
        try:
            self._advance(readable=readable)
        except MirrorSpoiled:
            # Redis is never the only place of anything. What a newer owner has mended
            # meanwhile stays.
            self._slot.clear()
            self._draft = None
            raise

    def _advance(self, *, readable: bool) -> None:
        if not self._checked:
            self._slot.client.check()
            self._slot.ask_clock()
            self._checked = True
        if self._step is not None:
            self._send_step(self._step)
            self._step = None
        if self._beat is not None:
            self._send_beat(self._beat)
            self._beat = None
        if self._wanted and readable and self._draft is None:
            self._begin()
        if self._draft is not None:
            self._copy(self._draft)

    def _send_step(self, step: StepWrites) -> None:
        age_ms = self._age_ms()
        answer = self._slot.step(step.first, step.last, step.writes, age_ms=age_ms)
        self._look_at(answer)
        draft = self._draft
        if draft is not None and not self._slot.fill(
            draft.name, step.last, 0, step.writes
        ):
            self._draft = None

    def _send_beat(self, heartbeat: bytes) -> None:
        row = self._store.get(keys.PARTITION)
        if row is not None:
            applied, age_ms = self._store.applied, self._age_ms()
            self._look_at(self._slot.beat(applied, row, heartbeat, age_ms))

    def _age_ms(self) -> int:
        """Return how long ago the rows were all that the log held, at most."""
        age_ms = self._rows_age_ms(self._store.applied + 1)
        return UNKNOWN_AGE_MS if age_ms is None else age_ms

    def _look_at(self, answer: Answer) -> None:
        """Find out from a slot's answer whether it needs a new epoch."""
        offset = answer.offset
        if offset is None or answer.verdict == "DIFFERS" or answer.requested:
            self._wanted = True
        if offset is None:
            return
        if answer.verdict == "GAP":
            self._wanted |= not self._replay(offset)
        elif answer.verdict == "AHEAD" and offset >= self._log_end():
            # Of a history that the log does not have: an older copy was restored.
            self._wanted = self._forced = True

    def _replay(self, offset: int) -> bool:
        """Bring a slot that is at `offset` to the rows; False: it is too far behind."""
        deltas = [delta for delta in self._store.deltas() if delta.last > offset]
        if not deltas or deltas[0].first > offset + 1:
            return False
        changed = list(dict.fromkeys(key for delta in deltas for key in delta.keys))
        if len(changed) > REPLAY_ROWS_MAX:
            return False
        writes = dict(zip(changed, self._store.get_many(changed), strict=True))
        if sum(len(value or b"") for value in writes.values()) > REPLAY_BYTES_MAX:
            return False
        first, applied = deltas[0].first, self._store.applied
        answer = self._slot.step(first, applied, writes, age_ms=self._age_ms())
        return answer.verdict in ("OK", "KNOWN")

    def _begin(self) -> None:
        # What was in force may be gone because a changed Redis evicted it.
        self._slot.client.check()
        name = secrets.token_hex(8)
        if self._slot.begin(name, self._store.applied, force=self._forced):
            self._slot.sweep()
            kinds = sorted(self._kinds)
            self._draft = _Draft(name, kinds, bytes(kinds[:1]))

    def _copy(self, draft: _Draft) -> None:
        """Copy the next rows; after the last, put the draft in force."""
        rows, following = self._next_rows(draft)
        applied = self._store.applied
        if not self._slot.fill(draft.name, applied, len(rows), rows):
            self._draft = None
            return
        self._draft = following
        if not following.kinds:
            age_ms = self._age_ms()
            self._slot.swap(draft.name, applied, force=self._forced, age_ms=age_ms)
            # Where it was refused, the slot's next answer says what it needs.
            self._draft = None
            self._wanted = self._forced = False

    def _next_rows(self, draft: _Draft) -> tuple[dict[bytes, bytes | None], _Draft]:
        """Return rows of bounded number and size, and where the copy goes on then."""
        rows: dict[bytes, bytes | None] = {}
        size = 0
        kinds, cursor = draft.kinds, draft.cursor
        while kinds:
            for key, value in self._store.scan(cursor, keys.prefix_end(cursor[:1])):
                if len(rows) >= COPY_ROWS_MAX or size >= PART_BYTES_MAX:
                    return rows, _Draft(draft.name, kinds, key)
                rows[key] = value
                size += len(key) + len(value)
            kinds = kinds[1:]
            cursor = bytes(kinds[:1])
        return rows, _Draft(draft.name, kinds, cursor)
