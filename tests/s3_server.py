"""A real S3 server for tests: S3Proxy over a folder, on a free port of loopback.

Its jars come from Maven Central, once, into docker/s3/lib. It needs `java` and, for that
once, `mvn`. A logback file keeps it from logging every byte.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

JARS = Path(__file__).parents[1] / "docker" / "s3"
BUCKET = "snapshots"
KEY = "test-identity"
SECRET = "test-credential-of-no-use-elsewhere"
DEADLINE_S = 60
FETCH_DEADLINE_S = 300
QUIET = '<configuration><root level="OFF"/></configuration>'
MISSING = "an S3 server needs java, and mvn to fetch it"


def is_possible():
    """Tell whether the server can run here."""
    fetched = (JARS / "lib").is_dir()
    return shutil.which("java") is not None and (
        fetched or shutil.which("mvn") is not None
    )


def fetch_jars():
    """Bring the server's jars, unless they are there."""
    lib = JARS / "lib"
    if lib.is_dir():
        return lib
    # Under another name first: an interrupted fetch must not look complete.
    staged = JARS / f"lib.{os.getpid()}.new"
    command = ["mvn", "-q", "-B", "dependency:copy-dependencies"]
    command += [f"-DoutputDirectory={staged}", "-DincludeScope=runtime"]
    try:
        subprocess.run(command, cwd=JARS, check=True, timeout=FETCH_DEADLINE_S)
        with contextlib.suppress(OSError):  # Another run was first.
            staged.rename(lib)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return lib


class S3Server:
    """The server with one bucket; ended by leaving the context."""

    def __init__(self, folder: Path):
        """Start nothing yet.

        Args:
          folder: For its settings and objects; exists.
        """
        self.folder = folder
        self.data = folder / "data"
        self.url = f"s3://{BUCKET}"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.endpoint = f"http://127.0.0.1:{probe.getsockname()[1]}"
        self.environ = {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        self._process = None

    def __enter__(self):
        lib = fetch_jars()
        (self.data / BUCKET).mkdir(parents=True, exist_ok=True)
        settings = {
            "s3proxy.endpoint": self.endpoint,
            "s3proxy.authorization": "aws-v2-or-v4",
            "s3proxy.identity": KEY,
            "s3proxy.credential": SECRET,
            "jclouds.provider": "filesystem-nio2",
            "jclouds.filesystem.basedir": self.data,
            "jclouds.identity": "unused",
            "jclouds.credential": "unused",
        }
        properties = self.folder / "s3.properties"
        lines = [f"{name}={value}\n" for name, value in settings.items()]
        properties.write_text("".join(lines))
        quiet = self.folder / "logback.xml"
        quiet.write_text(QUIET)
        self.output = (self.folder / "out").open("wb")
        self._process = subprocess.Popen(
            [
                *("java", "-Xmx256m", "-XX:TieredStopAtLevel=1"),
                f"-Dlogback.configurationFile={quiet}",
                *("-cp", f"{lib}/*", "org.gaul.s3proxy.Main"),
                *("--properties", properties),
            ],
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=self.output,
        )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error):
        self._process.kill()
        self._process.wait(DEADLINE_S)
        self.output.close()

    def _wait(self):
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                urllib.request.urlopen(self.endpoint, timeout=1).close()
            except urllib.error.HTTPError as error:
                error.close()
                return  # It answers: that we are nobody.
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError((self.folder / "out").read_text())
