"""Are two folds of one log the same, row by row?

Rows whose time is over are left out: they decide nothing any more, and how long they
still stand depends on how the log was cut into steps. So are the heartbeat and the
mirror's deltas.
"""

from collections.abc import Iterator
from itertools import zip_longest

from tables import keys
from tables.store import Reader

_NO_ROW = (b"", b"")
_DELTAS_END = keys.prefix_end(keys.delta(0)[:1])


def first_difference(left: Reader, right: Reader, clock_ms: int) -> bytes | None:
    """Return the least key at which two partitions' rows differ, or None.

    Args:
      left: Rows of one fold.
      right: Rows of another, at the same position.
      clock_ms: The partition's clock there.
    """
    pairs = zip_longest(
        live_rows(left, clock_ms), live_rows(right, clock_ms), fillvalue=_NO_ROW
    )
    for one, other in pairs:
        if one != other:
            return min(key for key, _value in (one, other) if key)
    return None


def live_rows(reader: Reader, clock_ms: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield a partition's (key, value) in key order, without what is left out."""
    due = set()
    for key, _value in reader.scan(keys.expiries(-1), keys.expiries(clock_ms)):
        due |= {key, keys.expiring_key(key)}
    old_buckets = keys.seen_bucket(clock_ms // keys.BUCKET_MS)
    for key, value in reader.scan(b"\x00", b"\xff"):
        if key == keys.HEARTBEAT or key in due or keys.delta(0) <= key < _DELTAS_END:
            continue
        if keys.seen_bucket(0) <= key < old_buckets:
            continue
        yield key, value
