"""A network link between one worker and the broker that can be cut, and healed.

While it is cut nothing passes and nobody is told: no connection is closed or refused.
"""

import asyncio
import contextlib
import itertools
import os
import shutil
import subprocess
import threading

from docker.kafka.listener import Listener
from docker.ports import free_port

_numbers = itertools.count()
READ_BYTES = 65_536
COMMAND_TIMEOUT_S = 10
JOIN_TIMEOUT_S = 10


class ProxyLink:
    """A TCP proxy before a listener of the broker; where namespaces are denied.

    Attributes:
      listener: The listener that the broker needs.
      prefix: What starts a process at the far end.
    """

    prefix = ()

    def __init__(self):
        self._port = free_port()
        self.listener = Listener("PLAINTEXT", advertised=self.address)
        self._loop = asyncio.new_event_loop()
        self._open = asyncio.Event()
        self._open.set()
        self._tasks = set()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        serving = asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._server = asyncio.run_coroutine_threadsafe(serving, self._loop).result()

    @property
    def address(self):
        """Where the far end finds the broker."""
        return f"127.0.0.1:{self._port}"

    def cut(self):
        """Let nothing pass, either way; what is sent meanwhile comes late."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def heal(self):
        """Let everything pass, first what waited."""
        self._loop.call_soon_threadsafe(self._open.set)

    def close(self):
        """End it and all connections."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(JOIN_TIMEOUT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(JOIN_TIMEOUT_S)
        self._loop.close()

    async def _end(self):
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        task = asyncio.current_task()
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.closing(writer), contextlib.suppress(OSError):
            await self._open.wait()
            near, far = await asyncio.open_connection(
                self.listener.host, self.listener.port
            )
            with contextlib.closing(far):
                ways = {
                    asyncio.create_task(self._pass_on(reader, far)),
                    asyncio.create_task(self._pass_on(near, writer)),
                }
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)

    async def _pass_on(self, reader, writer):
        while chunk := await reader.read(READ_BYTES):
            # Also the end of a connection waits: the other side hears nothing.
            await self._open.wait()
            writer.write(chunk)
            await writer.drain()
        await self._open.wait()


class NamespaceLink:
    """A network namespace for the worker, and a pair of virtual cables to it."""

    def __init__(self):
        name = f"pl{os.getpid()}n{next(_numbers)}"
        self._name = self._cable = name
        subnet = f"10.213.{os.getpid() % 250}"
        here, there = f"{subnet}.1", f"{subnet}.2"
        _ip("netns", "add", name)
        try:
            _ip(
                "link",
                "add",
                self._cable,
                "type",
                "veth",
                "peer",
                "eth0",
                "netns",
                name,
            )
            _ip("addr", "add", f"{here}/30", "dev", self._cable)
            _ip("link", "set", self._cable, "up")
            for device in ("eth0", "lo"):
                _ip("-n", name, "link", "set", device, "up")
            _ip("-n", name, "addr", "add", f"{there}/30", "dev", "eth0")
        except BaseException:
            self.close()
            raise
        self.listener = Listener("PLAINTEXT", host=here)
        self.prefix = ("ip", "netns", "exec", name)

    @property
    def address(self):
        """Where the far end finds the broker."""
        return self.listener.address

    def cut(self):
        """Drop what the far end sends and what is sent there."""
        # This end: the other would know at once that it has no way out.
        _ip("link", "set", self._cable, "down")

    def heal(self):
        """Let everything pass."""
        _ip("link", "set", self._cable, "up")

    def close(self):
        """Remove it, and the cable at once, which would go later by itself."""
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("link", "del", self._cable)
        _ip("netns", "del", self._name)


def has_namespaces():
    """Tell whether this process may make network namespaces."""
    if shutil.which("ip") is None:
        return False
    try:
        NamespaceLink().close()
    except subprocess.CalledProcessError:
        return False
    return True


def _ip(*arguments):
    subprocess.run(
        ["ip", *arguments], check=True, capture_output=True, timeout=COMMAND_TIMEOUT_S
    )
