"""`plaudit run`: worker and API as children of one small process.

It initialises a new data folder, starts both, says where they listen once the tables
can be read, starts what ends by itself again, and on SIGTERM or SIGINT drains: first
the API, so that nothing new comes in, then the worker.
"""

import signal
import threading
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from plaudit.children import Child
from plaudit.credentials import (
    ADMIN,
    ADMIN_SCOPES,
    ADMIN_TTL_S,
    NoCredentials,
    NoSigningKey,
    issue_token,
    read_credentials,
)
from plaudit.demo import request_demo, wants_demo
from plaudit.errors import exit_code, message_of
from plaudit.folder import DataFolder
from plaudit.initialise import initialise, is_initialised
from plaudit.server import check_port
from plaudit.settings import Settings, child_environ
from plaudit.wiring import opened
from rules.errors import PlauditError
from streams.lock import WorkerLock

LOOK_EVERY_S: Final = 0.1
READY_TIMEOUT_S: Final = 1.0
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run(settings: Settings, *, demo: bool = False) -> int:
    """Run worker and API until a signal ends them.

    Args:
      settings: Where, and on which port.
      demo: Fill a data folder that is new.

    Returns:
      The exit code: 0 after a signal, else why it stopped (plaudit/errors.py).

    Raises:
      Unusable: The port is taken, or the folder is not one.
      FolderLocked: Another worker has the data folder.
    """
    check_port(settings)
    folder = DataFolder(settings)
    if is_initialised(settings):
        if settings.kafka is not None:
            folder.require()
        with WorkerLock(folder.path):
            pass
    else:
        initialise(settings)
        _say(f"new data folder {folder.path}, org and keys in {folder.credentials()}")
        if demo:
            request_demo(folder)
    _write_url(folder.credentials(), settings.url)
    return _Supervisor(settings, folder).run()


def _write_url(path: Path, url: str) -> None:
    """Note where the API is; without the file it starts all the same."""
    try:
        credentials = read_credentials(path)
    except NoCredentials as error:
        _say(f"goes on without credentials: {error}")
        return
    if credentials.url != url:
        msgspec.structs.replace(credentials, url=url).write(path)


def _say(text: str) -> None:
    click.echo(f"plaudit: {text}", err=True)


class _Supervisor:
    """Two children and the loop that looks after them."""

    def __init__(self, settings: Settings, folder: DataFolder) -> None:
        environ = child_environ(settings)
        self._settings = settings
        self._folder = folder
        self._worker = Child("worker", environ)
        self._api = Child("api", environ)
        self._demo = Child("seed-demo", environ)
        self._stop = threading.Event()
        self._killed = False
        self._ready = False

    def run(self) -> int:
        """Start, look, drain; return the exit code."""
        handlers = {
            number: signal.signal(number, self._on_signal) for number in SIGNALS
        }
        code = 0
        try:
            self._look_after()
        except PlauditError as error:
            _say(message_of(error))
            code = exit_code(error)
        finally:
            self._drain()
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return code

    def _on_signal(self, _number: int, _frame: Any) -> None:
        # A second signal is for who cannot wait.
        self._killed = self._stop.is_set()
        self._stop.set()

    def _look_after(self) -> None:
        self._worker.start()
        self._api.start()
        while not self._stop.wait(LOOK_EVERY_S):
            for child in (self._worker, self._api):
                news = child.look()
                if news is not None:
                    _say(news)
            if not self._ready and self._answers():
                self._ready = True
                self._opened()
            self._look_after_demo()

    def _answers(self) -> bool:
        """Tell whether the API serves reads."""
        url = f"{self._settings.url}/ready"
        try:
            with urllib.request.urlopen(url, timeout=READY_TIMEOUT_S) as answer:  # noqa: S310  # http, and ours
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _opened(self) -> None:
        """Renew the admin token and tell people where to go."""
        # Without credentials the start has said so; a demo needs them.
        with suppress(NoCredentials):
            self._renew_token()
        _say(f"listens on {self._settings.url} (data in {self._folder.path})")
        if wants_demo(self._folder):
            _say("seeding the demo ...")
            self._demo.start()

    def _renew_token(self) -> None:
        path = self._folder.credentials()
        credentials = read_credentials(path)
        try:
            with opened(self._settings) as parts:
                token = issue_token(
                    parts.view,
                    parts.secrets(),
                    credentials.org_id,
                    ADMIN,
                    ADMIN_SCOPES,
                    ADMIN_TTL_S,
                )
        except NoSigningKey as error:
            _say(f"the admin token is not renewed: {error}")
            return
        msgspec.structs.replace(credentials, admin_token=token).write(path)

    def _look_after_demo(self) -> None:
        code = self._demo.code
        if code is None:
            return
        self._demo.stop(0.0)
        if code != 0:
            _say("the demo is not complete; the next start goes on with it")

    def _drain(self) -> None:
        timeout_s = self._settings.drain_timeout_ms / 1_000
        if self._stop.is_set():
            _say("finishing what is under way ...")
        for child in (self._demo, self._api, self._worker):
            child.stop(0.1 if child is self._demo or self._killed else timeout_s)
        _say("stopped")
