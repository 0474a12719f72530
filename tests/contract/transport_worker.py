"""A worker process with a plain hub: it notes every record and acknowledges it.

python -m tests.contract.transport_worker DATA_DIR OUT [fail-assign|fail-revoke]

Each line of OUT is ``topic partition offset value-hash``, written before the ack. Where
a partition is to be read from, the machine's position, is what the file says. The exit
code is that of what it failed of.
"""

import hashlib
import sys
from pathlib import Path

from plaudit.errors import exit_code
from rules.errors import InvariantError
from streams.app import WorkerConfig, build_app, run_worker
from streams.sqlite_log import SqliteLog


class NotingHub:
    def __init__(self, open_store, out: Path, mode: str) -> None:
        self._open_store = open_store
        self._mode = mode
        self._next: dict[tuple[str, int], int] = {}
        self._held: set[tuple[str, int]] = set()
        if out.exists():
            for line in out.read_text().splitlines():
                topic, partition, offset, _ = line.split(" ")
                self._next[topic, int(partition)] = int(offset) + 1
        self._out = out.open("a", buffering=1)
        self.app = None

    async def assign(self, partitions):
        if self._mode == "fail-assign":
            raise InvariantError("the rows are not ours")
        assert not self._held
        for topic, partition in partitions:
            rows = self._open_store(topic, partition)
            rows.get(b"k")
        self._held = set(partitions)

    async def revoke(self, partitions):
        self._held -= set(partitions)
        if self._mode == "fail-revoke" and partitions:
            raise InvariantError("the rows do not close")

    async def offer(self, event):
        message = event.message
        place = (message.topic, message.partition)
        assert place in self._held
        assert message.offset == self._next.get(place, 0), (place, message.offset)
        assert round(message.timestamp * 1_000) > 1_600_000_000_000
        if message.value == b"poison":
            raise InvariantError("poison")
        if message.value == b"fatal":
            self.app.fail(InvariantError("a machine failed"))
            self._next[place] = message.offset + 1
            return
        value = hashlib.sha256(message.value).hexdigest()[:16]
        self._out.write(f"{place[0]} {place[1]} {message.offset} {value}\n")
        self._next[place] = message.offset + 1
        event.ack()

    def give_up(self):
        """Do nothing long any more: nothing here takes long."""

    def interrupt(self):
        """Give up restoring: nothing here restores."""

    async def stop(self):
        assert not self._held
        self._out.close()

    def next_offset(self, topic, partition):
        return self._next.get((topic, partition), 0)


def main() -> int:
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    mode = sys.argv[3] if len(sys.argv) > 3 else ""
    log = SqliteLog(folder, checkpoints=True)
    hubs = []

    def hub_of(open_store):
        hubs.append(NotingHub(open_store, out, mode))
        return hubs[0]

    app = build_app(WorkerConfig(folder, commit_interval_s=0.05), log, hub_of)
    hubs[0].app = app
    code = run_worker(app)
    log.close()
    # As plaudit/fold_process.py: when the loop has ended, and what was left in it.
    return exit_code(app.crash_reason) if code else 0


if __name__ == "__main__":
    sys.exit(main())
