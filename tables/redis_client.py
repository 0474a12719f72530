"""Connections to Redis: by URL, with a bound on every wait, its errors as ours.

Commands are sent once more at once where a connection turns out to be closed (Redis was
started again) or an answer takes too long; all that is sent may be repeated, and come
late. Longer retries are the caller's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from tables.errors import MirrorSpoiled, MirrorUnavailable, MirrorUnusable
from tables.redis_outage import RedisOutage
from tables.redis_url import place_of

CONNECT_TIMEOUT_S: Final = 2.0
ANSWER_TIMEOUT_S: Final = 5.0
"""A part of a step takes some milliseconds; other clients' scripts come first."""
POOL_WAIT_S: Final = 2.0
"""How long a call waits for a connection that another thread holds."""
CONNECTIONS_MAX: Final = 64
VERSION_MIN: Final = (6, 2)
SPOILED: Final = ("WRONGTYPE", "SPOILED")
"""What Redis, and our scripts, say of keys and values that are not ours."""
NO_DATABASE: Final = "DB index"
"""How Redis begins to say that it has no database of that number."""


def _is_spoiled(answer: str) -> bool:
    return any(words in answer for words in SPOILED)


class Clients(Protocol):
    """One Redis or several."""

    def of(self, topic: str, partition: int) -> "RedisClient":
        """Return the client of the Redis that has a partition."""

    def close(self) -> None:
        """Close all connections; idempotent."""


class RedisClient:
    """A pool of connections. Safe for threads; opens nothing before its first call.

    Attributes:
      place: Where Redis is, without credentials, for messages.
      raw: The client of redis-py.
    """

    def __init__(self, url: str, *, answer_timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """Prepare.

        Args:
          url: One that tables/redis_url.py takes.
          answer_timeout_s: How long a call waits for its answer.
        """
        self.place = place_of(url)
        pool = redis.BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS_MAX,
            timeout=POOL_WAIT_S,
            protocol=2,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            socket_timeout=answer_timeout_s,
            retry=Retry(NoBackoff(), 1),
            retry_on_error=[redis.ConnectionError],
        )
        self.raw: Any = redis.Redis(connection_pool=pool)
        self._outage = RedisOutage()

    @contextmanager
    def calling(self) -> Iterator[Any]:
        """Give redis-py's client, and turn its errors into ours.

        Raises:
          MirrorUnavailable: Redis does not answer, or not now; or did not, and
            somebody else is asking again.
          MirrorSpoiled: What is there is not ours.
          MirrorUnusable: It refuses us.
        """
        try:
            with self._outage.noted():
                yield self.raw
        except (AuthenticationError, AuthorizationError, NoPermissionError) as error:
            raise MirrorUnusable(
                f"Redis at {self.place} refuses ({error}): correct the user and the "
                "password in PLAUDIT_REDIS_URL, or what the user may do"
            ) from error
        except OutOfMemoryError as error:
            raise MirrorUnavailable(
                f"Redis at {self.place} is full: raise its maxmemory"
            ) from error
        except ReadOnlyError as error:
            raise MirrorUnavailable(
                f"Redis at {self.place} is a read-only replica: make it the primary, "
                "or name the primary in PLAUDIT_REDIS_URL"
            ) from error
        except (RedisError, OSError) as error:
            if isinstance(error, ResponseError) and NO_DATABASE in str(error):
                raise MirrorUnusable(
                    f"Redis at {self.place} refuses ({error}): correct the database's "
                    "number in PLAUDIT_REDIS_URL"
                ) from error
            if isinstance(error, ResponseError) and _is_spoiled(str(error)):
                raise MirrorSpoiled(
                    f"Redis at {self.place} holds what somebody else wrote ({error}); "
                    "who owns the partition writes it anew"
                ) from error
            raise MirrorUnavailable(
                f"Redis at {self.place} does not answer: {error}"
            ) from error

    def of(self, _topic: str, _partition: int) -> "RedisClient":
        """Return itself: all partitions are here; see `RedisClients`."""
        return self

    def check(self) -> None:
        """Check that what is written there stays there.

        Raises:
          MirrorUnavailable: As `calling`.
          MirrorUnusable: It is too old, or may evict rows that it still should hold.
        """
        with self.calling() as raw:
            info = {**raw.info("server"), **raw.info("memory")}
        found = str(info.get("redis_version", "0"))
        numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
        if numbers < VERSION_MIN:
            raise MirrorUnusable(
                f"Redis at {self.place} is version {found}: run 6.2 or newer"
            )
        policy = str(info.get("maxmemory_policy", "noeviction"))
        if policy.startswith("allkeys"):
            raise MirrorUnusable(
                f"Redis at {self.place} may evict rows: set maxmemory-policy to "
                f"noeviction (it is {policy})"
            )

    def close(self) -> None:
        """Close all connections; idempotent."""
        self.raw.close()
        self.raw.connection_pool.disconnect()


class RedisClients:
    """Several Redis that share the partitions: each is whole in one of them.

    Partition n is in the one whose place in the list is n modulo their number, so the
    list is the same, in the same order, for every process.
    """

    def __init__(
        self, urls: str, *, answer_timeout_s: float = ANSWER_TIMEOUT_S
    ) -> None:
        """Prepare.

        Args:
          urls: Several with commas, each as `RedisClient` takes it.
          answer_timeout_s: As `RedisClient`.
        """
        self._clients = [
            RedisClient(url, answer_timeout_s=answer_timeout_s)
            for url in urls.split(",")
        ]

    def of(self, _topic: str, partition: int) -> RedisClient:
        """Return the client of the Redis that has a partition."""
        return self._clients[partition % len(self._clients)]

    def close(self) -> None:
        """Close all connections; idempotent."""
        for client in self._clients:
            client.close()
