"""The data folder D: where each file stands, and how private files are written.

log/            one SQLite file per topic
state/          tables, one folder per partition; rebuilt from the log when lost
credentials.json, credentials-ORG.json      how scripts reach the API (0600)
master.key      seals secrets (0600); keep a copy apart from the folder
worker.lock     lets one worker in
loads/          what `plaudit load` has sent
"""

import os
from pathlib import Path

from plaudit.errors import Unusable

PRIVATE = 0o600


class DataFolder:
    """Paths under one data folder."""

    def __init__(self, path: Path) -> None:
        """Name a folder; nothing is read or made."""
        self.path = path
        self.log = path / "log"
        self.state = path / "state"
        self.master_key = path / "master.key"
        self.loads = path / "loads"
        self.demo = path / "demo.json"

    def credentials(self, org: str | None = None) -> Path:
        """Return the credentials file of the first org, or of one made later."""
        name = "credentials.json" if org is None else f"credentials-{org}.json"
        return self.path / name

    def require(self) -> None:
        """Check that `plaudit init` has been here.

        Raises:
          Unusable: It has not.
        """
        if not self.log.is_dir() or not self.master_key.is_file():
            raise Unusable(
                f"{self.path} is not a Plaudit data folder. Run `plaudit init "
                f"--data-dir {self.path}`, or name another with --data-dir"
            )


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
