"""`plaudit init`: a new data folder, ready for its first worker.

Every step may be repeated, so an interrupted `init` is finished by the next one. The
admin commands come last: a log that holds them is initialised.
"""

import re
import secrets
from importlib.metadata import version
from pathlib import Path
from typing import Final

from api.secrets import SecretBox
from plaudit.credentials import Credentials, new_org
from plaudit.errors import Failure, Unusable
from plaudit.folder import DataFolder
from plaudit.settings import Settings
from streams.lock import WorkerLock
from streams.log import UnknownTopic
from streams.sqlite_log import SqliteLog
from streams.topics import ORGS
from streams.writer import EnvelopeWriter

DEFAULT_ORG: Final = "demo"
DEFAULT_NAME: Final = "Demo"
is_org = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
"""Matches an org id."""


def is_initialised(path: Path) -> bool:
    """Tell whether a data folder holds a log with its first org.

    Raises:
      LogError: It held one: a worker has been there, but files are gone.
    """
    folder = DataFolder(path)
    if not folder.log.is_dir():
        return False
    try:
        log = SqliteLog(path)
    except UnknownTopic:
        if folder.state.exists():
            raise
        return False
    try:
        return log.end_offset(ORGS, 0) > 1
    finally:
        log.close()


def initialise(settings: Settings, org: str = DEFAULT_ORG) -> Credentials:
    """Make a data folder with a log, a master key, and an org with its keys.

    Args:
      settings: Where, and how many partitions.
      org: Id of the first org.

    Returns:
      What ``D/credentials.json`` holds; it works once a worker runs.

    Raises:
      Failure: The folder is initialised already.
      Unusable: The org id is none, or the folder cannot be used.
      FolderLocked: A worker uses the folder.
    """
    if not is_org(org):
        raise Unusable(f"an org id matches [A-Za-z0-9_-]{{1,64}}; {org[:80]} does not")
    folder = DataFolder(settings.data_dir)
    folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    with WorkerLock(folder.path):
        if is_initialised(folder.path):
            raise Failure(f"{folder.path} is initialised already; nothing is changed")
        if folder.master_key.exists():
            box = SecretBox.from_file(folder.master_key)
        else:
            box = SecretBox.create_file(folder.master_key)
        SqliteLog.create(
            folder.path,
            secrets.token_hex(16),
            settings.partitions,
            tzdata_version=version("tzdata"),
        )
        folder.loads.mkdir(mode=0o700, exist_ok=True)
        name = DEFAULT_NAME if org == DEFAULT_ORG else org
        credentials, commands = new_org(org, name, settings.url, box)
        credentials.write(folder.credentials())
        log = SqliteLog(folder.path)
        try:
            EnvelopeWriter(log).write(commands)
        finally:
            log.close()
    return credentials
