"""The environment that Quix Streams runs in: ``build/quix``, made once."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from bench.instance import BenchFailed

FOLDER: Final = Path(__file__).parents[2] / "build" / "quix"
REQUIREMENTS: Final = Path(__file__).with_name("requirements.txt")
INSTALL_TIMEOUT_S: Final = 600.0
VERSION_TIMEOUT_S: Final = 30.0


def quix_python() -> str:
    """Return the path of the environment's Python; make it where it is missing.

    Raises:
      BenchFailed: It cannot be made.
    """
    python = FOLDER / "bin" / "python"
    # Written last; holds what the environment was made from.
    mark = FOLDER / REQUIREMENTS.name
    if not mark.exists() or mark.read_bytes() != REQUIREMENTS.read_bytes():
        _run([sys.executable, "-m", "venv", "--clear", str(FOLDER)])
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q"]
        _run([*pip, "-r", str(REQUIREMENTS)])
        shutil.copy(REQUIREMENTS, mark)
    return str(python)


def quix_version() -> str:
    """Return the version of Quix Streams there."""
    code = "from importlib.metadata import version; print(version('quixstreams'))"
    done = subprocess.run(
        [quix_python(), "-c", code],
        capture_output=True,
        text=True,
        timeout=VERSION_TIMEOUT_S,
        check=True,
    )
    return done.stdout.strip()


def _run(command: list[str]) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        raise BenchFailed(f"cannot make {FOLDER}:\n{done.stderr[-2_000:]}")
