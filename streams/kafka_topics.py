"""Our topics in a Kafka cluster: how they are made, and what they must be like.

A setting of a topic that is not as it must be would lose or reorder what was accepted;
so it is checked before anybody reads or writes, and named with what to do.
"""

import time
from collections.abc import Iterable
from typing import Final

from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

from streams.kafka_admin import ANSWER_TIMEOUT_S, KafkaAdmin
from streams.kafka_config import KafkaConfig
from streams.kafka_errors import AGAIN_AFTER_S
from streams.log import LogError, LogUnavailable, UnknownTopic
from streams.topics import LEDGER, ORGS, TOPICS, USERS, partition_counts

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


def topic_partitions(admin: KafkaAdmin) -> dict[str, int]:
    """Return how many partitions each of our topics has; missing ones are left out.

    Raises:
      LogUnavailable: No broker answers.
    """
    found = admin.topics()
    return {name: len(found[name].partitions) for name in TOPICS if name in found}


def make_topics(admin: KafkaAdmin, config: KafkaConfig, counts: dict[str, int]) -> None:
    """Make the topics that are missing, and wait until the brokers know them.

    Args:
      admin: The cluster's.
      config: How many replicas.
      counts: Topic -> how many partitions.

    Raises:
      LogError: There are too few brokers, or a topic has other partitions.
    """
    there = topic_partitions(admin)
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
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    while topic_partitions(admin) != counts:
        if time.monotonic() >= deadline:
            raise LogUnavailable("the new topics do not show. Run `plaudit init` again")
        time.sleep(AGAIN_AFTER_S)


def check_topics(admin: KafkaAdmin, config: KafkaConfig) -> dict[str, int]:
    """Return how many partitions each topic has, once all are as they must be.

    Raises:
      UnknownTopic: There is no log in the cluster.
      LogError: A topic is not as it must be; the message says what to do.
    """
    there = topic_partitions(admin)
    missing = [name for name in TOPICS if name not in there]
    if missing:
        raise UnknownTopic(
            f"the brokers have no topic {', '.join(missing)}. Run `plaudit init`"
        )
    for name, count in partition_counts(there[USERS]).items():
        if there[name] != count:
            raise LogError(
                f"topic {name} has {there[name]} partitions, and {there[USERS]} of "
                f"{USERS} go with {count}. Partitions cannot be added to a log: if a "
                "topic was deleted and made anew, restore all of them together"
            )
    problems = [*_copies(admin, config), *_settings(admin, config)]
    if problems:
        raise LogError(
            f"the brokers' topics are not safe: {'; '.join(problems)}. Set them with "
            "kafka-configs.sh --alter (copies: kafka-reassign-partitions.sh), then "
            "start again"
        )
    return there


def _copies(admin: KafkaAdmin, config: KafkaConfig) -> Iterable[str]:
    """Yield what is wrong with the number of replicas."""
    topics = admin.topics()
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
