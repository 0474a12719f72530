"""The API process: granian serves the Flask app, in one worker process of its own."""

import logging
import multiprocessing
import os
import socket
import sys
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Final

import click
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server import Server

from plaudit.errors import Unusable, exit_code, message_of
from plaudit.lifeline import follow
from plaudit.settings import MEMORY, Settings
from plaudit.wiring import build_api
from rules.errors import PlauditError

BACKLOG: Final = 1_024
GRANIAN: Final = "_granian"
"""Its logger."""


def check_port(settings: Settings) -> None:
    """Check that the API can listen.

    Raises:
      Unusable: Another process listens there, or the address is not of this machine.
    """
    try:
        infos = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM
        )
        family, kind, protocol, _name, address = infos[0]
        with socket.socket(family, kind, protocol) as probe:
            # Connections that ended a moment ago do not count, listeners do.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise Unusable(
            f"cannot listen on {settings.host} port {settings.port}: "
            f"{error.strerror or error}. Stop what listens there, or choose another "
            "with --port or --host"
        ) from error


def serve(settings: Settings) -> None:
    """Serve the API until SIGTERM or SIGINT; requests under way are finished.

    Raises:
      Unusable: The port is taken.
      SystemExit: The worker process ended by itself. Where it could not begin it has
        said why, and the code is as plaudit/errors.py has it.
    """
    check_port(settings)
    drain_s = max(settings.drain_timeout_ms // 1_000, 1)
    server = Server(
        "plaudit",
        address=settings.host,
        port=settings.port,
        interface=Interfaces.WSGI,
        workers=1,
        blocking_threads=settings.server_threads,
        backlog=BACKLOG,
        websockets=False,
        log_level=_granian_level(settings.log_level),
        workers_kill_timeout=drain_s,
    )
    for name, text in MEMORY.items():
        # The process that serves is a new one, and inherits it.
        os.environ.setdefault(name, text)
    # Granian does not tell with which code its worker process ended.
    told, tell = multiprocessing.Pipe(duplex=False)
    # That a worker ended is no news once it has said why.
    logging.getLogger(GRANIAN).addFilter(lambda _record: not told.poll())
    loader = partial(_load, settings, os.getpid(), tell)
    try:
        server.serve(target_loader=loader, wrap_loader=False)
    except SystemExit as ended:
        sys.exit(told.recv() if told.poll() else ended.code)


def _granian_level(level: str) -> LogLevels:
    """Return granian's own level: its warnings are advice about threads, no faults."""
    return LogLevels.error if level == "warning" else LogLevels(level)


def _load(settings: Settings, parent_pid: int, tell: Connection) -> Any:
    """Return the app, in granian's worker process.

    Args:
      settings: As `serve`.
      parent_pid: The process that serves.
      tell: Takes the exit code where the API cannot begin.

    Raises:
      SystemExit: The API cannot begin; stderr has one line.
    """
    follow(parent_pid, settings.drain_timeout_ms)
    try:
        return build_api(settings)
    except (PlauditError, OSError) as error:
        click.ClickException(message_of(error)).show()
        code = exit_code(error)
        tell.send(code)
        sys.exit(code)
