"""The embedded size under load: one folder, one worker, one API."""

import json
import shutil
import signal

from streams.faults import AMID_EPOCH, POINTS
from streams.lock import WorkerLock
from tests.crash.api import Api
from tests.crash.worker import (
    DEADLINE_S,
    KILLED,
    Folder,
    Worker,
    plaudit,
    wait_until,
)
from tests.torture.under_load import PARTITIONS, UnderLoad


class Embedded(UnderLoad):
    """What is done to the worker of a folder."""

    points = tuple(point for point in POINTS if point != AMID_EPOCH)
    mishaps = ()

    def __init__(self, path, rng, seed):
        folder = Folder(path / "data", PARTITIONS)
        super().__init__(folder, [Api(folder.path)], rng, seed)
        self._worker = None

    def begin(self):
        with Worker(self.folder.path) as worker:
            wait_until(self.folder.is_folded, worker)
            worker.kill()
        self.begin_load()

    def worker(self, fault=None):
        """Return the worker that runs, or start one; one with a fault is new."""
        if self._worker is not None and fault is not None:
            # SIGTERM ends a worker that has hardly begun as it does any process.
            assert self._worker.stop() in (0, -signal.SIGTERM), self._worker.said
            self.forget()
        if self._worker is None:
            processes = self.rng.choice([1, 2])
            self._worker = Worker(self.folder.path, fault, processes)
        return self._worker

    def forget(self):
        if self._worker is not None:
            worker, self._worker = self._worker, None
            worker.__exit__()

    def kill_worker(self):
        worker = self.worker()
        self.wait(0.2, 2.0)
        worker.kill()
        self.forget()

    def kill_worker_at(self, point):
        worker = self.worker(f"{point}:{self.rng.randint(1, 6)}")
        # Where several processes fold, the one that dies takes the others along.
        assert worker.wait() in (KILLED, 1), worker.said
        self.forget()

    def kill_all_workers(self):
        if self._worker is not None:
            self._worker.kill()
            self.forget()

    def kill_api(self):
        self.worker()
        super().kill_api()

    def lose_tables(self):
        """Delete the tables while no worker runs; the next one rebuilds them."""
        self.kill_all_workers()
        lock = WorkerLock(self.folder.path)
        # Its processes follow it a moment later.
        lock.acquire(DEADLINE_S)
        shutil.rmtree(self.folder.path / "state")
        lock.release()

    def end(self):
        """End the load, fold what is left."""
        self.end_load()
        self.forget()
        self.folder.fold()

    def check(self):
        """Check what only this size has: nothing."""

    def replay(self):
        """Fold the whole log again; fail unless it makes the same rows."""
        done = plaudit("rebuild", "-d", self.folder.path, "--json")
        again = json.loads(done.stdout)
        assert again["identical"] is True, again

    def close(self):
        self.forget()
        super().close()
