r"""Every row key, in one place. Keys sort the way the rows are read.

A key is one kind byte, then its parts. Org and user ids hold no control characters, so
``\x00`` ends them; integers are big-endian; a cap's day and a lot's expiry may lie
before 1970 and are raised by a bias; newest-first rows store the complement of their
sequence.

    01                                   partition row
    02                                   heartbeat
    03 topic 00 partition(4)             high-water mark of a source
    04 org 00 batch                      tally of a batch
    05                                   counters of outcomes since the beginning
    06                                   where seen event ids may stand
    07 last offset(8)                    what a step changed in the mirror
    10 org 00 user 00                    user state
    11 org 00 user 00 ~sequence(8)       ledger entries of a message, by the first
    12 org 00 user 00 ~sequence(8)       notification
    13 bucket(4) hash(16)                seen event id; the bucket is dropped whole
    14 org 00 user 00 day(5) rest        cap counter
    15 org 00 user 00 currency 00 expires_at_ms(8) sequence(8)   lot
    20 org                               config version
    21 org 00 kind 00 id                 config row
    30 command id                        result row
    31 expires_at_ms(8) key              a row to delete once the clock is past
    32 hash(16)                          idempotency key
"""

import hashlib
from typing import Final

PARTITION: Final = b"\x01"
HEARTBEAT: Final = b"\x02"
COUNTERS: Final = b"\x05"
DEDUPE: Final = b"\x06"
SEQUENCE_MAX: Final = (1 << 64) - 1
_EVENT_HASH: Final = hashlib.blake2b(digest_size=16)
DAY_BIAS: Final = 1 << 39
INSTANT_BIAS: Final = 1 << 63
FOREVER_BUCKET: Final = (1 << 32) - 1
BUCKET_MS: Final = 28 * 86_400_000
"""Width of a dedupe bucket: with the default horizon of 7 days one is live three
quarters of the time, and two in between. An id is looked up in each."""


KINDS: Final = {
    0x01: "partition row",
    0x02: "heartbeat",
    0x03: "high-water mark",
    0x04: "tally",
    0x05: "counters",
    0x06: "dedupe row",
    0x07: "mirror delta",
    0x10: "user state",
    0x11: "ledger entries",
    0x12: "notification",
    0x13: "seen event id",
    0x14: "cap counter",
    0x15: "lot",
    0x20: "config version",
    0x21: "config row",
    0x30: "result",
    0x31: "expiry",
    0x32: "idempotency key",
}
"""What each kind byte stands for, in words."""
_READ_EVERYWHERE: Final = frozenset(
    {0x01, 0x02, 0x04, 0x05, 0x10, 0x11, 0x12, 0x15, 0x30}
)
_CONFIG: Final = frozenset({0x20, 0x21})


def read_kinds(topic: str) -> frozenset[int]:
    """Return the kinds of rows of a partition of `topic` that a mirror has.

    Those that readers ask for, without seen ids: there is one for each action of weeks.
    Config stands in every partition, for the fold; it is read from ``orgs`` alone.
    """
    return _READ_EVERYWHERE | _CONFIG if topic == "orgs" else _READ_EVERYWHERE


def kind_of(key: bytes) -> str:
    """Return in words what kind of row a key names."""
    return KINDS.get(key[0], "unknown row") if key else "unknown row"


def prefix_end(prefix: bytes) -> bytes:
    """Return the least key greater than every key that begins with `prefix`."""
    head = prefix.rstrip(b"\xff")
    return head[:-1] + bytes([head[-1] + 1])


def mark(topic: str, partition: int) -> bytes:
    """Key of the high-water mark of one source partition."""
    return b"\x03" + topic.encode() + b"\0" + partition.to_bytes(4, "big")


def tally(org: str, batch: str) -> bytes:
    """Key of a batch's tally."""
    return b"\x04" + org.encode() + b"\0" + batch.encode()


def delta(last_offset: int) -> bytes:
    """Key of the mirror delta of the step that ended at an offset."""
    return b"\x07" + last_offset.to_bytes(8, "big")


def user_part(org: str, user: str) -> bytes:
    """The part of a key that names a user."""
    return org.encode() + b"\0" + user.encode() + b"\0"


def user(org: str, user: str) -> bytes:
    """Key of a user's state."""
    return state(user_part(org, user))


def state(part: bytes) -> bytes:
    """Key of the state of the user that `part` names."""
    return b"\x10" + part


def users_of(org: str) -> bytes:
    """Prefix of all user states of an org, by user id."""
    return b"\x10" + org.encode() + b"\0"


def entries(part: bytes) -> bytes:
    """Prefix of a user's rows of ledger entries, newest first."""
    return b"\x11" + part


def entries_from(part: bytes, sequence: int) -> bytes:
    """Key of a row of ledger entries, of which the first has a sequence."""
    return b"\x11" + part + (SEQUENCE_MAX - sequence).to_bytes(8, "big")


def notifications(part: bytes) -> bytes:
    """Prefix of a user's notifications, newest first."""
    return b"\x12" + part


def notification(part: bytes, sequence: int) -> bytes:
    """Key of one notification of a user."""
    return b"\x12" + part + (SEQUENCE_MAX - sequence).to_bytes(8, "big")


def event_hash(org: str, user: str, event_id: str) -> bytes:
    """Return the 16 bytes that stand for (org, user, eventId)."""
    digest = _EVENT_HASH.copy()
    digest.update(f"{org}\0{user}\0{event_id}".encode())
    return digest.digest()


def live_buckets(clock_ms: int, horizon_ms: int, *, kept: bool) -> list[int]:
    """Return the buckets where ids may stand that are duplicates at a clock or later.

    Args:
      clock_ms: The partition's clock.
      horizon_ms: The longest dedupe horizon of any org so far.
      kept: Whether any id was ever kept for good.
    """
    last = (clock_ms + horizon_ms) // BUCKET_MS
    buckets = list(range(clock_ms // BUCKET_MS, last + 1))
    return [*buckets, FOREVER_BUCKET] if kept else buckets


def seen_bucket(bucket: int) -> bytes:
    """Prefix of all event ids whose expiry lies in one bucket."""
    return b"\x13" + bucket.to_bytes(4, "big")


def seen(bucket: int, event: bytes) -> bytes:
    """Key of a seen event id, by `event_hash`."""
    return b"\x13" + bucket.to_bytes(4, "big") + event


def newest_first(prefix: bytes, below: int | None) -> bytes:
    """Return where entries or notifications of sequence < `below` begin.

    Args:
      prefix: Of the list, from `entries` or `notifications`.
      below: Any integer, as a client's cursor may hold; None: the newest.
    """
    if below is None or below > SEQUENCE_MAX:
        return prefix
    if below < 1:
        return prefix_end(prefix)
    return prefix + (SEQUENCE_MAX - below + 1).to_bytes(8, "big")


def caps(part: bytes) -> bytes:
    """Prefix of a user's cap counters, by first day of the period."""
    return b"\x14" + part


def caps_from(part: bytes, day: int) -> bytes:
    """First possible key of a user's cap counters of a day."""
    return b"\x14" + part + (day + DAY_BIAS).to_bytes(5, "big")


def cap(part: bytes, day: int, period: str, scope: str, measure: str) -> bytes:
    """Key of one cap counter of a user."""
    rest = f"{period}\0{scope}\0{measure}".encode()
    return caps_from(part, day) + rest


def all_lots(part: bytes) -> bytes:
    """Prefix of a user's lots, by wallet, then soonest expiry first."""
    return b"\x15" + part


def lots(part: bytes, currency: str) -> bytes:
    """Prefix of a wallet's lots, soonest expiry first."""
    return b"\x15" + part + currency.encode() + b"\0"


def lot(part: bytes, currency: str, expires_at_ms: int, sequence: int) -> bytes:
    """Key of one lot."""
    expires = (expires_at_ms + INSTANT_BIAS).to_bytes(8, "big")
    tail = expires + sequence.to_bytes(8, "big")
    return b"\x15" + part + currency.encode() + b"\0" + tail


def config_version(org: str) -> bytes:
    """Key of an org's config version."""
    return b"\x20" + org.encode()


def config_rows(org: str, kind: str | None = None) -> bytes:
    """Prefix of an org's config rows, of one kind or all."""
    head = b"\x21" + org.encode() + b"\0"
    return head if kind is None else head + kind.encode() + b"\0"


def config_row(org: str, kind: str, row_id: str) -> bytes:
    """Key of one config row."""
    return config_rows(org, kind) + row_id.encode()


def result(command_id: str) -> bytes:
    """Key of a command's result row."""
    return b"\x30" + command_id.encode()


def expiry(expires_at_ms: int, key: bytes) -> bytes:
    """Key that says when another row goes."""
    return b"\x31" + expires_at_ms.to_bytes(8, "big") + key


def expiring_key(key: bytes) -> bytes:
    """Return the key of the row that an expiry row speaks of."""
    return key[9:]


def expiries(until_ms: int) -> bytes:
    """Least key above the expiry rows that are due at a clock; -1: of none."""
    return b"\x31" + (until_ms + 1).to_bytes(8, "big")


def idempotency(org: str, actor: str, key: str) -> bytes:
    """Key of an idempotency key, scoped to org and actor."""
    text = f"{org}\0{len(actor)}\0{actor}\0{key}".encode()
    return b"\x32" + hashlib.blake2b(text, digest_size=16).digest()
