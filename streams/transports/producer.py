"""What Faust itself sends, appended to the log.

Plaudit's machines append by themselves (streams/publish.py); this serves Faust's own
topics API.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, Final

from faust.transport.producer import Producer as BaseProducer
from faust.types import TP, RecordMetadata

from streams.log import Append, Log, LogError, LogUnavailable, UnknownTopic
from streams.topics import murmur2

FLUSH_TIMEOUT_S: Final = 30.0
COMMIT_RECORDS_MAX: Final = 1_000
"""Records of one commit; what is sent meanwhile is the next one's."""
WAITING_RECORDS_MAX: Final = 10_000
"""Records that may wait for a commit; beyond it senders wait."""
STAMPED_BY_LOG: Final = 1
"""Kafka's LogAppendTime."""


class _Outbox:
    """What is sent and not stored yet; one commit at a time."""

    def __init__(self, log: Log) -> None:
        """Begin with nothing waiting."""
        self._log = log
        self._waiting: list[tuple[Append, asyncio.Future[RecordMetadata]]] = []
        self._task: asyncio.Task[None] | None = None

    async def put(self, append: Append) -> "asyncio.Future[RecordMetadata]":
        """Take a record, at once where there is room; the future: it is durable."""
        while len(self._waiting) >= WAITING_RECORDS_MAX:
            await asyncio.wait([self._waiting[0][1]])
        future: asyncio.Future[RecordMetadata] = asyncio.Future()
        self._waiting.append((append, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._commit_all())
        return future

    async def _commit_all(self) -> None:
        """Append what waits, one commit after the other, until nothing does."""
        while self._waiting:
            batch = self._waiting[:COMMIT_RECORDS_MAX]
            del self._waiting[:COMMIT_RECORDS_MAX]
            appends = [append for append, _ in batch]
            offsets: list[int] = []
            error: LogError = LogUnavailable("the commit was broken off")
            try:
                offsets = await asyncio.get_running_loop().run_in_executor(
                    None, self._log.append_many, appends
                )
            except LogError as raised:
                error = raised
            finally:
                # Whatever happened, nobody waits for an answer that never comes.
                for place, (append, future) in enumerate(batch):
                    if future.done():
                        continue
                    if offsets:
                        future.set_result(_metadata(append, offsets[place]))
                    else:
                        future.set_exception(error)


class Producer(BaseProducer):  # type: ignore[misc]  # Faust is untyped here
    """Appends what Faust sends; every append is durable when its future is done."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin with nothing in flight; Faust passes the arguments."""
        super().__init__(*args, **kwargs)
        self._log: Log = self.app.message_log
        self._in_flight: set[asyncio.Future[Any]] = set()
        self._outbox = _Outbox(self._log)

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        *_: Any,
        **__: Any,
    ) -> Awaitable[RecordMetadata]:
        """Append one record; the returned future is done when it is durable.

        Records are stored in the order of these calls.
        """
        if partition is None:
            partition = partition_of_key(self._log, topic, key)
        elif partition not in range(self._log.partitions(topic)):
            raise UnknownTopic(f"{topic}-{partition} does not exist")
        append = Append(topic, partition, key, value or b"")
        return self._track(await self._outbox.put(append))

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

    async def create_topic(self, topic: str, *_: Any, **__: Any) -> None:
        """Check that a topic is there; only `plaudit init` makes topics."""
        self._log.partitions(topic)

    def key_partition(self, topic: str, key: bytes) -> TP:
        """Return the partition of a key."""
        return TP(topic, partition_of_key(self._log, topic, key))


def _metadata(append: Append, offset: int) -> RecordMetadata:
    place = TP(append.topic, append.partition)
    return RecordMetadata(*place, place, offset, None, STAMPED_BY_LOG)


def partition_of_key(log: Log, topic: str, key: bytes | None) -> int:
    """Return the partition of a key, as Kafka's Java clients would.

    Raises:
      LogError: There is no key to go by.
    """
    if key is None:
        raise LogError(f"a record for {topic} has neither a key nor a partition")
    return (murmur2(key) & 0x7FFFFFFF) % log.partitions(topic)
