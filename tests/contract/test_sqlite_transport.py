"""The Faust worker on the embedded log: real processes, killed and started again."""

import asyncio
import hashlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plaudit.errors import UNUSABLE
from streams.app import WorkerConfig, build_app
from streams.log import Append, LogError, LogUnavailable, UnknownTopic
from streams.sqlite_log import SqliteLog
from streams.topics import GROUP, ORGS, USERS, partition_of
from streams.transports import producer

PARTITIONS = 3
DEADLINE_S = 60

pytestmark = pytest.mark.slow


class Run:
    """A data folder, its log, and the file that the worker notes records in."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.out = folder / "out"
        SqliteLog.create(folder, "ab" * 16, PARTITIONS, tzdata_version="2025b")
        self.log = SqliteLog(folder)
        self.processes = []

    def start(self, *mode):
        process = subprocess.Popen(
            [
                sys.executable,
                "-W",
                "error",
                "-m",
                "tests.contract.transport_worker",
                self.folder,
                self.out,
                *mode,
            ],
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        self.processes.append(process)
        return process

    def append(self, count, tag):
        self.log.append_many(
            [
                Append(USERS, n % PARTITIONS, b"acme/u", b"%b-%d" % (tag, n))
                for n in range(count)
            ]
        )

    def noted(self):
        return self.out.read_text().splitlines() if self.out.exists() else []

    def everything(self):
        """Return what must have been noted, by partition."""
        lines = {}
        for topic, count in ((USERS, PARTITIONS), (ORGS, 1)):
            for partition in range(count):
                records = self.log.read(topic, partition, 0, records_max=1_000_000)
                lines[f"{topic} {partition}"] = [
                    f"{topic} {partition} {record.offset} "
                    + hashlib.sha256(record.value).hexdigest()[:16]
                    for record in records
                ]
        return lines

    def by_partition(self):
        lines = {}
        for line in self.noted():
            topic, partition, *_ = line.split(" ")
            lines.setdefault(f"{topic} {partition}", []).append(line)
        return lines

    def until(self, condition):
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, self.noted()[-5:]
            assert self.processes[-1].poll() is None, self.processes[-1].communicate()
            time.sleep(0.005)

    def until_noted(self):
        total = sum(map(len, self.everything().values()))
        self.until(lambda: len(self.noted()) >= total)
        assert self.by_partition() == self.everything()

    def committed(self):
        return [self.log.committed(GROUP, USERS, n) for n in range(PARTITIONS)]

    def stop(self, process):
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, errors) == (0, "")


@pytest.fixture
def run(tmp_path):
    run = Run(tmp_path)
    yield run
    for process in run.processes:
        process.kill()
        process.communicate(timeout=DEADLINE_S)
    run.log.close()


def test_all_records_arrive_in_order_and_new_ones_at_once(run):
    run.append(3_000, b"before")
    process = run.start()
    run.until_noted()
    run.append(300, b"after")
    run.log.append_many([Append(ORGS, 0, b"acme", b"x" * 900_000)])
    run.until_noted()
    run.stop(process)
    assert run.committed() == [1_101] * PARTITIONS
    assert run.log.committed(GROUP, ORGS, 0) == 2


def test_kills_lose_nothing_and_repeat_nothing_that_a_machine_has_applied(run):
    run.append(6_000, b"first")
    for turn in range(3):
        process = run.start()
        least = len(run.noted()) + 200 + 150 * turn
        run.until(lambda least=least: len(run.noted()) >= least)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=DEADLINE_S)
        # A line may be torn by the kill; what is torn was not applied.
        text = run.out.read_text()
        run.out.write_text(text[: text.rfind("\n") + 1])
        run.append(300, b"turn-%d" % turn)
    process = run.start()
    run.until_noted()
    run.stop(process)
    assert run.committed() == [run.log.end_offset(USERS, n) for n in range(PARTITIONS)]


def test_a_machine_ahead_of_the_group_moves_the_group_along(run):
    run.append(900, b"v")
    process = run.start()
    run.until_noted()
    run.stop(process)
    # As after a crash between storing and committing: the group stands further back.
    (run.folder / "log/groups.db").unlink()
    run.log.close()
    SqliteLog.create(run.folder, "", PARTITIONS, tzdata_version="2025b")
    run.log = SqliteLog(run.folder)
    run.log.commit(GROUP, {(USERS, n): 100 for n in range(PARTITIONS)})
    process = run.start()
    run.append(30, b"w")
    run.until_noted()
    run.until(lambda: run.committed() == [311] * PARTITIONS)
    run.stop(process)


def test_a_machine_behind_the_group_is_fed_again_and_the_group_stays(run):
    run.append(900, b"v")
    process = run.start()
    run.until_noted()
    run.stop(process)
    run.out.unlink()
    process = run.start()
    run.until(lambda: len(run.noted()) > 100)
    assert run.committed() == [301] * PARTITIONS
    run.append(30, b"w")
    run.until_noted()
    run.until(lambda: run.committed() == [311] * PARTITIONS)
    run.stop(process)


@pytest.mark.parametrize(
    ("mode", "value", "message"),
    [
        ("fail-assign", b"", "InvariantError: the rows are not ours"),
        ("", b"poison", "InvariantError: poison"),
        ("", b"fatal", "InvariantError: a machine failed"),
    ],
)
def test_a_failure_stops_the_worker_with_one_message(run, mode, value, message):
    run.append(30, b"v")
    run.log.append_many([Append(USERS, 1, None, value or b"v")])
    process = run.start(mode)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == UNUSABLE
    assert errors == f"plaudit worker: {message}\n"
    # Nothing from the failing record on is committed.
    assert run.log.committed(GROUP, USERS, 1) <= 11
    # The same record again, after a restart: it was not skipped.
    process = run.start(mode)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, errors) == (UNUSABLE, f"plaudit worker: {message}\n")


def test_rows_that_do_not_close_are_told_in_one_message(run):
    run.append(30, b"v")
    process = run.start("fail-revoke")
    run.until_noted()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert errors == "plaudit worker: InvariantError: the rows do not close\n"
    assert process.returncode == UNUSABLE


def test_what_fails_after_the_first_failure_does_not_say_why(run):
    run.log.append_many([Append(USERS, 1, None, b"fatal")])
    run.log.append_many([Append(USERS, 1, None, b"poison")] * 50)
    process = run.start()
    _, errors = process.communicate(timeout=DEADLINE_S)
    assert errors == "plaudit worker: InvariantError: a machine failed\n"
    assert process.returncode == UNUSABLE


def test_a_signal_during_the_start_stops_it(run):
    run.append(30, b"v")
    process = run.start()
    run.until(lambda: (run.folder / "state").exists() or bool(run.noted()))
    run.stop(process)


def test_what_faust_sends_is_durable_when_flush_returns(run):
    async def send_and_flush():
        app = build_app(WorkerConfig(run.folder), run.log, lambda _: None)
        producer = app.producer
        topic = app.topic(USERS, key_serializer="raw", value_serializer="raw")
        sent = [
            await producer.send(USERS, b"acme/alice", b"%d" % n, None, None, None)
            for n in range(20)
        ]
        soon = [topic.send_soon(key=b"acme/alice", value=b"soon") for _ in range(5)]
        await producer.flush()
        assert all(future.done() for future in sent + soon)
        return [(await future).offset for future in sent], topic, producer

    offsets, _, producer = asyncio.run(send_and_flush())
    # In the order of the calls, though they share commits.
    assert offsets == list(range(1, 21))
    partition = partition_of("acme", "alice", PARTITIONS)
    records = run.log.read(USERS, partition, 1)
    assert len(records) == 25
    for number, offset in enumerate(offsets):
        assert records[offset - 1].value == b"%d" % number
    assert producer.key_partition(USERS, b"acme/alice") == (USERS, partition)


def test_what_faust_cannot_send_is_said_to_whoever_sent_it(run, monkeypatch):
    async def send():
        producer = build_app(WorkerConfig(run.folder), run.log, lambda _: None).producer
        with pytest.raises(UnknownTopic):
            await producer.send(USERS, None, b"v", PARTITIONS)
        with pytest.raises(LogError, match="neither a key nor a partition"):
            await producer.send(USERS, None, b"v", None)

        def fail(_appends):
            raise LogUnavailable("the disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(run.log, "append_many", fail)
            failed = [await producer.send(USERS, None, b"v", 0) for _ in range(3)]
            await producer.flush()
        for future in failed:
            with pytest.raises(LogUnavailable, match="the disk is full"):
                await future
        # The next one goes through.
        return await producer.send_and_wait(USERS, None, b"w", 0)

    assert asyncio.run(send()).offset == 1
    assert [record.value for record in run.log.read(USERS, 0, 1)] == [b"w"]


def test_senders_wait_where_too_much_waits(run, monkeypatch):
    monkeypatch.setattr(producer, "WAITING_RECORDS_MAX", 3)

    async def send():
        producer = build_app(WorkerConfig(run.folder), run.log, lambda _: None).producer
        sent = [await producer.send(USERS, None, b"v", 0) for _ in range(20)]
        # Room comes only with a commit.
        assert sum(not future.done() for future in sent) <= 7
        await producer.flush()
        return [(await future).offset for future in sent]

    assert asyncio.run(send()) == list(range(1, 21))
