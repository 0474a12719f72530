"""The jars that a Kafka broker runs on: fetched once, into ``build/kafka/jars``.

Maven copies what pom.xml names. A copy of pom.xml beside the jars says that all of
them are there, and of which version.
"""

import shutil
import subprocess
import uuid
from pathlib import Path
from typing import Final

from docker.kafka.errors import BrokerFailed

ROOT: Final = Path(__file__).parents[2]
POM: Final = Path(__file__).with_name("pom.xml")
JARS: Final = ROOT / "build" / "kafka" / "jars"
FETCH_TIMEOUT_S: Final = 600.0


def is_available() -> bool:
    """Tell whether this machine can run a broker: java, and the jars or Maven."""
    return shutil.which("java") is not None and (
        _complete() or shutil.which("mvn") is not None
    )


def _complete() -> bool:
    """Tell whether the jars are there, all that this pom.xml asks for."""
    mark = JARS / "pom.xml"
    return mark.exists() and mark.read_bytes() == POM.read_bytes()


def fetch_jars() -> None:
    """Fetch the jars, unless they are there.

    Raises:
      BrokerFailed: Maven could not.
    """
    if _complete():
        return
    staged = JARS.with_name(f"jars-{uuid.uuid4().hex}")
    command = [
        *("mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"),
        *("-DincludeScope=runtime", f"-DoutputDirectory={staged}"),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False
    )
    if done.returncode != 0:
        shutil.rmtree(staged, ignore_errors=True)
        raise BrokerFailed(f"Maven cannot fetch the jars:\n{done.stdout[-2_000:]}")
    shutil.copy(POM, staged / "pom.xml")
    shutil.rmtree(JARS, ignore_errors=True)
    staged.rename(JARS)


def kafka_version() -> str:
    """Return the version of the broker, as pom.xml names it."""
    return POM.read_text().partition("<kafka.version>")[2].partition("<")[0]
