"""A process that owns databases, as the worker does: it obeys lines on its stdin.

Each line is a JSON array [verb, arguments...], each answer a line "ok". Bytes are
Latin-1 text.

    open TOPIC PARTITION         a new epoch, not in force yet
    write TOPIC PARTITION CALLS  one batch of [method, bytes...] calls
    flush TOPIC PARTITION        write buffers to files
    swap TOPIC PARTITION         the epoch that is open comes into force
    drop TOPIC PARTITION         old epochs go
    close TOPIC PARTITION
    race TOPIC PARTITION BATCHES one batch after another, see `race`

    python -m tests.contract.owner DATA_DIR
"""

import json
import subprocess
import sys
from pathlib import Path

from rules.state import Lot, UserState
from tables import codec, epoch, keys
from tables.rocksdb import RocksStore

ROOT = Path(__file__).parents[2]


def race(store, batches):
    """Keep one user's points and the remainder of its lot equal in every batch."""
    part = keys.user_part("acme", "alice")
    for number in range(1, batches + 1):
        batch = store.batch()
        state = UserState(0, 0, points=number, next_expiry_ms=1)
        batch.put(keys.user("acme", "alice"), codec.states.encode(state))
        lot = Lot("points", 1, 1, number)
        batch.put(keys.lot(part, "points", 1, 1), codec.lots.encode(lot))
        batch.put(b"\x7f%08d" % number, b"x" * 2_000)
        store.write(batch)


def obey(data_dir, open_epochs, verb, topic, partition, *rest):
    """Carry out one line."""
    folder = epoch.state_folder(data_dir, topic, partition)
    if verb == "open":
        path = epoch.new_epoch(folder)
        open_epochs[folder] = (path, RocksStore(path))
        return
    path, store = open_epochs[folder]
    if verb == "write":
        batch = store.batch()
        for method, *arguments in rest[0]:
            getattr(batch, method)(*(text.encode("latin-1") for text in arguments))
        store.write(batch)
    elif verb == "flush":
        store._database.flush()
    elif verb == "swap":
        epoch.swap(folder, path)
    elif verb == "drop":
        epoch.drop_old(folder)
    elif verb == "race":
        race(store, *rest)
    elif verb == "close":
        store.close()
    else:
        raise ValueError(verb)


def main():
    open_epochs = {}
    for line in sys.stdin:
        obey(Path(sys.argv[1]), open_epochs, *json.loads(line))
        sys.stdout.write("ok\n")
        sys.stdout.flush()


class Owner:
    """The other end: starts the process and speaks to it."""

    def __init__(self, data_dir):
        self._data_dir = data_dir
        self._process = None

    def start(self):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.contract.owner", str(self._data_dir)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def say(self, *line):
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()

    def wait(self):
        assert self._process.stdout.readline() == "ok\n"

    def do(self, *line):
        self.say(*line)
        self.wait()

    def write(self, topic, partition, *calls):
        """Write one batch of (method, bytes...)."""
        texts = [
            [method, *(argument.decode("latin-1") for argument in arguments)]
            for method, *arguments in calls
        ]
        self.do("write", topic, partition, texts)

    def put(self, topic, partition, rows):
        """Write rows in one batch."""
        self.write(topic, partition, *(("put", k, v) for k, v in rows.items()))

    def begin(self, topic, partition):
        """Put an empty first epoch in force."""
        self.do("open", topic, partition)
        self.do("swap", topic, partition)

    def kill(self):
        """End the process with SIGKILL; `start` begins another."""
        self._process.kill()
        self._process.wait(10)
        self._process.stdin.close()
        self._process.stdout.close()


if __name__ == "__main__":
    main()
