"""What the request handlers work with, and how they reach it."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from flask import Flask, current_app

from api.config import ApiConfig
from api.ends import EndOffset, LogEnds
from api.secrets import SecretBox
from api.turns import Turns
from rules.admin_org import SETTINGS_ID
from rules.config import OrgSettings, row_from_json
from rules.message import Message
from streams.log import MessageWriter, Positions
from tables.errors import ViewUnavailable
from tables.views import ReadView

T = TypeVar("T")

ClockMs: TypeAlias = Callable[[], int]

_KEY = "plaudit"
POLL_FIRST_S = 0.002
POLL_LONGEST_S = 0.02


@dataclass(frozen=True, kw_only=True)
class Services:
    """The injected parts of one app.

    Attributes:
      config: Settings.
      writer: Appends messages to the log.
      view: Reads the tables.
      secrets: Opens sealed secrets.
      end_offset: Asks the log where a partition ends; for the start alone, as it takes
        its time.
      ends: The same for requests.
      clock_ms: Wall clock, ms since the Unix epoch.
      uploads: Places for bodies that are being received.
      writes: Turns of those who wait for the log to store something.
      position_waits: Turns of those who wait for the tables to reach a position.
      outcome_waits: Turns of those who wait for what becomes of a command.
    """

    config: ApiConfig
    writer: MessageWriter
    view: ReadView
    secrets: SecretBox
    end_offset: EndOffset
    ends: LogEnds
    clock_ms: ClockMs
    uploads: threading.BoundedSemaphore
    writes: Turns
    position_waits: Turns
    outcome_waits: Turns

    def install(self, app: Flask) -> None:
        """Make these the services of an app."""
        app.extensions[_KEY] = self

    def write(self, messages: Sequence[Message]) -> Positions:
        """Store messages and return their positions once they are durable.

        Raises:
          Problem: 503; too many others wait for the log. Nothing is stored.
          LogUnavailable: See `MessageWriter.write`.
        """
        with self.writes.turn("Too many requests wait for the log"):
            return self.writer.write(messages)


def services() -> Services:
    """Return the services of the app that handles this request."""
    held: Services = current_app.extensions[_KEY]
    return held


def read_settings(org: str) -> OrgSettings:
    """Return an org's settings, the defaults where it has none yet."""
    row = services().view.config_row(org, "settings", SETTINGS_ID)
    if row is None:
        return OrgSettings()
    settings: OrgSettings = row_from_json("settings", row)
    return settings


def wait_for(look: Callable[[], T | None], timeout_ms: int) -> T | None:
    """Look until there is something, or return None once the time is over.

    The pause between two looks doubles from `POLL_FIRST_S` to `POLL_LONGEST_S`. Tables
    that cannot be read just now count as nothing yet.
    """
    deadline = time.monotonic() + timeout_ms / 1_000
    pause = POLL_FIRST_S
    while True:
        try:
            found = look()
        except ViewUnavailable:
            found = None
        left = deadline - time.monotonic()
        if found is not None or left <= 0:
            return found
        time.sleep(min(pause, left))
        pause = min(pause * 2, POLL_LONGEST_S)
