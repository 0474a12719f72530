"""The API process: granian serves the Flask app, in one worker process of its own."""

import os
import socket
from functools import partial
from typing import Any, Final

from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server import Server

from plaudit.errors import Unusable
from plaudit.lifeline import follow
from plaudit.settings import MEMORY, Settings
from plaudit.wiring import build_api

BACKLOG: Final = 1_024


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
      SystemExit: The worker process died.
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
    loader = partial(_load, settings, os.getpid())
    server.serve(target_loader=loader, wrap_loader=False)


def _granian_level(level: str) -> LogLevels:
    """Return granian's own level: its warnings are advice about threads, no faults."""
    return LogLevels.error if level == "warning" else LogLevels(level)


def _load(settings: Settings, parent_pid: int) -> Any:
    """Return the app, in granian's worker process."""
    follow(parent_pid, settings.drain_timeout_ms)
    return build_api(settings)
