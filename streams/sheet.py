"""The sheet of one step: all that it will publish and write, gathered while folding.

Nothing on a sheet has happened yet. The machine publishes it, then stores it; a step
that fails throws its sheet away.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

from rules.ledger import Entry
from rules.message import Message
from rules.outcome import Outcome, Place, Result
from streams.messages import ITEM_BYTES_MAX, too_large
from tables import codec, keys
from tables.store import Batch, Store

RESULT_KEPT_MS: Final = 86_400_000
"""How long result rows, tallies and idempotency keys are kept, by the log's clock."""
EXPIRED_ROWS_MAX: Final = 1_000
"""Rows that one step deletes at most because their time is over."""


class Sheet:
    """Writes and outputs of one step of one partition; a `tables.store.Reader`, too.

    An output that fits in no record is met here, where it is known which record made
    it: `enter`, `send` and `bury` raise `MessageTooLarge`.

    Attributes:
      batch: The step's writes; in the end one WriteBatch.
      outputs: Messages to other aggregates, by (topic, partition), in order.
      entries: Ledger entries as JSON, in order; those of a message joined by commas.
      dead: Dead letters as JSON, in order.
      counts: What the step adds to the partition's counters.
    """

    def __init__(self, store: Store) -> None:
        """Open an empty sheet over a partition's rows."""
        self._store = store
        self._rows: dict[bytes, bytes | None] = {}
        self._tallies: dict[bytes, codec.Tally] = {}
        self._trail: list[bytes] = []
        self._noted: list[bytes] = []
        self.batch: Batch = store.batch()
        self.outputs: dict[tuple[str, int], list[Message]] = {}
        self.entries: list[bytes] = []
        self.dead: list[bytes] = []
        self.counts: dict[str, int] = {}

    def get(self, key: bytes) -> bytes | None:
        """Return a row, the step's own writes included."""
        if key in self._rows:
            return self._rows[key]
        return self._store.get(key)

    def scan(
        self, begin: bytes, end: bytes, *, limit: int | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """Yield the rows of [begin, end) by key, the step's own writes included."""
        rows: dict[bytes, bytes | None] = dict(self._store.scan(begin, end))
        rows |= {key: row for key, row in self._rows.items() if begin <= key < end}
        found = [(key, row) for key, row in sorted(rows.items()) if row is not None]
        yield from found[:limit]

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return many rows, the step's own writes included."""
        return [self.get(key) for key in keys]

    def put(self, key: bytes, value: bytes) -> None:
        """Write a row that the step itself may read again."""
        self._rows[key] = value
        self.batch.put(key, value)

    def delete(self, key: bytes) -> None:
        """Delete a row that the step itself may read again."""
        self._rows[key] = None
        self.batch.delete(key)

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter of the partition."""
        self.counts[name] = self.counts.get(name, 0) + amount

    def enter(self, part: bytes, entries: list[Entry]) -> None:
        """Add the ledger entries of a message to the user that `part` names."""
        for start in range(0, len(entries), codec.ENTRIES_MAX):
            run = entries[start : start + codec.ENTRIES_MAX]
            text = codec.encode_json(run)
            key = keys.entries_from(part, run[0].sequence)
            self.batch.put(key, codec.VERSION + text)
            # The ledger has them in one list with those of other messages.
            listed = text[1:-1]
            if len(listed) > ITEM_BYTES_MAX:
                raise too_large(listed)
            self.entries.append(listed)
            self._trail.append(text)

    def notify(self, part: bytes, outcome: Outcome, kept_max: int) -> None:
        """Add a user's new notifications; the oldest beyond `kept_max` go."""
        for note in outcome.notifications:
            self.batch.put(
                keys.notification(part, note.sequence), codec.notifications.encode(note)
            )
            if note.sequence > kept_max:
                self.batch.delete(keys.notification(part, note.sequence - kept_max))
            self.count("notifications")

    def answer(self, result: Result, clock_ms: int) -> None:
        """Write a command's result row, kept for RESULT_KEPT_MS."""
        value = codec.results.encode(result)
        self.put_for_a_day(keys.result(result.command_id), value, clock_ms)
        self._trail.append(value)

    def put_for_a_day(self, key: bytes, value: bytes, clock_ms: int) -> None:
        """Write a row and note when it goes."""
        self.put(key, value)
        self._note_expiry(clock_ms + RESULT_KEPT_MS, key)

    def send(self, topic: str, partition: int, message: Message) -> None:
        """Add a message to another aggregate."""
        text = codec.encode_json(message)
        if len(text) > ITEM_BYTES_MAX:
            raise too_large(text)
        self.outputs.setdefault((topic, partition), []).append(message)
        self._trail.append(text)

    def bury(self, letter: dict[str, object]) -> None:
        """Add a dead letter."""
        text = codec.encode_json(letter)
        if len(text) > ITEM_BYTES_MAX:
            raise too_large(text)
        self.dead.append(text)
        self._trail.append(text)

    def tally(self, org: str, batch: str, fate: str, place: Place) -> None:
        """Count one action of a batch that somebody waits for."""
        key = keys.tally(org, batch)
        tally = self._tallies.get(key) or self._stored_tally(key)
        if tally is None or place.clock_ms >= tally.expires_at_ms:
            if tally is not None:
                self.batch.delete(keys.expiry(tally.expires_at_ms, key))
            tally = codec.Tally(expires_at_ms=place.clock_ms + RESULT_KEPT_MS)
            self._note_expiry(tally.expires_at_ms, key)
        self._tallies[key] = tally
        setattr(tally, fate, getattr(tally, fate) + 1)

    def _stored_tally(self, key: bytes) -> codec.Tally | None:
        stored = self._store.get(key)
        return None if stored is None else codec.tallies.decode(stored)

    def take_digest(self, previous: str) -> str:
        """Return the running digest after a record's outcomes, and start the next.

        Chained once per record, so it does not depend on how records share steps.
        """
        # Each text is one whole JSON value, so that joined they stay apart.
        trail = b"".join(self._trail)
        self._trail.clear()
        return hashlib.blake2b(previous.encode() + trail, digest_size=16).hexdigest()

    def close(self, row: codec.PartitionRow, expired: bytes) -> bytes:
        """Add the rows that every step ends with: tallies, counters, the position.

        Args:
          row: The position.
          expired: What `close` of the step before returned, or `keys.expiries(-1)`.

        Returns:
          The key below which no expiry row is left; scanning the graves of deleted
          rows again and again would take longer and longer.
        """
        dropped = self._drop_expired(expired, row.clock_ms)
        for key, tally in self._tallies.items():
            # One whose time ended within the step may be gone already.
            if keys.expiry(tally.expires_at_ms, key) not in dropped:
                self.put(key, codec.tallies.encode(tally))
        if self.counts:
            stored = self._store.get(keys.COUNTERS)
            counters = {} if stored is None else codec.counters.decode(stored)
            for name, amount in self.counts.items():
                counters[name] = counters.get(name, 0) + amount
            self.batch.put(keys.COUNTERS, codec.counters.encode(counters))
        self.batch.put(keys.PARTITION, codec.partition_rows.encode(row))
        # Of one instant, the step may have noted a lesser key than it dropped.
        return min([max(dropped, default=expired), *self._noted])

    def _note_expiry(self, expires_at_ms: int, key: bytes) -> None:
        """Note when a row goes."""
        note = keys.expiry(expires_at_ms, key)
        self._noted.append(note)
        self.batch.put(note, codec.VERSION)

    def _drop_expired(self, begin: bytes, clock_ms: int) -> set[bytes]:
        """Delete rows whose time is over; return the keys of their expiry rows."""
        end = keys.expiries(clock_ms)
        dropped = set()
        for key, _value in self._store.scan(begin, end, limit=EXPIRED_ROWS_MAX):
            row_key = keys.expiring_key(key)
            if row_key not in self._rows:  # Else the step wrote it anew.
                self.batch.delete(row_key)
            self.batch.delete(key)
            dropped.add(key)
        return dropped
