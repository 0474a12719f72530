"""The image without an engine: its instructions carried out in namespaces.

Each stage is a folder that holds what the instructions put there. This machine's
Python, /usr and /etc stand in for the base image; nothing else of the machine is to be
seen. What stays unknown is whether the base image has what the instructions use.
"""

import fnmatch
import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.deploy.compose_files import DOCKER, dockerfile

ROOT = DOCKER.parent
STEP_TIMEOUT_S = 300
BASE_ENVIRON = {
    "PATH": f"{sys.base_prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/tmp",
}
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64")
_ENTER = """\
set -eu
root=$1 access=$2; shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
while [ "$1" != -- ]; do
    mount --bind "${1%%:*}" "$root${1#*:}"
    shift
done
shift
mount -t tmpfs tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
[ "$access" = rw ] || mount -o remount,bind,ro "$root"
chroot "$root" "$@" || exit $?
"""
"""Gives a process a root of its own. What it may see: folders bound as `here:there`.

The shell stays, as the first process of all in there: they end with it, and it with us.
"""


@functools.cache
def has_containers():
    """Tell whether this process may make namespaces and show its `python` there."""
    try:
        subprocess.run(
            ["unshare", *_NAMESPACES, "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
            check=True,
            capture_output=True,
            timeout=STEP_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return shutil.which("python", path=BASE_ENVIRON["PATH"]) is not None


_NAMESPACES = ("--mount", "--pid", "--fork", "--kill-child")


def entering(root, command, *, binds=(), access="rw"):
    """Return the command line that runs a command in a folder as its root.

    Args:
      root: A stage's folder.
      command: What runs there.
      binds: Further folders to be seen, as `here:there`.
      access: `rw` or `ro`: whether the root can be written to.
    """
    system = [f"{path}:{path}" for path in _system_folders() if Path(path).is_dir()]
    return [
        *("unshare", *_NAMESPACES, "sh", "-c", _ENTER, "sh"),
        *(str(root), access, *system, "/dev:/dev", *binds, "--"),
        *command,
    ]


def _system_folders():
    for path in _SYSTEM:
        if not Path(path).is_symlink():
            yield path
    if not sys.base_prefix.startswith("/usr"):
        yield sys.base_prefix


class Stage:
    """What the instructions after one FROM have made so far."""

    def __init__(self, folder, known):
        self.folder = folder
        self._known = known
        self.environ = dict(BASE_ENVIRON)
        self.work_folder = "/"
        self.last = {}
        for path in (*_system_folders(), "/dev", "/proc", "/tmp", "/root", "/var"):
            self._path(path).mkdir(parents=True, exist_ok=True)
        for path in _SYSTEM:
            if Path(path).is_symlink():
                self._path(path).symlink_to(Path(path).readlink())
        shutil.copytree("/etc", folder / "etc", symlinks=True)

    @property
    def user(self):
        """Numbers of user and group that its processes have."""
        return self.last["USER"].split(":")

    def carry_out(self, word, rest):
        """Carry out one instruction."""
        self.last[word] = rest
        if word == "ENV":
            for pair in rest.split():
                name, _, value = pair.partition("=")
                self.environ[name] = value.replace("$PATH", self.environ["PATH"])
        elif word == "WORKDIR":
            self.work_folder = rest
            self._path(rest).mkdir(parents=True, exist_ok=True)
        elif word == "COPY":
            self._copy(rest.split())
        elif word == "RUN":
            self._run(rest)

    def _run(self, shell):
        # What an engine passes on as well: how this machine reaches package indexes.
        passed_on = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(("PIP_", "SSL_")) or name.lower().endswith("_proxy")
        }
        words = ["sh", "-c", f'cd "{self.work_folder}" && {shell}']
        done = subprocess.run(
            entering(self.folder, words),
            env=passed_on | self.environ,
            capture_output=True,
            text=True,
            timeout=STEP_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, f"RUN {shell}\n{done.stdout}{done.stderr}"

    def _copy(self, words):
        base = ROOT
        if words[0].startswith("--from="):
            base = self._known[words.pop(0).removeprefix("--from=")].folder
        *sources, target = words
        for source in sources:
            into = self._path(target)
            if (path := base / source.lstrip("/")).is_dir():
                shutil.copytree(
                    path, into, symlinks=True, dirs_exist_ok=True, ignore=_left_out
                )
            else:
                into = into / path.name if target.endswith(("/", ".")) else into
                into.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, into)

    def _path(self, path):
        # Relative to the current folder, unless it begins at the root.
        return self.folder / str(Path(self.work_folder) / path).lstrip("/")


def _left_out(_folder, names):
    """Return what of a folder the build may not see, by the last part of a pattern."""
    lines = (DOCKER / "Dockerfile.dockerignore").read_text().splitlines()
    hidden = [line.rpartition("/")[2] for line in lines if line.startswith("**/")]
    return {name for one in hidden for name in fnmatch.filter(names, one)}


def build(folder):
    """Carry out the Dockerfile in a folder; return the last stage."""
    stages = {}
    for word, rest in dockerfile():
        if word == "FROM":
            name = rest.partition(" AS ")[2] or "last"
            stages[name] = stage = Stage(folder / name, stages)
        stage.carry_out(word, rest)
    return stages["last"]


def default_command(stage):
    """Return the words that a container of an image runs if it is told none."""
    return json.loads(stage.last["CMD"])
