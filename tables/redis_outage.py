"""While Redis does not answer, one at a time asks it; the others are told at once.

A Redis that hangs costs whoever asks the whole timeout. Were all to wait, an API would
have no thread left for /health, and a worker none for partitions of another Redis.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    RedisError,
)

_REFUSALS = (AuthenticationError, AuthorizationError)
"""Of redis-py's errors of connections, those that are answers."""


_NO_CONNECTION = "No connection available."
"""What redis-py says when all connections of its pool are in use."""


class RedisOutage:
    """What is known of one Redis. Safe for threads; calls do not nest."""

    def __init__(self) -> None:
        """Take it for well."""
        self._silent = False
        self._asking = threading.Lock()

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Take note of how a call ends.

        Raises:
          redis.ConnectionError: It did not answer last, and another call is under way.
        """
        alone = self._silent
        if alone and not self._asking.acquire(blocking=False):
            raise redis.ConnectionError("it did not a moment ago; it is asked again")
        try:
            yield
            self._silent = False
        except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
            # Its own pool's wait says nothing of Redis.
            if str(error) != _NO_CONNECTION:
                self._silent = not isinstance(error, _REFUSALS)
            raise
        except RedisError:
            self._silent = False
            raise
        finally:
            if alone:
                self._asking.release()
