"""RocksDB's MANIFEST: the file that says which tables a database has.

RocksDB takes a cut tail of it for its normal end: it forgets tables, replays the newer
write-ahead log over the hole, and nobody notices. So the owner's heartbeat row notes
how far the MANIFEST goes. CURRENT names the one in use; it only grows, and each open
makes one of a higher number.
"""

from pathlib import Path
from typing import Final, TypeAlias

from tables import codec

Extent: TypeAlias = tuple[int, int]
"""Number of a MANIFEST and its bytes. What was lost makes it less, as tuples compare.
"""
_PREFIX: Final = "MANIFEST-"


def manifest_extent(path: Path) -> Extent | None:
    """Return how far a database's MANIFEST goes; None: it cannot be found.

    Costs 30 us.
    """
    try:
        name = (path / "CURRENT").read_text("ascii", "replace").strip()
        return int(name.removeprefix(_PREFIX)), (path / name).stat().st_size
    except (OSError, ValueError):
        return None


def lost_its_end(found: Extent | None, heartbeat: bytes | None) -> bool:
    """Tell whether a MANIFEST goes less far than its owner noted.

    Args:
      found: How far it went before the database was opened.
      heartbeat: The owner's newest heartbeat row, or None.

    Raises:
      UnknownFormat: The row cannot be read.
    """
    noted = None
    if heartbeat is not None:
        noted = codec.heartbeats.decode(heartbeat).manifest
    return noted is not None and (found is None or found < noted)
