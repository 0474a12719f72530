"""`plaudit init`: a new data folder, ready for its first worker.

Every step may be repeated, so an interrupted `init` is finished by the next one. The
admin commands come last: a log that holds them is initialised.
"""

import secrets
from importlib.metadata import version
from pathlib import Path
from typing import Final

from api.secrets import SecretBox
from plaudit.credentials import Credentials, new_org
from plaudit.errors import Failure
from plaudit.folder import DataFolder
from plaudit.org_settings import check_org
from plaudit.settings import Settings
from rules.message import JsonObject
from streams.lock import WorkerLock
from streams.log import UnknownTopic
from streams.sqlite_log import SqliteLog
from streams.topics import ORGS
from streams.writer import EnvelopeWriter

DEFAULT_ORG: Final = "demo"
DEFAULT_NAME: Final = "Demo"


class AlreadyInitialised(Failure):
    """There is a log with its first org already; nothing is changed."""


def is_initialised(path: Path) -> bool:
    """Tell whether a data folder holds a log with its first org.

    Raises:
      LogError: It held one: a worker has been there, but files are gone.
    """
    folder = DataFolder(path)
    # `initialise` writes credentials when the log is whole.
    was_used = folder.state.exists() or folder.credentials().exists()
    if not folder.log.is_dir():
        if was_used:
            raise UnknownTopic(
                f"{path} has been used, but its log is gone. Put {folder.log} back, or "
                "begin in another folder"
            )
        return False
    try:
        log = SqliteLog(path)
    except UnknownTopic:
        if was_used:
            raise
        return False
    try:
        return log.end_offset(ORGS, 0) > 1
    finally:
        log.close()


def initialise(
    settings: Settings,
    org: str = DEFAULT_ORG,
    org_settings: JsonObject | None = None,
) -> Credentials:
    """Make a data folder with a log, a master key, and an org with its keys.

    Args:
      settings: Where, and how many partitions.
      org: Id of the first org.
      org_settings: Its settings, as the command `org.create` takes them; what is left
        out has its default.

    Returns:
      What ``D/credentials.json`` holds; it works once a worker runs.

    Raises:
      AlreadyInitialised: Nothing is changed.
      Unusable: The org id is none, a setting is not allowed, or the folder cannot be
        used.
      FolderLocked: A worker uses the folder.
    """
    chosen = {"name": DEFAULT_NAME if org == DEFAULT_ORG else org}
    chosen |= org_settings or {}
    check_org(org, chosen)
    folder = DataFolder(settings.data_dir)
    folder.path.mkdir(parents=True, exist_ok=True)
    # All that users did stands in there.
    folder.path.chmod(0o700)
    with WorkerLock(folder.path):
        if is_initialised(folder.path):
            raise AlreadyInitialised(
                f"{folder.path} is initialised already; nothing is changed"
            )
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
        credentials, create = new_org(org, chosen, settings.url, box)
        credentials.write(folder.credentials())
        log = SqliteLog(folder.path)
        try:
            EnvelopeWriter(log).write([create])
        finally:
            log.close()
    return credentials
