"""The agents: each hands its topic's records to the hub, in order.

No acks by Faust: the machine acknowledges a record when all that it caused is stored.
An error stops the worker, because going on would commit past the record.
"""

from typing import Any, Protocol

import faust
from mode import CrashingSupervisor

from streams.topics import ORGS, USERS


class Hub(Protocol):
    """Where records go (streams/hub.py)."""

    async def assign(self, partitions: set[tuple[str, int]]) -> None:
        """Begin with some partitions."""

    async def revoke(self, partitions: set[tuple[str, int]]) -> None:
        """End with some partitions; returns when nothing of them is in flight."""

    async def offer(self, event: Any) -> None:
        """Take a record; waits while there is enough to do."""

    def give_up(self) -> None:
        """Do nothing long any more: the end is coming."""

    def interrupt(self) -> None:
        """Give up restoring: partitions are about to be given away."""

    async def stop(self) -> None:
        """End with everything."""

    def next_offset(self, topic: str, partition: int) -> int | None:
        """Return where a partition is read from; None: at the committed offset."""


def add_agents(app: faust.App, hub: Hub) -> None:
    """Register one agent per input topic."""
    for name in (USERS, ORGS):
        topic = app.topic(
            name,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
        )
        app.agent(
            topic,
            name=f"plaudit.{name}",
            concurrency=1,
            supervisor_strategy=CrashingSupervisor,
        )(_offering(hub))


def _offering(hub: Hub) -> Any:
    async def offer_all(stream: Any) -> None:
        async for event in stream.noack().events():
            await hub.offer(event)

    return offer_all
