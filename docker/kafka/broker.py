"""One Kafka broker on this machine's loopback, for development and tests.

    python docker/kafka/broker.py start --folder data/kafka --port 9092
    python docker/kafka/broker.py stop --folder data/kafka
    python docker/kafka/broker.py fetch

A real broker in KRaft mode: one process is broker and controller. Its jars are got
with Maven once, into ``build/kafka/jars``. As a library, several brokers run at the
same time on free ports, each in a folder of its own, and start again on their data:

    <folder>/server.properties  data/  broker.log  broker.pid

One broker is for trying things out: what it acknowledged may be lost with the power.
"""

import argparse
import contextlib
import ctypes
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

ROOT: Final = Path(__file__).parents[2]
POM: Final = Path(__file__).with_name("pom.xml")
JARS: Final = ROOT / "build" / "kafka" / "jars"
HEAP: Final = "-Xmx512m"
FETCH_TIMEOUT_S: Final = 600.0
FORMAT_TIMEOUT_S: Final = 60.0
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 20.0
LOOK_EVERY_S: Final = 0.05
_PR_SET_PDEATHSIG: Final = 1
ANSWER_TIMEOUT_S: Final = 2.0
EMPTY_TIMEOUT_S: Final = 60.0

_SETTINGS: Final = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT{protocols}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{listeners}
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
share.coordinator.state.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=100
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=8388608
"""


_QUIET: Final = logging.Logger("nobody answers yet: that is no news", logging.CRITICAL)


class BrokerFailed(Exception):
    """The broker does not do what it was told. The message says where to look."""


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


def free_port() -> int:
    """Return a TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _end_with_parent() -> None:
    """In the child: be killed when the parent ends. Where it cannot be, go without."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Listener:
    """A second way into a broker: with SASL or TLS, or over a link of its own."""

    def __init__(
        self,
        protocol: str,
        *,
        users: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
        host: str = "127.0.0.1",
        advertised: str | None = None,
    ) -> None:
        """Describe it.

        Args:
          protocol: ``PLAINTEXT``, ``SASL_PLAINTEXT``, ``SASL_SSL`` or ``SSL``.
          users: Names and passwords, for SASL: SCRAM-SHA-256, SCRAM-SHA-512 and PLAIN.
          settings: Further settings of the listener, such as ``ssl.keystore.location``.
          host: Address of this machine that it listens on.
          advertised: ``host:port`` that its clients are told; None: its own.
        """
        self.protocol = protocol
        self.users = dict(users or {})
        self.settings = dict(settings or {})
        self.host = host
        self.port = free_port()
        self.advertised = advertised or self.address

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"{self.host}:{self.port}"

    def lines(self) -> list[str]:
        """Return its lines of the broker's settings."""
        prefix = "listener.name.second"
        lines = [f"{prefix}.{key}={text}" for key, text in self.settings.items()]
        if self.users:
            scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
            plain = " ".join(
                f'user_{name}="{password}"' for name, password in self.users.items()
            )
            lines += [
                "sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512,PLAIN",
                f"{prefix}.scram-sha-256.sasl.jaas.config={scram}",
                f"{prefix}.scram-sha-512.sasl.jaas.config={scram}",
                f"{prefix}.plain.sasl.jaas.config=org.apache.kafka.common.security."
                f"plain.PlainLoginModule required {plain};",
            ]
        return lines

    def format_options(self) -> list[str]:
        """Return what the storage has to know of it from the beginning."""
        return [
            text
            for name, password in self.users.items()
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
            for text in (
                "--add-scram",
                f"{mechanism}=[name={name},password={password}]",
            )
        ]


class Broker:
    """A broker over one folder; start, kill and stop it as often as you like."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        listener: Listener | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Name the folder; nothing runs yet.

        Args:
          folder: Its data and settings; made where it is missing.
          port: Of the open listener; None: a free one.
          listener: A second one.
          settings: Settings of the broker that differ from those here.
        """
        self.folder = folder.absolute()
        self.port = port or free_port()
        self._controller = free_port()
        self._listener = listener
        self._settings = dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Where clients find it."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process.

        Raises:
          BrokerFailed: It does not run.
        """
        if self._process is None:
            raise BrokerFailed("the broker does not run")
        return self._process.pid

    @property
    def _log(self) -> Path:
        return self.folder / "broker.log"

    def start(self, *, detached: bool = False) -> None:
        """Start it and wait until it answers.

        Args:
          detached: It outlives this process; else it ends with it, however that ends.

        Raises:
          BrokerFailed: It does not.
        """
        fetch_jars()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_settings()
        if not (self.folder / "data" / "meta.properties").exists():
            self._format()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", str(self.folder / "server.properties")),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=None if detached else _end_with_parent,  # noqa: PLW1509 - no threads here
            )
        pid_file(self.folder).write_text(f"{self._process.pid}\n")
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Let it write what it holds and end; idempotent."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_TIMEOUT_S)
        self.kill()

    def kill(self) -> None:
        """End it at once, as `kill -9` does; idempotent."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            pid_file(self.folder).unlink(missing_ok=True)

    def _java(self, main: str, *args: str) -> list[str]:
        return [
            *("java", HEAP, "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            *("-cp", str(JARS / "*"), main, *args),
        ]

    def _write_settings(self) -> None:
        one = self._listener
        lines = [
            _SETTINGS.format(
                controller=self._controller,
                port=self.port,
                data=self.folder / "data",
                protocols=f",SECOND:{one.protocol}" if one else "",
                listeners=f",SECOND://{one.address}" if one else "",
            ).strip(),
            *(self._advertised(one) if one else ()),
            *(one.lines() if one else ()),
            *(f"{key}={text}" for key, text in self._settings.items()),
        ]
        path = self.folder / "server.properties"
        path.touch(0o600)
        path.write_text("\n".join(lines) + "\n")

    def _advertised(self, second: Listener) -> list[str]:
        both = f"PLAINTEXT://{self.address},SECOND://{second.advertised}"
        return [f"advertised.listeners={both}"]

    def _format(self) -> None:
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        done = subprocess.run(
            self._java(
                "kafka.tools.StorageTool",
                *("format", "-t", f"x{cluster[1:]}"),
                *("-c", str(self.folder / "server.properties")),
                *(self._listener.format_options() if self._listener else ()),
            ),
            capture_output=True,
            text=True,
            timeout=FORMAT_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise BrokerFailed(f"cannot format {self.folder}:\n{done.stderr[-2_000:]}")

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        client = AdminClient({"bootstrap.servers": self.address, "logger": _QUIET})
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            with contextlib.suppress(KafkaException):
                if client.list_topics(timeout=ANSWER_TIMEOUT_S).brokers:
                    return
            time.sleep(LOOK_EVERY_S)
        tail = self._log.read_text(errors="replace")[-2_000:]
        raise BrokerFailed(f"the broker does not answer; {self._log} ends with\n{tail}")


def empty(address: str) -> None:
    """Delete every topic and every group of a broker.

    Raises:
      BrokerFailed: They do not go away in time.
    """
    client = AdminClient({"bootstrap.servers": address, "log_level": 0})
    deadline = time.monotonic() + EMPTY_TIMEOUT_S
    while names := [
        name
        for name in client.list_topics(timeout=EMPTY_TIMEOUT_S).topics
        if not name.startswith("__")
    ]:
        if time.monotonic() > deadline:
            raise BrokerFailed(f"topics {names} do not go away")
        for future in client.delete_topics(names).values():
            # One that is on its way out is no longer known.
            future.exception(timeout=EMPTY_TIMEOUT_S)
    groups = client.list_consumer_groups().result(timeout=EMPTY_TIMEOUT_S).valid
    names = [group.group_id for group in groups]
    while names:
        if time.monotonic() > deadline:
            raise BrokerFailed(f"groups {names} do not go away")
        # A member that was killed stays until its session ends.
        names = [
            name
            for name, future in client.delete_consumer_groups(names).items()
            if future.exception(timeout=EMPTY_TIMEOUT_S) is not None
        ]


def pid_file(folder: Path) -> Path:
    """Return the file that names the process of a folder's broker."""
    return folder / "broker.pid"


def running_pid(folder: Path) -> int | None:
    """Return the process of a folder's broker, or None where none runs."""
    folder = folder.absolute()
    try:
        pid = int(pid_file(folder).read_text())
        ps = ["ps", "-ww", "-p", str(pid), "-o", "command="]
        command = subprocess.run(ps, capture_output=True, text=True, check=False)
    except (OSError, ValueError):
        return None
    # Another process may have got the number since.
    return pid if str(folder / "server.properties") in command.stdout else None


def _stop(folder: Path) -> int:
    pid = running_pid(folder)
    if pid is None:
        sys.stdout.write("no broker runs\n")
        return 0
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while running_pid(folder) is not None:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            break
        time.sleep(LOOK_EVERY_S)
    pid_file(folder.absolute()).unlink(missing_ok=True)
    sys.stdout.write("the broker is stopped\n")
    return 0


def _start(folder: Path, port: int) -> int:
    if running_pid(folder) is not None:
        sys.stdout.write("the broker runs already\n")
        return 0
    broker = Broker(folder, port=port)
    try:
        broker.start(detached=True)
    except BrokerFailed as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"the broker listens on {broker.address} (data in {folder})\n")
    return 0


def main(args: Sequence[str]) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description="One Kafka broker for development.")
    parser.add_argument("command", choices=("start", "stop", "fetch"))
    parser.add_argument("--folder", type=Path, default=ROOT / "data" / "kafka")
    parser.add_argument("--port", type=int, default=9_092)
    chosen = parser.parse_args(args)
    if chosen.command == "stop":
        return _stop(chosen.folder)
    if not is_available():
        sys.stderr.write("a broker needs java (17 or newer) and mvn on this machine\n")
        return 1
    if chosen.command == "fetch":
        fetch_jars()
        return 0
    return _start(chosen.folder, chosen.port)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
