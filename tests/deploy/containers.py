"""Containers of the image, and the network between them, made of namespaces."""

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

from tests.deploy.image import BASE_ENVIRON, entering

COMMAND_TIMEOUT_S = 30
LOOK_EVERY_S = 0.1
BRIDGE = "bridge"
_numbers = itertools.count()


class Network:
    """A bridge that hosts with names are on; this machine is on it, too.

    The bridge has a namespace of its own: a firewall of this machine, such as an
    engine's, is none of it.
    """

    def __init__(self, folder, names):
        self._name = f"pd{os.getpid()}n{next(_numbers)}"
        self._subnet = f"10.214.{os.getpid() % 250}"
        self._spaces = {}
        self._hosts = {name: f"{self._subnet}.{n}" for n, name in enumerate(names, 2)}
        self.hosts_file = folder / "hosts"
        lines = [f"{address} {name}\n" for name, address in self._hosts.items()]
        self.hosts_file.write_text("".join(["127.0.0.1 localhost\n", *lines]))
        _ip("netns", "add", self._name)
        try:
            _ip("-n", self._name, "link", "add", BRIDGE, "type", "bridge")
            _ip("-n", self._name, "link", "set", BRIDGE, "up")
            self._plug_in(self._name, "here", ("netns", str(os.getpid())))
            _ip("addr", "add", f"{self._subnet}.1/24", "dev", self._name)
            _ip("link", "set", self._name, "up")
        except BaseException:
            self.close()
            raise

    def _plug_in(self, device, cable, space):
        """Connect a new device of a namespace to the bridge."""
        far = ("type", "veth", "peer", device, *space)
        _ip("-n", self._name, "link", "add", cable, "master", BRIDGE, *far)
        _ip("-n", self._name, "link", "set", cable, "up")

    def address(self, name):
        """Return where a host is found from this machine."""
        return self._hosts[name]

    def space(self, name):
        """Return the name of a host's namespace, which is made at the first call."""
        if name in self._spaces:
            return self._spaces[name]
        number = self._hosts[name].rpartition(".")[2]
        space = f"{self._name}h{number}"
        _ip("netns", "add", space)
        self._spaces[name] = space
        self._plug_in("eth0", f"host{number}", ("netns", space))
        for device in ("eth0", "lo"):
            _ip("-n", space, "link", "set", device, "up")
        _ip("-n", space, "addr", "add", f"{self._hosts[name]}/24", "dev", "eth0")
        return space

    def close(self):
        """Remove hosts, cables and bridge."""
        for space in self._spaces.values():
            # The cable goes with its far end.
            _ip("-n", space, "link", "del", "eth0")
            _ip("netns", "del", space)
        _ip("netns", "del", self._name)


def _ip(*arguments):
    subprocess.run(
        ["ip", *arguments], check=True, capture_output=True, timeout=COMMAND_TIMEOUT_S
    )


class Container:
    """A process of the image on a read-only root, as the image's user.

    Args:
      stage: The image.
      output: File for what it says.
      command: What it is told to run.
      environ: Variables beside the image's.
      volumes: Folders by their path in the container. An empty one becomes the image's
        folder of that path, owner and all, as an engine has it.
      network: Where it is a host, and as which; None: alone.
    """

    def __init__(self, stage, output, command, environ, volumes, network=None):
        self._stage = stage
        self.output = output
        self._environ = stage.environ | environ
        words = [*_as_user(stage), *json.loads(stage.last["ENTRYPOINT"]), *command]
        binds = [_volume(stage, *one) for one in volumes.items()]
        prefix = []
        if network is not None:
            net, name = network
            binds.append(f"{net.hosts_file}:/etc/hosts")
            prefix = ["ip", "netns", "exec", net.space(name)]
        with output.open("ab") as file:
            self._process = subprocess.Popen(
                [*prefix, *entering(stage.folder, words, binds=binds, access="ro")],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
            )

    def execute(self, *command, check=True):
        """Run one more command in the container; return what came of it."""
        there = ["nsenter", "--target", str(self._inner_pid()), "--root", "--wd"]
        done = subprocess.run(
            [*there, "--mount", "--pid", "--net", *_as_user(self._stage), *command],
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0 or not check, (command, done)
        return done

    def wait_until_well(self, test, timeout_s=90):
        """Wait until a health check's words end with code 0."""
        deadline = time.monotonic() + timeout_s
        while True:
            assert self._process.poll() is None, self.output.read_text()
            with contextlib.suppress(ProcessLookupError):
                done = self.execute(*test, check=False)
                if done.returncode == 0:
                    return
                assert time.monotonic() < deadline, (done, self.output.read_text())
            time.sleep(LOOK_EVERY_S)

    def wait(self, timeout_s=90):
        """Wait until it has ended; return its exit code."""
        return self._process.wait(timeout_s)

    def stop(self, timeout_s=30):
        """End it as an engine does; return its exit code."""
        os.kill(self._inner_pid(), signal.SIGTERM)
        return self._process.wait(timeout_s)

    def kill(self):
        """End it and all that it began, at once; idempotent."""
        self._process.kill()
        self._process.wait()

    def _inner_pid(self):
        """Return the number, out here, of the process that was asked for."""
        shell = _child(self._process.pid)
        return _child(shell)


def _child(pid):
    """Return the one child of a process.

    Raises:
      ProcessLookupError: It has none, or none yet.
    """
    found = Path(f"/proc/{pid}/task/{pid}/children")
    if not found.exists() or not (children := found.read_text().split()):
        raise ProcessLookupError(pid)
    return int(children[0])


def _as_user(stage):
    user, group = stage.user
    kept = ("--reuid", user, "--regid", group, "--clear-groups", "--no-new-privs")
    return ["setpriv", *kept, "--bounding-set=-all", "--inh-caps=-all"]


def _volume(stage, there, here):
    if not here.exists():
        image = stage.folder / there.lstrip("/")
        shutil.copytree(image, here)
        found = image.stat()
        os.chown(here, found.st_uid, found.st_gid)
    return f"{here}:{there}"


def host_process(network, name, words, *, output, environ, folder):
    """Start a program of this machine as a host of a network, without the image."""
    shell = 'mount --make-rprivate / && mount --bind "$0" /etc/hosts && hostname "$1"'
    with output.open("ab") as file:
        return subprocess.Popen(
            [
                *("ip", "netns", "exec", network.space(name)),
                *("unshare", "--uts", "--mount", "--pid", "--fork", "--kill-child"),
                *("sh", "-c", f'{shell} && shift && exec "$@"'),
                *(str(network.hosts_file), name, *words),
            ],
            env=BASE_ENVIRON | environ,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )


def broker_properties(environ):
    """Return a broker's settings as the official image makes them of its variables."""
    return [
        f"{name.removeprefix('KAFKA_').lower().replace('_', '.')}={value.strip()}"
        for name, value in environ.items()
        if re.match("KAFKA_(?!HEAP_OPTS)", name)
    ]
