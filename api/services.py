"""What the request handlers work with, and how they reach it."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from flask import Flask, current_app

from api.config import ApiConfig
from api.secrets import SecretBox
from rules.admin_org import SETTINGS_ID
from rules.config import OrgSettings, row_from_json
from streams.log import MessageWriter
from tables.errors import ViewUnavailable
from tables.views import ReadView

T = TypeVar("T")

ClockMs: TypeAlias = Callable[[], int]
EndOffset: TypeAlias = Callable[[str, int], int]

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
      end_offset: (topic, partition) -> offset that the next record will get.
      clock_ms: Wall clock, ms since the Unix epoch.
      uploads: Places for bodies that are being received.
    """

    config: ApiConfig
    writer: MessageWriter
    view: ReadView
    secrets: SecretBox
    end_offset: EndOffset
    clock_ms: ClockMs
    uploads: threading.BoundedSemaphore

    def install(self, app: Flask) -> None:
        """Make these the services of an app."""
        app.extensions[_KEY] = self


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
