"""The data folder D: where each file stands, and how private files are written.

log/            one SQLite file per topic; not there where the log is on Kafka
state/          tables, one folder per partition; rebuilt from the log when lost
credentials.json, credentials-ORG.json      how scripts reach the API (0600)
master.key      seals secrets (0600); keep a copy apart from the folder
worker.lock     lets one worker in
worker-N.alive  touched every 5 s by the worker's process N
worker.id       its name in the group of workers; only where the log is on Kafka
loads/          what `plaudit load` has sent
"""

import os
import secrets
from pathlib import Path

from plaudit.errors import Unusable
from plaudit.settings import Settings

PRIVATE = 0o600


class DataFolder:
    """Paths under one data folder."""

    def __init__(self, settings: Settings) -> None:
        """Name a folder; nothing is read or made."""
        path = settings.data_dir
        self.path = path
        self.log = path / "log"
        self.state = path / "state"
        self.master_key = Path(settings.master_key_file or path / "master.key")
        self.loads = path / "loads"
        self.demo = path / "demo.json"
        self._on_kafka = settings.kafka is not None

    def credentials(self, org: str | None = None) -> Path:
        """Return the credentials file of the first org, or of one made later."""
        name = "credentials.json" if org is None else f"credentials-{org}.json"
        return self.path / name

    def forget_processes(self) -> None:
        """Remove what processes of an earlier worker left to show that they lived."""
        for path in self.path.glob("worker-*.alive"):
            path.unlink(missing_ok=True)

    def require(self) -> None:
        """Check that `plaudit init` has been here; on Kafka, that the key is.

        Raises:
          Unusable: It has not, or the folder cannot be used.
        """
        if self._on_kafka:
            self.make()
            if not self.master_key.is_file():
                raise Unusable(
                    f"{self.master_key} is missing. `plaudit init` made it, on one "
                    "machine: copy it to every machine that runs an API"
                )
        elif not self.log.is_dir() or not self.master_key.is_file():
            raise Unusable(
                f"{self.path} is not a Plaudit data folder. Run `plaudit init "
                f"--data-dir {self.path}`, or name another with --data-dir"
            )

    def require_for_worker(self) -> None:
        """Check that a worker can use the folder; on Kafka it begins with a new one.

        Raises:
          Unusable: `plaudit init` has not been here, or the folder cannot be used.
        """
        if self._on_kafka:
            self.make()
        else:
            self.require()

    def make(self) -> None:
        """Make the folder; only its owner may look into it.

        Raises:
          Unusable: The disk is full or refuses.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            # All that users did stands in there.
            self.path.chmod(0o700)
        except OSError as error:
            raise Unusable(
                f"cannot use {self.path}: {error.strerror}. Check that it is a folder "
                "of this user, on a disk that can be written"
            ) from error

    def worker_id(self) -> str:
        """Return the name of this folder's worker, drawn once.

        The caller holds the folder's lock.
        """
        path = self.path / "worker.id"
        if not path.exists():
            write_private(path, f"{secrets.token_hex(8)}\n".encode())
        return path.read_text().strip()


def write_private(path: Path, content: bytes) -> None:
    """Replace a file at once and durably; only its owner may read it."""
    staged = path.with_name(path.name + ".new")
    staged.touch(PRIVATE)
    staged.chmod(PRIVATE)
    with staged.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)
