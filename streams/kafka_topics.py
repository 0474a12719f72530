"""Our topics in a Kafka cluster: how they are made, and what they must be like.

A setting of a topic that is not as it must be would lose or reorder what was accepted;
so it is checked before anybody reads or writes, and named with what to do.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from streams.kafka_admin import KafkaAdmin
from streams.kafka_config import KafkaConfig
from streams.kafka_errors import AGAIN_AFTER_S
from streams.log import LogError, UnknownTopic
from streams.topics import LEDGER, ORGS, TOPICS, USERS, partition_counts

PATIENCE_S: Final = 1.0
"""How far a broker may be behind the one that made the topics."""
RECORD_BYTES: Final = 1_048_588
"""What a topic takes; our records are below 900 kB, other producers' may be larger."""
RECORD_BYTES_MIN: Final = 1_000_000

KEPT: Final = {"retention.ms": "-1", "retention.bytes": "-1"}
"""For ever: state is a function of the log. Readers of `ledger` decide about theirs."""
FIXED: Final = {
    "cleanup.policy": "delete",
    "message.timestamp.type": "LogAppendTime",
    "unclean.leader.election.enable": "false",
}


def make_topics(admin: KafkaAdmin, config: KafkaConfig, counts: dict[str, int]) -> None:
    """Make the topics that are missing; `check_topics` waits until brokers know them.

    Args:
      admin: The cluster's.
      config: How many replicas.
      counts: Topic -> how many partitions.

    Raises:
      LogError: There are too few brokers, or a topic has other partitions.
    """
    there = _counts(admin.topics())
    for name, count in there.items():
        if count != counts[name]:
            raise LogError(
                f"topic {name} has {count} partitions, not {counts[name]}. The number "
                "is fixed when a log is made: use it, or another cluster"
            )
    settings = {
        **FIXED,
        **KEPT,
        "max.message.bytes": str(RECORD_BYTES),
        "min.insync.replicas": str(config.min_insync_replicas),
    }
    wanted = [
        NewTopic(name, count, config.replication, config=settings)
        for name, count in counts.items()
        if name not in there
    ]
    if not wanted:
        return
    admin.make(wanted)


def check_topics(
    admin: KafkaAdmin, config: KafkaConfig, patience_s: float = PATIENCE_S
) -> dict[str, int]:
    """Return how many partitions each topic has, once all are as they must be.

    Args:
      admin: The cluster's.
      config: How many replicas.
      patience_s: How long missing topics are waited for.

    Raises:
      UnknownTopic: There is no log in the cluster.
      LogError: A topic is not as it must be; the message says what to do.
    """
    deadline = time.monotonic() + patience_s
    while missing := [name for name in TOPICS if name not in (found := admin.topics())]:
        if time.monotonic() >= deadline:
            raise UnknownTopic(
                f"the brokers have no topic {', '.join(missing)}. Run `plaudit init`"
            )
        time.sleep(AGAIN_AFTER_S)
    there = _counts(found)
    for name, count in partition_counts(there[USERS]).items():
        if there[name] != count:
            raise LogError(
                f"topic {name} has {there[name]} partitions, and {there[USERS]} of "
                f"{USERS} go with {count}. Partitions cannot be added to a log: if a "
                "topic was deleted and made anew, restore all of them together"
            )
    problems = [*_copies(found, config), *_settings(admin, config)]
    if problems:
        raise LogError(
            f"the brokers' topics are not safe: {'; '.join(problems)}. Set them with "
            "kafka-configs.sh --alter (copies: kafka-reassign-partitions.sh), then "
            "start again"
        )
    return there


def _counts(topics: Mapping[str, Any]) -> dict[str, int]:
    """Return how many partitions each of our topics has; missing ones are left out."""
    return {name: len(topics[name].partitions) for name in TOPICS if name in topics}


def _copies(topics: Mapping[str, Any], config: KafkaConfig) -> Iterable[str]:
    """Yield what is wrong with the number of replicas."""
    for name in TOPICS:
        copies = min(len(one.replicas) for one in topics[name].partitions.values())
        if copies < config.replication:
            yield (
                f"{name} has {copies} copies, PLAUDIT_KAFKA_REPLICATION asks for "
                f"{config.replication}"
            )


def _settings(admin: KafkaAdmin, config: KafkaConfig) -> Iterable[str]:
    """Yield which settings of the topics are not as they must be."""
    for topic in TOPICS:
        found = admin.settings(topic)
        wanted = FIXED if topic == LEDGER else FIXED | KEPT
        for name, value in wanted.items():
            if found.get(name) != value:
                yield f"{topic} needs {name}={value}, not {found.get(name)}"
        for name, least in (
            ("max.message.bytes", RECORD_BYTES_MIN),
            ("min.insync.replicas", config.min_insync_replicas),
        ):
            if int(found.get(name) or 0) < least:
                yield f"{topic} needs {name}>={least}, not {found.get(name)}"


def folded_partitions(counts: dict[str, int]) -> list[tuple[str, int]]:
    """Return every (topic, partition) that workers fold."""
    return [(topic, n) for topic in (USERS, ORGS) for n in range(counts[topic])]
