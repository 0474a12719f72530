r"""Every value layout: one version byte, then JSON text.

JSON and not MessagePack, because the numbers that users and operators give us are exact
decimals and only text carries them (ADR-0004). Arrays by position keep it small:
``\x01[1700000000000,1700000000000,null,1200,...]``. A reader that meets a version
it does not know stops; older versions are upcast here, step by step, never guessed.
"""

import decimal
from decimal import Decimal
from typing import Any, Generic, TypeVar

import msgspec

from rules.ledger import Entry
from rules.message import JsonObject
from rules.outcome import Notification, Result
from rules.state import Lot, UserState
from tables.errors import UnknownFormat

T = TypeVar("T")

VERSION = b"\x01"
ENTRIES_MAX = 100
"""Ledger entries of one row; a message that makes more has several."""
encode_json = msgspec.json.Encoder(decimal_format="number").encode
"""JSON bytes of any row or message, with Decimals as numbers."""

UNREADABLE = (
    msgspec.DecodeError,
    UnicodeDecodeError,
    decimal.InvalidOperation,
    RecursionError,
)
"""All that decoding bytes which are not our JSON can raise."""


class Codec(Generic[T]):
    """Bytes of one row kind and back."""

    def __init__(self, row_type: Any) -> None:
        """Prepare for one type.

        Args:
          row_type: A msgspec-supported type.
        """
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(
            row_type, float_hook=Decimal
        )

    def encode(self, row: T) -> bytes:
        """Return a row's bytes."""
        return VERSION + encode_json(row)

    def decode(self, value: bytes) -> T:
        """Return the row of some bytes.

        Raises:
          UnknownFormat: Written by a version that this program does not know, or torn.
        """
        if value[:1] != VERSION:
            raise UnknownFormat(f"row format {value[:1]!r} is not known here")
        try:
            return self._decoder.decode(value[1:])
        except UNREADABLE as error:
            raise UnknownFormat(f"row cannot be read: {error}") from error


class PartitionRow(msgspec.Struct, array_like=True):
    """How far a partition is folded: the row that makes every step atomic.

    Attributes:
      log_id: The log these rows were folded from.
      offset: Applied offset; -1: nothing yet.
      record_hash: blake2b-128 of the record at `offset`, hex.
      number: Messages folded so far.
      clock_ms: Largest stamp so far.
      digest: Running digest of outcomes, hex; chained once per record.
      semantics_version: In force; from the genesis record.
      partitions: Number of `users` partitions; from the genesis record.
      tzdata_version: Time-zone data in force; from the genesis record.
    """

    log_id: str
    offset: int
    record_hash: str
    number: int
    clock_ms: int
    digest: str
    semantics_version: int
    partitions: int
    tzdata_version: str


class Heartbeat(msgspec.Struct, array_like=True):
    """Liveness row that the owner rewrites when idle and after a flush.

    Attributes:
      beat: Counts up; only its change matters.
      wall_ms: Wall clock of the owner.
      parked_offset: Offset at which the partition stands parked; None: it runs.
      parked_reason: Why, and what to do.
      snapshot_offset: Last offset of the newest snapshot that the owner knows of.
      snapshot_wall_ms: When that was complete.
      snapshot_failures: Attempts in a row that failed since.
      manifest: How far RocksDB's MANIFEST goes (tables/manifest.py); None: not known.
    """

    beat: int
    wall_ms: int
    parked_offset: int | None = None
    parked_reason: str | None = None
    snapshot_offset: int | None = None
    snapshot_wall_ms: int | None = None
    snapshot_failures: int = 0
    manifest: tuple[int, int] | None = None


class DedupeRow(msgspec.Struct, array_like=True):
    """Where the seen event ids of a partition may stand.

    Attributes:
      horizon_ms: The longest dedupe horizon of any org so far.
      kept: Whether any id was ever kept for good.
    """

    horizon_ms: int = 0
    kept: bool = False


class Mark(msgspec.Struct, array_like=True):
    """Greatest (number, ordinal) folded from one source partition."""

    number: int
    ordinal: int


class Tally(msgspec.Struct, array_like=True):
    """What became of a batch's actions in one partition, and until when it is kept."""

    applied: int = 0
    duplicate: int = 0
    too_late: int = 0
    refused: int = 0
    expires_at_ms: int = 0


class Delta(msgspec.Struct, array_like=True, frozen=True):
    """Which rows of the mirror a step changed; their values stand in the rows.

    Attributes:
      first: First offset of the step.
      last: Last offset of the step.
      keys: Keys that it wrote or deleted.
    """

    first: int
    last: int
    keys: list[bytes]


class IdempotencyRow(msgspec.Struct, array_like=True):
    """The first answer given under an idempotency key.

    Attributes:
      request_hash: Hash of (name, target, body) of the first request, hex.
      result: The answer to repeat.
      expires_at_ms: Clock from which on the key is free again.
    """

    request_hash: str
    result: Result
    expires_at_ms: int


def encode_until(until_ms: int) -> bytes:
    """Return the value of a seen event id: until when (ms) it is a duplicate."""
    return VERSION + until_ms.to_bytes(8, "big")


def decode_until(value: bytes) -> int:
    """Return the clock (ms, inclusive) of a seen event id's value.

    Raises:
      UnknownFormat: As `Codec.decode`.
    """
    if len(value) != 9 or value[:1] != VERSION:
        raise UnknownFormat(f"row format {value[:1]!r} is not known here")
    return int.from_bytes(value[1:], "big")


_encode_delta = msgspec.msgpack.Encoder().encode
_delta_decoder = msgspec.msgpack.Decoder(Delta)


def encode_delta(delta: Delta) -> bytes:
    """Return the value of a mirror delta: MessagePack, because keys are no text."""
    return VERSION + _encode_delta(delta)


def decode_delta(value: bytes) -> Delta:
    """Return a mirror delta.

    Raises:
      UnknownFormat: As `Codec.decode`.
    """
    if value[:1] != VERSION:
        raise UnknownFormat(f"row format {value[:1]!r} is not known here")
    try:
        return _delta_decoder.decode(value[1:])
    except UNREADABLE as error:
        raise UnknownFormat(f"row cannot be read: {error}") from error


states: Codec[UserState] = Codec(UserState)
entries: Codec[list[Entry]] = Codec(list[Entry])
lots: Codec[Lot] = Codec(Lot)
notifications: Codec[Notification] = Codec(Notification)
results: Codec[Result] = Codec(Result)
partition_rows: Codec[PartitionRow] = Codec(PartitionRow)
heartbeats: Codec[Heartbeat] = Codec(Heartbeat)
marks: Codec[Mark] = Codec(Mark)
dedupe_rows: Codec[DedupeRow] = Codec(DedupeRow)
tallies: Codec[Tally] = Codec(Tally)
idempotency_rows: Codec[IdempotencyRow] = Codec(IdempotencyRow)
config_rows: Codec[JsonObject] = Codec(JsonObject)
numbers: Codec[int] = Codec(int)
counters: Codec[dict[str, int]] = Codec(dict[str, int])
