"""The log on Kafka brokers: our topics there, and the offsets of the workers' group.

    users, orgs, ledger, dead     the topics (streams/kafka_topics.py)
    group `plaudit`               committed offsets

Appends are acknowledged by all in-sync replicas (streams/kafka_writer.py). Stamps are
the brokers' (LogAppendTime). No producer of ours is transactional, so offsets are
contiguous: what makes a hole parks its partition.
"""

import contextlib
import threading
from collections.abc import Mapping, Sequence
from typing import Final

from rules.message import Genesis
from streams.kafka_admin import ANSWER_TIMEOUT_S, KafkaAdmin
from streams.kafka_config import KafkaConfig
from streams.kafka_group import KafkaGroup
from streams.kafka_reader import KafkaReader
from streams.kafka_topics import check_topics, folded_partitions, make_topics
from streams.kafka_writer import KafkaWriter
from streams.log import Append, LogError, Record, UnknownTopic
from streams.messages import (
    UndecodableRecord,
    UnknownVersion,
    decode_record,
    encode_envelope,
)
from streams.topics import GROUP, ORGS, TOPICS, USERS, partition_counts

APPEND_TIMEOUT_S: Final = 30.0
"""Outlasts a broker that dies: its partitions find another leader meanwhile."""
READ_TIMEOUT_S: Final = 15.0


class KafkaLog:
    """The `GroupLog` on Kafka; safe for threads."""

    def __init__(
        self, config: KafkaConfig, *, append_timeout_s: float = APPEND_TIMEOUT_S
    ) -> None:
        """Connect, and check what is there.

        Args:
          config: The cluster.
          append_timeout_s: How long a record may wait for its acknowledgement.

        Raises:
          UnknownTopic: There is no log. Run `plaudit init`.
          LogUnavailable: No broker answers.
          LogError: The topics are not as they must be; the message says what to do.
        """
        self._connect(config, append_timeout_s)
        try:
            self._counts = check_topics(self._admin, config)
            self.log_id = self._own_log_id()
        except LogError:
            self.close()
            raise

    def _connect(self, config: KafkaConfig, append_timeout_s: float) -> None:
        """Prepare the clients; each connects when it is asked something."""
        self._config = config
        self._admin = KafkaAdmin(config)
        self._reader = KafkaReader(config, READ_TIMEOUT_S)
        self._writer = KafkaWriter(config, append_timeout_s)
        self._mutex = threading.Lock()
        self._groups: dict[str, KafkaGroup] = {}

    @classmethod
    def create(
        cls,
        config: KafkaConfig,
        log_id: str,
        partitions: int,
        *,
        tzdata_version: str,
        semantics_version: int = 1,
    ) -> str:
        """Make the topics with a genesis record in every partition; finish a begun log.

        Idempotent: a log that exists keeps its id, its records and its offsets. Two at
        the same time are not meant to be; the second says so.

        Args:
          config: The cluster.
          log_id: 32 hex digits, for a new log.
          partitions: Number of `users` partitions, 1..1,024, fixed for ever.
          tzdata_version: Version of the time-zone data in force.
          semantics_version: Version of the semantics in force.

        Returns:
          The log's id: the given one, or that of the log that was there.

        Raises:
          LogError: The log has another number of partitions, or cannot be made.
          ValueError: `partitions` is out of bounds.
        """
        counts = partition_counts(partitions)
        log = cls.__new__(cls)
        log._connect(config, APPEND_TIMEOUT_S)
        try:
            make_topics(log._admin, config, counts)
            log._counts = check_topics(log._admin, config, ANSWER_TIMEOUT_S)
            log._begin(log_id, semantics_version, tzdata_version)
            return log._own_log_id()
        finally:
            log.close()

    def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has; raises `UnknownTopic`."""
        try:
            return self._counts[topic]
        except KeyError:
            raise UnknownTopic(f"there is no topic {topic}") from None

    def append_many(self, appends: Sequence[Append]) -> list[int]:
        """Store records and return their offsets, in order, once they are durable.

        Raises:
          LogUnavailable: Not durable in time; any of them may still become so.
          UnknownTopic: A topic or a partition does not exist; nothing is stored.
        """
        for append in appends:
            self._check(append.topic, append.partition)
        return self._writer.append(appends)

    def read(
        self, topic: str, partition: int, offset: int, *, records_max: int = 1_000
    ) -> list[Record]:
        """Return records from an offset on, in order; empty at the end.

        At most `records_max` records and about 4 MB.
        """
        first, end = self._bounds(topic, partition)
        if offset >= end:
            return []
        return self._reader.read(topic, partition, max(offset, first), end, records_max)

    def first_offset(self, topic: str, partition: int) -> int:
        """Return the offset of the oldest record kept."""
        return self._bounds(topic, partition)[0]

    def end_offset(self, topic: str, partition: int) -> int:
        """Return the offset that the next record will get."""
        return self._bounds(topic, partition)[1]

    def committed(self, group: str, topic: str, partition: int) -> int | None:
        """Return the next offset a group would read; None: it never committed."""
        self._check(topic, partition)
        return self._group(group).committed([(topic, partition)])[topic, partition]

    def commit(self, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
        """Store a group's offsets by (topic, partition); they never move back.

        Raises:
          LogUnavailable: The group has members, which commit by themselves.
        """
        self._group(group).commit(offsets)

    def begin_group(self) -> bool:
        """Commit 0 wherever the workers' group has no offset; tell whether it did.

        For a new log, and where the brokers forgot offsets nobody moved for long.
        """
        places = folded_partitions(self._counts)
        known = self._group(GROUP).committed(places)
        new = {place: 0 for place in places if known[place] is None}
        self.commit(GROUP, new)
        return bool(new)

    def close(self) -> None:
        """Let go of the brokers; idempotent."""
        self._admin.close()
        self._writer.close()
        self._reader.close()
        with self._mutex:
            while self._groups:
                self._groups.popitem()[1].close()

    def _check(self, topic: str, partition: int) -> None:
        if partition not in range(self.partitions(topic)):
            raise UnknownTopic(f"{topic}-{partition} does not exist")

    def _bounds(self, topic: str, partition: int) -> tuple[int, int]:
        self._check(topic, partition)
        return self._reader.bounds(topic, partition)

    def _group(self, name: str) -> KafkaGroup:
        with self._mutex:
            group = self._groups.get(name)
            if group is None:
                group = self._groups[name] = KafkaGroup(self._config, name)
            return group

    def _own_log_id(self) -> str:
        """Return the id in a genesis record, which must fit the topics.

        Of a partition that is kept from its beginning: others may begin where their
        snapshots end.
        """
        if any(self.end_offset(topic, 0) == 0 for topic in TOPICS):
            self._require_unused()
            raise UnknownTopic("the log was never finished. Run `plaudit init`")
        places = [(USERS, number) for number in range(self._counts[USERS])]
        places.append((ORGS, 0))
        kept = (place for place in places if self.first_offset(*place) == 0)
        genesis = self._genesis(*next(kept, places[0]))
        if genesis is None:
            self._require_unused()
            raise UnknownTopic("the log was never finished. Run `plaudit init`")
        if genesis.partitions != self._counts[USERS]:
            raise LogError(
                f"topic {USERS} has {self._counts[USERS]} partitions, the log was made "
                f"with {genesis.partitions}. Partitions cannot be added to a log: "
                "restore the topics"
            )
        return genesis.log_id

    def _require_unused(self) -> None:
        """Check that an empty partition is one whose log has just been begun."""
        places = [(topic, n) for topic in TOPICS for n in range(self._counts[topic])]
        ends = {place: self.end_offset(*place) for place in places}
        empty = [f"{topic}/{n}" for (topic, n), end in ends.items() if end == 0]
        if any(end > 1 for end in ends.values()):
            raise LogError(
                f"{', '.join(empty)[:200]} is empty, and other partitions are in use: "
                "its topic was deleted and made anew. Restore all topics together, "
                "from one copy"
            )

    def _genesis(self, topic: str, partition: int) -> Genesis | None:
        """Return a partition's genesis record; None: it is empty.

        Raises:
          LogError: It begins with something else.
        """
        if self.end_offset(topic, partition) == 0:
            return None
        records = self.read(topic, partition, 0, records_max=1)
        if records and records[0].offset == 0:
            with contextlib.suppress(UndecodableRecord, UnknownVersion):
                first = decode_record(None, records[0].value).messages[0]
                if isinstance(first, Genesis):
                    return first
        raise LogError(
            f"{topic}/{partition} does not begin with a genesis record: it is no log "
            "of Plaudit, or its beginning is gone. Restore it, or use other brokers"
        )

    def _begin(self, log_id: str, semantics_version: int, tzdata_version: str) -> None:
        """Write what is missing: genesis records, then the group's offsets."""
        places = [(topic, n) for topic in TOPICS for n in range(self._counts[topic])]
        found = {place: self._genesis(*place) for place in places}
        kept = [one for one in found.values() if one is not None]
        genesis = (
            kept[0]
            if kept
            else Genesis(log_id, self._counts[USERS], semantics_version, tzdata_version)
        )
        if any(one.log_id != genesis.log_id for one in kept):
            raise LogError(
                "the topics belong to several logs. Restore all of them together"
            )
        empty = [place for place, one in found.items() if one is None]
        if empty:
            self._require_unused()
        value = encode_envelope([genesis])
        offsets = self.append_many([Append(*place, None, value) for place in empty])
        if any(offsets):
            raise LogError(
                "another `plaudit init` ran at the same time, or a producer wrote "
                "before it. Delete the topics, then run it again"
            )
        # Without it a worker could not tell a new partition from one whose state and
        # offset were both lost.
        self.begin_group()
