"""Opens the parts and hands them to each other: either view over either log."""

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Flask

from api.app import create_app
from api.secrets import SecretBox
from plaudit.folder import DataFolder
from plaudit.opening import open_log
from plaudit.settings import Settings
from streams.log import GroupLog, MessageWriter
from streams.topics import USERS
from streams.writer import EnvelopeWriter
from tables.embedded_view import EmbeddedView
from tables.redis_client import RedisClients
from tables.redis_view import ANSWER_TIMEOUT_S, RedisView
from tables.views import ReadView


class Parts:
    """An opened data folder, for whoever is not the worker.

    Attributes:
      folder: Its paths.
      log: The log.
      writer: Appends messages to it.
      view: Reads the tables.
    """

    def __init__(self, settings: Settings, *, background: bool) -> None:
        """Open a data folder.

        Args:
          settings: Where it is.
          background: Keep the view caught up from a thread; for who stays.

        Raises:
          Unusable: `plaudit init` has not been there.
        """
        self.folder = DataFolder(settings)
        self.folder.require()
        self.log: GroupLog = open_log(settings)
        self.partitions = self.log.partitions(USERS)
        self.writer: MessageWriter = EnvelopeWriter(self.log)
        self.view = open_view(
            settings, self.log.log_id, self.partitions, background=background
        )

    def secrets(self) -> SecretBox:
        """Return what seals and opens secrets."""
        return SecretBox.from_file(self.folder.master_key)

    def close(self) -> None:
        """Release files; idempotent."""
        self.view.close()
        self.log.close()


def open_view(
    settings: Settings, log_id: str, partitions: int, *, background: bool
) -> ReadView:
    """Return what reads the tables: the mirror where there is one.

    Args:
      settings: Which of the two, and where.
      log_id: The log whose tables are read.
      partitions: Its partitions of ``users``.
      background: Keep a view of this machine's tables caught up from a thread.
    """
    if settings.redis_url:
        clients = RedisClients(settings.redis_url, answer_timeout_s=ANSWER_TIMEOUT_S)
        return RedisView(clients, log_id, partitions)
    return EmbeddedView(settings.data_dir, partitions, background=background)


@contextmanager
def opened(settings: Settings) -> Iterator[Parts]:
    """Open a data folder for one command."""
    parts = Parts(settings, background=False)
    try:
        yield parts
    finally:
        parts.close()


def build_api(settings: Settings) -> Flask:
    """Return the API over a data folder that stays open until the process ends."""
    parts = Parts(settings, background=True)
    return create_app(
        settings.with_partitions(parts.partitions).api,
        writer=parts.writer,
        view=parts.view,
        secrets=parts.secrets(),
        end_offset=parts.log.end_offset,
        threads=settings.server_threads,
    )
