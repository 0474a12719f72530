"""`plaudit init`: a new data folder, ready for its first worker.

Every step may be repeated, so an interrupted `init` is finished by the next one. The
admin commands come last: a log that holds them is initialised.
"""

import secrets
from typing import Final

from api.secrets import SecretBox
from plaudit.credentials import Credentials, new_org
from plaudit.errors import Failure
from plaudit.folder import DataFolder
from plaudit.opening import make_log, open_log
from plaudit.org_settings import check_org
from plaudit.settings import Settings
from rules.message import JsonObject
from streams.lock import WorkerLock
from streams.log import UnknownTopic
from streams.topics import ORGS
from streams.writer import EnvelopeWriter

DEFAULT_ORG: Final = "demo"
DEFAULT_NAME: Final = "Demo"


class AlreadyInitialised(Failure):
    """There is a log with its first org already; nothing is changed."""


def is_initialised(settings: Settings) -> bool:
    """Tell whether there is a log with its first org.

    Raises:
      LogError: There was one: a worker has been there, but the log is gone.
    """
    folder = DataFolder(settings)
    # `initialise` writes credentials when the log is whole.
    was_used = folder.state.exists() or folder.credentials().exists()
    if settings.kafka is None and not folder.log.is_dir():
        if was_used:
            raise UnknownTopic(
                f"{folder.path} has been used, but its log is gone. Put {folder.log} "
                "back, or begin in another folder"
            )
        return False
    try:
        log = open_log(settings)
    except UnknownTopic as error:
        if was_used and settings.kafka is not None:
            raise UnknownTopic(
                f"{folder.path} has been used, but the brokers have no log: {error}. "
                "Name the right brokers, or begin in another folder"
            ) from error
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
    *,
    mend: bool = True,
) -> Credentials:
    """Make a data folder with a log, a master key, and an org with its keys.

    Args:
      settings: Where, and how many partitions.
      org: Id of the first org.
      org_settings: Its settings, as the command `org.create` takes them; what is left
        out has its default.
      mend: Where the log is there and brokers forgot the group's offsets, begin them at
        0 again: the workers then say again what they said.

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
    folder = DataFolder(settings)
    folder.make()
    with WorkerLock(folder.path):
        if is_initialised(settings):
            raise AlreadyInitialised(_already(settings, mend=mend))
        if folder.master_key.exists():
            box = SecretBox.from_file(folder.master_key)
        else:
            box = SecretBox.create_file(folder.master_key)
        make_log(settings, secrets.token_hex(16))
        folder.loads.mkdir(mode=0o700, exist_ok=True)
        credentials, create = new_org(org, chosen, settings.url, box)
        credentials.write(folder.credentials())
        log = open_log(settings)
        try:
            EnvelopeWriter(log).write([create])
        finally:
            log.close()
    return credentials


def _already(settings: Settings, *, mend: bool) -> str:
    """Return what there is to say of a log that is there; mend what brokers forgot."""
    if settings.kafka is None or not mend:
        place = settings.kafka_brokers or settings.data_dir
        return f"{place} is initialised already; nothing is changed"
    from streams.kafka_log import KafkaLog  # noqa: PLC0415 - as plaudit/opening.py

    log = KafkaLog(settings.kafka)
    try:
        begun = log.begin_group()
    finally:
        log.close()
    if begun:
        return (
            f"{settings.kafka_brokers} is initialised already. Offsets that brokers "
            "had forgotten begin at 0 again; nothing else is changed"
        )
    return f"{settings.kafka_brokers} is initialised already; nothing is changed"
