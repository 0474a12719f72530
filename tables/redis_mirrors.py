"""The mirrors of one log's partitions, in one Redis or several."""

from collections.abc import Callable

from tables import keys
from tables.mirror import MirroredStore
from tables.redis_client import Clients
from tables.redis_mirror import RedisMirror
from tables.redis_slot import RedisSlot
from tables.store import Store


class RedisMirrors:
    """Makes mirrors; they share its connections."""

    def __init__(self, clients: Clients, log_id: str) -> None:
        """Name the log; nothing is sent."""
        self._clients = clients
        self._log_id = log_id

    def slot(self, topic: str, partition: int) -> RedisSlot:
        """Return the slot of a partition."""
        client = self._clients.of(topic, partition)
        return RedisSlot(client, self._log_id, topic, partition)

    def of(
        self,
        topic: str,
        partition: int,
        store: Store,
        log_end: Callable[[], int],
        age_ms: Callable[[int], int | None] = lambda _next_offset: 0,
    ) -> tuple[MirroredStore, RedisMirror]:
        """Return a partition's rows as they are to be written, and their mirror.

        Args:
          topic: ``users`` or ``orgs``.
          partition: Its number.
          store: Its rows.
          log_end: Returns the offset that the partition's next record will get.
          age_ms: Returns how long ago the rows were all that the log held, given
            their next offset; None: that is not known.
        """
        kinds = keys.read_kinds(topic)
        mirrored = MirroredStore(store, kinds)
        slot = self.slot(topic, partition)
        return mirrored, RedisMirror(slot, mirrored, kinds, log_end, age_ms)
