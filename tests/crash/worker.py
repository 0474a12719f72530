"""A real worker process on a real data folder, and what must be true afterwards."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from rules.message import Action, Command
from streams.messages import decode_record
from streams.sqlite_log import SqliteLog
from streams.stepper import Stepper
from streams.topics import GROUP, LEDGER, ORGS, USERS
from streams.writer import EnvelopeWriter
from tables import codec, keys
from tables.embedded_view import EmbeddedView
from tables.epoch import open_current, state_folder
from tables.errors import ViewUnavailable
from tables.memory import MemoryStore
from tables.rocksdb import RocksStore
from tests.crash import campaigns

DEADLINE_S = 90
ORG = "acme"
KILLED = -signal.SIGKILL
PLAUDIT = ("-m", "plaudit")
ROOT = Path(__file__).parents[2]


def plaudit(*arguments, env=None, check=True):
    """Run the command line to its end; return what it printed."""
    command = [sys.executable, "-m", "plaudit", *map(str, arguments)]
    done = subprocess.run(
        command,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{command}: {done.returncode}\n{done.stderr}")
    return done


class Worker:
    """A worker process; killed at the end, whatever happens."""

    def __init__(
        self,
        data_dir: Path,
        fault=None,
        processes=1,
        *,
        program=PLAUDIT,
        prefix=(),
        environ=None,
    ):
        """Start it.

        Args:
          data_dir: The data folder.
          fault: PLAUDIT_FAULT, or None.
          processes: How many fold; 0: as many as there are cores.
          program: What Python runs: the command line, or one with a bug put in.
          prefix: A command that starts Python, e.g. `unshare`.
          environ: Settings that differ from those of this process.
        """
        env = {**os.environ, **(environ or {})}
        env.pop("PLAUDIT_FAULT", None)
        if fault:
            env["PLAUDIT_FAULT"] = fault
        env["PLAUDIT_WORKER_PROCESSES"] = str(processes)
        # Beside the folder, which may be full or not writable.
        self._path = data_dir.with_name(f"{data_dir.name}.out")
        self.output = self._path.open("ab")
        self._begin = self.output.tell()
        self.process = subprocess.Popen(
            [*prefix, sys.executable, *program, "worker", "--data-dir", str(data_dir)],
            cwd=ROOT,
            env=env,
            stdout=self.output,
            stderr=self.output,
            stdin=subprocess.DEVNULL,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE_S)
        self.output.close()

    @property
    def said(self):
        """What it wrote so far."""
        return self._path.read_bytes()[self._begin :].decode()

    def wait(self):
        """Wait for its end; return its exit status."""
        return self.process.wait(DEADLINE_S)

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait(DEADLINE_S)

    def stop(self):
        """Stop it as a supervisor does; return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)


def wait_until(condition, worker=None, what="the condition"):
    """Poll until a condition holds; fail when time is up or the worker has died."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if condition():
            return
        if worker is not None and worker.process.poll() is not None:
            status = worker.process.returncode
            raise AssertionError(f"the worker ended: {status}\n{worker.said}")
        time.sleep(0.01)
    raise AssertionError(f"{what} did not come true in {DEADLINE_S} s")


class Folder:
    """A data folder with a log, written to directly and read back whole."""

    def __init__(self, data_dir: Path, partitions: int = 2):
        self.path = data_dir
        if not data_dir.exists():
            plaudit("init", "--data-dir", data_dir, "--partitions", partitions)
        self.log = SqliteLog(data_dir)
        self.writer = EnvelopeWriter(self.log)
        self.partitions = partitions
        self._commands = 0

    def close(self):
        self.log.close()

    def command(self, name, body, target=None, org=ORG):
        """Append an admin command."""
        self._commands += 1
        command_id = f"cmd_test_{self._commands}"
        self.writer.write([Command(org, None, command_id, name, target, body)])
        return command_id

    def begin(self):
        """Create an org, and a campaign that gives points for purchases."""
        self.command("org.create", {"settings": {"name": "Acme"}})
        self.command("campaign.create", campaigns.POINTS)

    def purchases(self, first, count, users=50, batch=None):
        """Append actions with ids of their own; one in seven repeats an id."""
        self.writer.write(
            [
                Action(
                    ORG,
                    f"user-{number % users}",
                    f"event-{number - number % 7 if number % 7 == 6 else number}",
                    "purchase",
                    None,
                    {"amount": number % 97},
                    {},
                    batch=batch,
                )
                for number in range(first, first + count)
            ]
        )

    def places(self):
        """Every partition that a machine folds."""
        return [(USERS, n) for n in range(self.partitions)] + [(ORGS, 0)]

    def is_folded(self):
        """Return whether every record of the log is folded."""
        view = EmbeddedView(self.path, self.partitions)
        try:
            for topic, partition in self.places():
                row = view.position(topic, partition)
                if row is None or row.offset + 1 < self.log.end_offset(
                    topic, partition
                ):
                    return False
        except ViewUnavailable:
            return False
        finally:
            view.close()
        return True

    def heartbeat(self, topic, partition):
        """Return what the owner of a partition last said, or None."""
        view = EmbeddedView(self.path, self.partitions)
        try:
            return view.heartbeat(topic, partition)
        except ViewUnavailable:
            return None
        finally:
            view.close()

    def parked_offset(self, topic, partition):
        """Return where a partition stands parked, or None."""
        beat = self.heartbeat(topic, partition)
        return beat and beat.parked_offset

    def applied(self, topic, partition):
        """Return the last folded offset of a partition."""
        view = EmbeddedView(self.path, self.partitions)
        try:
            return view.position(topic, partition).offset
        finally:
            view.close()

    def change_log(self, topic, statement, *values):
        """Change a file of the log behind everybody's back."""
        with (
            contextlib.closing(
                sqlite3.connect(self.path / "log" / f"{topic}.db")
            ) as db,
            db,
        ):
            db.execute(statement, values)

    def fold(self, fault=None, processes=0):
        """Run a worker until all is folded; with a fault, until it dies of it."""
        with Worker(self.path, fault, processes) as worker:
            if fault:
                # With several processes, the one that is killed ends the others.
                assert worker.process.wait(DEADLINE_S) in (KILLED, 1)
                return
            wait_until(self.is_folded, worker, "the fold of the whole log")
            assert worker.stop() == 0, (worker.process.returncode, worker.said)

    def rows(self, topic, partition):
        """Return the stored rows; no worker may run."""
        store = RocksStore(open_current(state_folder(self.path, topic, partition)))
        rows = dict(store.scan(b"\x00", b"\xff"))
        store.close()
        rows.pop(keys.HEARTBEAT, None)
        return rows

    def read_all(self, topic, partition, first=0):
        """Return every record of a partition."""
        records = []
        while run := self.log.read(topic, partition, first + len(records)):
            records += run
        return records

    def expected_rows(self, topic, partition):
        """Fold the same log in this process, without a crash, and return its rows."""
        store = MemoryStore()
        stepper = Stepper(store, topic, partition, self.tzdata_version(), now_ms)
        records = self.read_all(topic, partition)
        while left := records[stepper.next_offset :]:
            stepper.store(stepper.step(left))
        return dict(store.scan(b"\x00", b"\xff"))

    def tzdata_version(self):
        (genesis,) = decode_record(None, self.log.read(USERS, 0, 0)[0].value).messages
        return genesis.tzdata_version

    def check_exactly_once(self):
        """Rows equal those of a fold without crashes; the ledger is gapless."""
        for topic, partition in self.places():
            stored = self.rows(topic, partition)
            expected = self.expected_rows(topic, partition)
            assert stored == expected, (topic, partition)
            if topic == USERS:
                self._check_ledger(partition, expected)

    def _check_ledger(self, partition, rows):
        expected = {
            (entry.number, entry.ordinal): entry.entry_id
            for key, value in rows.items()
            if key[:1] == b"\x11"
            for entry in codec.entries.decode(value)
        }
        greatest = (-1, -1)
        seen = {}
        for record in self.read_all(LEDGER, partition, 1):
            for row in msgspec.json.decode(record.value)[2]:
                entry_id, number, ordinal = row[:3]
                assert expected[number, ordinal] == entry_id
                # A consumer that keeps the greatest sees each entry once, in order.
                if (number, ordinal) > greatest:
                    greatest = (number, ordinal)
                    seen[number, ordinal] = entry_id
        assert seen == expected


def now_ms():
    """The wall clock."""
    return time.time_ns() // 1_000_000


def committed(folder):
    """Return the group's committed offsets."""
    return {place: folder.log.committed(GROUP, *place) for place in folder.places()}


def credentials(data_dir):
    """Return what `plaudit init` wrote for scripts."""
    return json.loads((data_dir / "credentials.json").read_text())
