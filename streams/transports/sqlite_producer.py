"""What Faust itself sends, appended to the embedded log.

Plaudit's machines append by themselves (streams/publish.py); this serves Faust's own
topics API.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, Final

from faust.transport.producer import Producer as BaseProducer
from faust.types import TP, RecordMetadata

from streams.log import Append, LogError, LogUnavailable
from streams.sqlite_log import SqliteLog
from streams.topics import murmur2

FLUSH_TIMEOUT_S: Final = 30.0
STAMPED_BY_LOG: Final = 1
"""Kafka's LogAppendTime."""


class Producer(BaseProducer):  # type: ignore[misc]  # Faust is untyped here
    """Appends what Faust sends; every append is durable when its future is done."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin with nothing in flight; Faust passes the arguments."""
        super().__init__(*args, **kwargs)
        self._log: SqliteLog = self.app.message_log
        self._in_flight: set[asyncio.Future[Any]] = set()

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        *_: Any,
        **__: Any,
    ) -> Awaitable[RecordMetadata]:
        """Append one record; the returned future is done when it is durable."""
        return self._track(self._append(topic, key, value, partition))

    async def send_and_wait(self, *args: Any, **kwargs: Any) -> RecordMetadata:
        """Append one record and wait until it is durable."""
        return await (await self.send(*args, **kwargs))

    def send_soon(self, fut: Any) -> None:
        """Publish a pending message from a task of its own, which `flush` awaits."""
        self._track(fut.message.channel.publish_message(fut, wait=False))

    async def flush(self) -> None:
        """Wait until everything sent is durable.

        Raises:
          LogUnavailable: It is not within `FLUSH_TIMEOUT_S`.
        """
        # Not the base class's way: it gives up after 0.1 s and looks away from the
        # message that is on its way from its buffer.
        while self._in_flight:
            _, pending = await asyncio.wait(
                list(self._in_flight), timeout=FLUSH_TIMEOUT_S
            )
            if pending:
                raise LogUnavailable(f"{len(pending)} records are not written in time")

    def _track(self, work: Any) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = asyncio.ensure_future(work)
        self._in_flight.add(future)
        future.add_done_callback(self._in_flight.discard)
        return future

    async def _append(
        self, topic: str, key: bytes | None, value: bytes | None, partition: int | None
    ) -> RecordMetadata:
        if partition is None:
            partition = partition_of_key(self._log, topic, key)
        append = Append(topic, partition, key, value or b"")
        (offset,) = await asyncio.get_running_loop().run_in_executor(
            None, self._log.append_many, [append]
        )
        place = TP(topic, partition)
        return RecordMetadata(topic, partition, place, offset, None, STAMPED_BY_LOG)

    async def create_topic(self, topic: str, *_: Any, **__: Any) -> None:
        """Check that a topic is there; only `plaudit init` makes topics."""
        self._log.partitions(topic)

    def key_partition(self, topic: str, key: bytes) -> TP:
        """Return the partition of a key."""
        return TP(topic, partition_of_key(self._log, topic, key))


def partition_of_key(log: SqliteLog, topic: str, key: bytes | None) -> int:
    """Return the partition of a key, as Kafka's Java clients would.

    Raises:
      LogError: There is no key to go by.
    """
    if key is None:
        raise LogError(f"a record for {topic} has neither a key nor a partition")
    return (murmur2(key) & 0x7FFFFFFF) % log.partitions(topic)
