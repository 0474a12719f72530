"""A real S3 server for tests: S3Proxy over a folder, on a free port of loopback.

Its jars come from Maven Central, once, into build/s3/jars (docker/s3/pom.xml). It needs
`java` and, for that once, `mvn`. A logback file keeps it from logging every byte.
"""

import contextlib
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

import pytest

from tests.servers import need

ROOT = Path(__file__).parents[1]
POM = ROOT / "docker" / "s3" / "pom.xml"
JARS = ROOT / "build" / "s3" / "jars"
NEEDED = "java and mvn (S3)"
BUCKET = "snapshots"
KEY = "test-identity"
SECRET = "test-credential-of-no-use-elsewhere"
DEADLINE_S = 60
FETCH_DEADLINE_S = 300
QUIET = '<configuration><root level="OFF"/></configuration>'


def is_available():
    """Tell whether the server can run here: java, and the jars or Maven."""
    return shutil.which("java") is not None and (
        JARS.is_dir() or shutil.which("mvn") is not None
    )


def fetch_jars():
    """Bring the server's jars, unless they are there."""
    if JARS.is_dir():
        return
    # Under another name first: an interrupted fetch must not look complete.
    staged = JARS.with_name(f"jars-{uuid.uuid4().hex}")
    command = ["mvn", "-q", "-B", "-f", POM, "dependency:copy-dependencies"]
    command += [f"-DoutputDirectory={staged}", "-DincludeScope=runtime"]
    try:
        subprocess.run(command, check=True, timeout=FETCH_DEADLINE_S)
        with contextlib.suppress(OSError):  # Another run was first.
            staged.rename(JARS)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


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
        fetch_jars()
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
                *("-cp", f"{JARS}/*", "org.gaul.s3proxy.Main"),
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


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """A server that is started once."""
    need(NEEDED, available=is_available())
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server
