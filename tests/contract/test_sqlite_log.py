"""The contract on SQLite files, and what only they can do."""

import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from streams.log import Append, LogError, LogUnavailable, UnknownTopic
from streams.sqlite_log import SqliteLog
from streams.topic_file import create_topic, translated
from streams.topics import GROUP, ORGS, TOPICS, USERS
from streams.wakeup import WakeupReceiver, WakeupSender
from tests.contract.log_contract import LOG_ID, PARTITIONS, LogContract, some


def create(folder: Path, partitions=PARTITIONS, log_id=LOG_ID):
    return SqliteLog.create(folder, log_id, partitions, tzdata_version="2025b")


class TestSqliteLog(LogContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.folder = tmp_path

    def create_log(self):
        SqliteLog.create(
            self.folder,
            LOG_ID,
            PARTITIONS,
            tzdata_version="2025b",
            clock_ms=self.clock_ms,
        )
        return SqliteLog(self.folder, clock_ms=self.clock_ms)

    def test_a_stamp_is_the_clock_s_or_the_one_before(self):
        log = self.open()
        stamps = []
        for now_ms in [5_000, 9_000, 7_000, 7_001, 9_001]:
            self.now_ms = 1_700_000_000_000 + now_ms
            (offset,) = log.append_many([Append(USERS, 0, None, b"v")])
            (record,) = log.read(USERS, 0, offset)
            stamps.append(record.stamp_ms - 1_700_000_000_000)
        assert stamps == [5_000, 9_000, 9_000, 9_000, 9_001]

    def test_a_stamp_of_one_partition_does_not_bind_another(self):
        log = self.open()
        self.now_ms += 50_000
        log.append_many([Append(USERS, 0, None, b"v")])
        self.now_ms -= 40_000
        log.append_many([Append(USERS, 1, None, b"v")])
        (ahead,) = log.read(USERS, 0, 1)
        (behind,) = log.read(USERS, 1, 1)
        assert ahead.stamp_ms - behind.stamp_ms == 40_000

    def test_a_reopened_log_remembers_its_last_stamp(self):
        log = self.open()
        self.now_ms += 10_000
        log.append_many(some(USERS, 2, 5))
        log.close()
        self.now_ms -= 20_000
        log = self.open()
        log.append_many(some(USERS, 2, 1, b"w"))
        assert len({r.stamp_ms for r in log.read(USERS, 2, 1)}) == 1


@pytest.fixture
def log(tmp_path):
    create(tmp_path)
    log = SqliteLog(tmp_path)
    yield log
    log.close()


def start_writer(folder, tag, count):
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.contract.log_process", folder, tag, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout.readline() == "ready\n"
    return process


def acknowledged(text):
    pairs = [line.split(" ") for line in text.splitlines(keepends=True)]
    # A killed process may leave half a line: that append was not acknowledged.
    return {
        int(pair[0]): pair[1].strip()
        for pair in pairs
        if len(pair) == 2 and pair[1].endswith("\n")
    }


def test_processes_that_append_at_once_leave_no_hole(tmp_path, log):
    writers = [start_writer(tmp_path, tag, 40) for tag in "ab"]
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for number in range(40):
        log.append_many(some(USERS, 0, 1, b"own-%d" % number))
    acks = {}
    for writer in writers:
        text, _ = writer.communicate(timeout=60)
        assert writer.returncode == 0
        acks |= acknowledged(text)
    assert len(acks) == 240
    records = log.read(USERS, 0, 1)
    assert [record.offset for record in records] == list(range(1, 281))
    values = {record.offset: record.value.decode() for record in records}
    assert acks.items() <= values.items()
    stamps = [record.stamp_ms for record in records]
    assert stamps == sorted(stamps)


@pytest.mark.slow
def test_a_killed_writer_loses_nothing_acknowledged(tmp_path, log):
    total = {}
    for run in range(3):
        writer = start_writer(tmp_path, f"run{run}", 1_000_000)
        writer.stdin.write("go\n")
        writer.stdin.flush()
        # Killed after a number of acks that differs per run, in the middle of a commit.
        head = [writer.stdout.readline() for _ in range(50 + 37 * run)]
        writer.kill()
        rest, _ = writer.communicate(timeout=60)
        total |= acknowledged("".join(head) + rest)
    assert len(total) >= 50 + 87 + 124
    records = log.read(USERS, 0, 1, records_max=1_000_000)
    assert [record.offset for record in records] == list(range(1, len(records) + 1))
    values = {record.offset: record.value.decode() for record in records}
    assert total.items() <= values.items()
    # All or nothing: every call's three records are there, or none of them.
    assert len(records) % 3 == 0
    assert log.append_many(some(USERS, 0, 1)) == [len(records) + 1]


def test_create_is_idempotent_and_keeps_id_and_records(tmp_path):
    assert create(tmp_path) == LOG_ID
    log = SqliteLog(tmp_path)
    log.append_many(some(USERS, 0, 2))
    log.commit(GROUP, {(USERS, 0): 2})
    log.close()
    assert create(tmp_path, log_id="f" * 32) == LOG_ID
    log = SqliteLog(tmp_path)
    assert log.log_id == LOG_ID
    assert log.end_offset(USERS, 0) == 3
    assert log.committed(GROUP, USERS, 0) == 2
    log.close()


def test_create_finishes_what_was_begun(tmp_path):
    create(tmp_path)
    for name in ("dead.db", "groups.db"):
        (tmp_path / "log" / name).unlink()
    (tmp_path / "log" / "ledger.db").write_bytes(b"")
    assert create(tmp_path, log_id="f" * 32) == LOG_ID
    log = SqliteLog(tmp_path)
    assert log.end_offset("dead", 1) == 1
    assert log.committed(GROUP, ORGS, 0) == 0
    log.close()


def test_create_refuses_another_number_of_partitions(tmp_path):
    create(tmp_path)
    with pytest.raises(LogError, match="3 partitions, not 4"):
        create(tmp_path, partitions=4)
    for partitions in (0, 1_025):
        with pytest.raises(ValueError, match="partitions must be"):
            create(tmp_path / "other", partitions=partitions)


def test_a_folder_without_a_log_says_init(tmp_path):
    with pytest.raises(UnknownTopic, match="plaudit init"):
        SqliteLog(tmp_path)


def test_files_of_two_logs_are_not_mixed(tmp_path):
    create(tmp_path / "one")
    create(tmp_path / "two", log_id="f" * 32)
    (tmp_path / "two/log/dead.db").replace(tmp_path / "one/log/dead.db")
    with pytest.raises(LogError, match="Restore all files"):
        SqliteLog(tmp_path / "one")


def test_a_file_of_a_newer_format_is_refused(tmp_path):
    create(tmp_path)
    file = sqlite3.connect(tmp_path / "log/orgs.db")
    file.execute("UPDATE meta SET value='2' WHERE name='format'")
    file.commit()
    file.close()
    with pytest.raises(LogError, match="format '2'"):
        SqliteLog(tmp_path)


def test_a_damaged_file_is_named(tmp_path):
    create(tmp_path)
    (tmp_path / "log/users.db").write_bytes(b"not a database" * 1_000)
    with pytest.raises(LogError, match=r"users\.db is damaged"):
        SqliteLog(tmp_path)


def test_a_log_that_another_process_holds_too_long_is_unavailable(log, monkeypatch):
    log._topics[USERS]._writer.execute("PRAGMA busy_timeout=20")
    other = sqlite3.connect(log.folder / "users.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LogUnavailable, match="another process"):
        log.append_many(some(USERS, 0, 1))
    # The other topics do not wait for it.
    assert log.append_many(some(ORGS, 0, 1)) == [1]
    other.execute("ROLLBACK")
    other.close()
    assert log.append_many(some(USERS, 0, 1)) == [1]


def test_a_full_disk_is_said_and_nothing_is_stored(log):
    writer = log._topics[USERS]._writer
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(LogUnavailable, match="disk is full"):
        log.append_many([Append(USERS, 0, None, bytes(100_000))] * 2)
    writer.execute("PRAGMA max_page_count=1000000")
    assert log.end_offset(USERS, 0) == 1
    assert log.append_many(some(USERS, 0, 1)) == [1]


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "log").write_bytes(b"in the way")
    with pytest.raises(LogError, match="permissions"):
        create(tmp_path)


def test_an_unfinished_file_says_init(tmp_path):
    create(tmp_path)
    (tmp_path / "log/dead.db").write_bytes(b"")
    with pytest.raises(UnknownTopic, match="plaudit init"):
        SqliteLog(tmp_path)


def test_sqlite_errors_say_what_to_do(tmp_path):
    for name, kind, words in [
        ("SQLITE_READONLY_DIRECTORY", LogUnavailable, "permissions"),
        ("SQLITE_CANTOPEN", LogUnavailable, "permissions"),
        ("SQLITE_IOERR_FSYNC", LogUnavailable, "disk failed"),
        ("SQLITE_BUSY_SNAPSHOT", LogUnavailable, "another process"),
        ("SQLITE_CORRUPT_INDEX", LogError, "damaged"),
    ]:
        error = sqlite3.OperationalError("words of SQLite")
        error.sqlite_errorname = name
        with pytest.raises(kind, match=words), translated(tmp_path):
            raise error


def test_a_closed_log_says_so(tmp_path):
    create(tmp_path)
    log = SqliteLog(tmp_path)
    log.close()
    with pytest.raises(LogError, match="closed"):
        log.read(USERS, 0, 0)


def test_checkpoints_shorten_the_wal_and_lose_nothing(tmp_path):
    create(tmp_path)
    log = SqliteLog(tmp_path)
    wal = tmp_path / "log/users.db-wal"
    for _ in range(10):
        log.append_many([Append(USERS, 0, None, bytes(900_000))])
    grown = wal.stat().st_size
    assert grown > 8_000_000
    log.checkpoint()
    # Copied whole: the next commit begins the WAL anew, at its start.
    log.append_many(some(USERS, 0, 3))
    assert wal.stat().st_size == grown
    assert log.end_offset(USERS, 0) == 14
    log.close()
    log = SqliteLog(tmp_path, checkpoints=True)
    assert len(log.read(USERS, 0, 11)) == 3
    log.close()


def test_a_commit_wakes_a_reader_in_a_moment(log):
    receiver = log.receiver()
    assert not receiver.wait(0)
    woken = threading.Event()
    asleep = threading.Thread(target=lambda: receiver.wait(10) and woken.set())
    asleep.start()
    log.append_many(some(USERS, 0, 1))
    assert woken.wait(5)
    asleep.join()
    receiver.close()
    receiver.close()


def test_wakeups_work_in_a_folder_with_a_long_path(tmp_path):
    folder = tmp_path / ("long" * 30) / ("longer" * 20)
    receiver, sender = WakeupReceiver(folder), WakeupSender(folder)
    assert receiver.fileno() is not None
    sender.wake()
    assert receiver.wait(5)
    sender.close()
    receiver.close()


def test_stale_sockets_are_removed_and_full_ones_are_not(tmp_path):
    stale = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    stale.bind(str(tmp_path / "stale.sock"))
    stale.close()
    receiver, sender = WakeupReceiver(tmp_path), WakeupSender(tmp_path)
    for _ in range(1_000):
        sender.wake()
    assert not (tmp_path / "stale.sock").exists()
    assert len(list(tmp_path.iterdir())) == 1
    assert receiver.drain()
    assert not receiver.drain()
    receiver.close()
    sender.wake()
    sender.close()
    sender.wake()
    assert list(tmp_path.iterdir()) == []


def test_a_reader_without_sockets_polls(tmp_path, monkeypatch):
    monkeypatch.setattr("streams.wakeup._Folder.address", lambda *_: "\0" * 200)
    receiver = WakeupReceiver(tmp_path)
    assert receiver.fileno() is None
    started = time.monotonic()
    assert not receiver.wait(0.001)
    assert time.monotonic() - started >= 0.001
    receiver.close()


def test_a_program_may_have_topics_of_its_own_in_the_folder(tmp_path, log):
    path = tmp_path / "log/mine.db"
    create_topic(path, log_id=LOG_ID, partitions=2, first=b"first", stamp_ms=1)
    with pytest.raises(UnknownTopic):
        log.partitions("mine")
    wider = SqliteLog(tmp_path, topics=(*TOPICS, "mine"))
    assert wider.partitions("mine") == 2
    assert wider.append_many([Append("mine", 1, b"k", b"v")]) == [1]
    assert [record.value for record in wider.read("mine", 1, 0)] == [b"first", b"v"]
    wider.close()


def test_a_topic_of_another_log_is_not_opened(tmp_path):
    create(tmp_path)
    path = tmp_path / "log/mine.db"
    create_topic(path, log_id="0" * 32, partitions=1, first=b"", stamp_ms=1)
    with pytest.raises(LogError, match="Restore all files of the log together"):
        SqliteLog(tmp_path, topics=(*TOPICS, "mine"))
