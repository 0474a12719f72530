"""What every `Log` must do. A driver's test module subclasses `LogContract`."""

import threading
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor

import pytest

from streams.log import Append, GroupLog, UnknownTopic
from streams.messages import decode_record
from streams.topics import DEAD, GROUP, LEDGER, ORGS, USERS

LOG_ID = "0123456789abcdef" * 2
PARTITIONS = 3


def some(topic, partition, count, tag=b"v"):
    return [
        Append(topic, partition, b"key", b"%b-%d" % (tag, number))
        for number in range(count)
    ]


class LogContract(ABC):
    """The cases; `clock_ms` is the wall clock of the log under test."""

    @abstractmethod
    def create_log(self) -> GroupLog:
        """Return the log, opened; the first call makes it, later ones reopen it."""

    @pytest.fixture(autouse=True)
    def _close_logs(self):
        self.opened: list[GroupLog] = []
        self.now_ms = 1_700_000_000_000
        yield
        for log in self.opened:
            log.close()

    def open(self) -> GroupLog:
        log = self.create_log()
        self.opened.append(log)
        return log

    def clock_ms(self):
        return self.now_ms

    def test_every_partition_begins_with_the_genesis_record(self):
        log = self.open()
        counts = {USERS: PARTITIONS, ORGS: 1, LEDGER: PARTITIONS, DEAD: 2}
        for topic, count in counts.items():
            assert log.partitions(topic) == count
            for partition in range(count):
                (record,) = log.read(topic, partition, 0)
                (genesis,) = decode_record(record.key, record.value).messages
                assert (genesis.log_id, genesis.partitions) == (LOG_ID, PARTITIONS)
                assert log.first_offset(topic, partition) == 0
                assert log.end_offset(topic, partition) == 1

    def test_offsets_are_contiguous_per_partition(self):
        log = self.open()
        appends = [
            Append(USERS, number % PARTITIONS, None, b"%d" % number)
            for number in range(30)
        ]
        offsets = log.append_many(appends)
        for partition in range(PARTITIONS):
            mine = [
                (offset, append.value)
                for offset, append in zip(offsets, appends, strict=True)
                if append.partition == partition
            ]
            assert [offset for offset, _ in mine] == list(range(1, 11))
            read = log.read(USERS, partition, 1)
            assert [(record.offset, record.value) for record in read] == mine
            assert log.end_offset(USERS, partition) == 11

    def test_one_call_may_append_to_several_topics(self):
        log = self.open()
        offsets = log.append_many(
            [
                Append(LEDGER, 0, None, b"a"),
                Append(DEAD, 1, b"k", b"b"),
                Append(LEDGER, 0, None, b"c"),
            ]
        )
        assert offsets == [1, 1, 2]
        assert [r.value for r in log.read(LEDGER, 0, 1)] == [b"a", b"c"]
        assert [(r.key, r.value) for r in log.read(DEAD, 1, 1)] == [(b"k", b"b")]

    def test_an_empty_append_is_nothing(self):
        log = self.open()
        assert log.append_many([]) == []
        assert log.end_offset(USERS, 0) == 1

    def test_keys_and_values_are_kept_byte_for_byte(self):
        log = self.open()
        pairs = [(None, b""), (b"", b"\x00\xff"), (b"\xff/\x00", bytes(range(256)))]
        log.append_many([Append(USERS, 0, key, value) for key, value in pairs])
        assert [(r.key, r.value) for r in log.read(USERS, 0, 1)] == pairs

    def test_an_unknown_topic_or_partition_is_refused_and_nothing_is_stored(self):
        log = self.open()
        for topic, partition in [("nope", 0), (USERS, PARTITIONS), (USERS, -1)]:
            with pytest.raises(UnknownTopic):
                log.append_many(
                    [Append(USERS, 0, None, b"v"), Append(topic, partition, None, b"v")]
                )
            with pytest.raises(UnknownTopic):
                log.read(topic, partition, 0)
            with pytest.raises(UnknownTopic):
                log.end_offset(topic, partition)
        with pytest.raises(UnknownTopic):
            log.partitions("nope")
        assert log.end_offset(USERS, 0) == 1

    def test_a_read_is_bounded_by_records(self):
        log = self.open()
        log.append_many(some(USERS, 0, 20))
        assert [r.offset for r in log.read(USERS, 0, 3, records_max=4)] == [3, 4, 5, 6]
        assert len(log.read(USERS, 0, 0, records_max=1_000)) == 21

    def test_a_read_is_bounded_by_bytes_but_gives_at_least_one_record(self):
        log = self.open()
        log.append_many([Append(USERS, 0, None, bytes(900_000)) for _ in range(12)])
        first = log.read(USERS, 0, 1)
        assert 4 <= len(first) <= 6
        rest = log.read(USERS, 0, first[-1].offset + 1)
        assert rest[0].offset == first[-1].offset + 1

    def test_a_read_at_or_beyond_the_end_is_empty(self):
        log = self.open()
        assert log.read(USERS, 0, 1) == []
        assert log.read(USERS, 0, 1_000) == []

    def test_stamps_are_the_clock_and_never_go_back(self):
        log = self.open()
        stamps = []
        for _ in range(5):
            before_ms = self.clock_ms()
            (offset,) = log.append_many([Append(USERS, 0, None, b"v")])
            (record,) = log.read(USERS, 0, offset)
            assert before_ms <= record.stamp_ms <= self.clock_ms()
            stamps.append(record.stamp_ms)
        assert stamps == sorted(stamps)

    def test_a_reopened_log_goes_on_where_it_was(self):
        log = self.open()
        log.append_many(some(USERS, 2, 5))
        log.close()
        log = self.open()
        assert log.append_many(some(USERS, 2, 1, b"w")) == [6]
        records = log.read(USERS, 2, 1)
        assert [r.value for r in records] == [b"v-%d" % n for n in range(5)] + [b"w-0"]

    def test_committed_offsets_never_move_back(self):
        log = self.open()
        assert log.committed(GROUP, USERS, 0) == 0
        assert log.committed(GROUP, ORGS, 0) == 0
        assert log.committed("others", USERS, 0) is None
        log.append_many(some(USERS, 0, 9) + some(USERS, 1, 9))
        log.commit(GROUP, {(USERS, 0): 7, (USERS, 1): 3})
        log.commit(GROUP, {(USERS, 0): 5, (USERS, 1): 4})
        assert log.committed(GROUP, USERS, 0) == 7
        assert log.committed(GROUP, USERS, 1) == 4
        assert log.committed(GROUP, USERS, 2) == 0
        assert log.committed("others", USERS, 0) is None

    def test_making_a_log_again_keeps_id_records_and_offsets(self):
        log = self.open()
        log.append_many(some(USERS, 0, 2))
        log.commit(GROUP, {(USERS, 0): 2})
        log.close()
        log = self.open()
        assert log.log_id == LOG_ID
        assert log.end_offset(USERS, 0) == 3
        assert log.end_offset(DEAD, 1) == 1
        assert log.committed(GROUP, USERS, 0) == 2

    def test_two_handles_share_one_log(self):
        one, other = self.open(), self.open()
        assert one.append_many(some(USERS, 0, 2)) == [1, 2]
        assert other.append_many(some(USERS, 0, 2)) == [3, 4]
        assert one.append_many(some(USERS, 0, 1)) == [5]
        assert len(other.read(USERS, 0, 0)) == 6

    def test_concurrent_threads_leave_no_hole_and_keep_each_call_together(self):
        logs = [self.open(), self.open()]
        start = threading.Barrier(8)

        def writer(number):
            start.wait(timeout=10)
            offsets = []
            for turn in range(25):
                appends = some(USERS, number % 2, 3, b"%d-%d" % (number, turn))
                offsets.append(logs[number % 2].append_many(appends))
            return offsets

        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(writer, range(8)))
        for partition in (0, 1):
            records = logs[0].read(USERS, partition, 1)
            assert [r.offset for r in records] == list(range(1, 301))
            by_offset = {r.offset: r.value for r in records}
            for number in range(partition, 8, 2):
                calls = results[number]
                assert calls == sorted(calls)
                for turn, offsets in enumerate(calls):
                    assert offsets == list(range(offsets[0], offsets[0] + 3))
                    for place, offset in enumerate(offsets):
                        expected = b"%d-%d-%d" % (number, turn, place)
                        assert by_offset[offset] == expected

    def test_close_is_idempotent(self):
        log = self.open()
        log.close()
        log.close()
