"""A broker as if nobody had used it: no topics, no groups."""

import time
from typing import Final

from confluent_kafka.admin import AdminClient

from docker.kafka.errors import BrokerFailed

EMPTY_TIMEOUT_S: Final = 60.0


def empty(address: str) -> None:
    """Delete every topic and every group of a broker.

    Raises:
      BrokerFailed: They do not go away in time.
    """
    client = AdminClient({"bootstrap.servers": address, "log_level": 0})
    deadline = time.monotonic() + EMPTY_TIMEOUT_S
    while names := [
        name
        for name in client.list_topics(timeout=EMPTY_TIMEOUT_S).topics
        if not name.startswith("__")
    ]:
        if time.monotonic() > deadline:
            raise BrokerFailed(f"topics {names} do not go away")
        for future in client.delete_topics(names).values():
            # One that is on its way out is no longer known.
            future.exception(timeout=EMPTY_TIMEOUT_S)
    groups = client.list_consumer_groups().result(timeout=EMPTY_TIMEOUT_S).valid
    names = [group.group_id for group in groups]
    while names:
        if time.monotonic() > deadline:
            raise BrokerFailed(f"groups {names} do not go away")
        # A member that was killed stays until its session ends.
        names = [
            name
            for name, future in client.delete_consumer_groups(names).items()
            if future.exception(timeout=EMPTY_TIMEOUT_S) is not None
        ]
