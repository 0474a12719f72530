"""The mirrors of a log's partitions, opened for whoever writes them.

Whoever has no mirror loads no client of Redis: a worker is several processes, and each
would carry it.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from plaudit.settings import Settings

if TYPE_CHECKING:
    from tables.redis_mirrors import RedisMirrors


@contextmanager
def opened_mirrors(settings: Settings, log_id: str) -> Iterator["RedisMirrors | None"]:
    """Open what makes the mirrors of a log's partitions; None where there are none."""
    if not settings.redis_url:
        yield None
        return
    from tables.redis_client import RedisClients  # noqa: PLC0415 - see the module
    from tables.redis_mirrors import RedisMirrors  # noqa: PLC0415

    clients = RedisClients(settings.redis_url)
    try:
        yield RedisMirrors(clients, log_id)
    finally:
        clients.close()


def request_epochs(
    settings: Settings, log_id: str, places: Iterable[tuple[str, int]]
) -> None:
    """Ask the owners of partitions for new epochs of their mirrors, if there are any.

    Raises:
      MirrorUnavailable: Redis does not answer.
    """
    with opened_mirrors(settings, log_id) as mirrors:
        if mirrors is not None:
            for place in places:
                mirrors.slot(*place).request()
