"""A Kafka broker on this machine's loopback, for development and tests.

A real broker in KRaft mode: one process is broker and controller; further brokers may
join it. Several run at the same time on free ports, each in a folder of its own, and
start again on their data:

    <folder>/server.properties  data/  broker.log  broker.pid

One broker is for trying things out: what it acknowledged may be lost with the power.
``docker/kafka/cli.py`` is its command line.
"""

import contextlib
import ctypes
import logging
import re
import signal
import subprocess
import time
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from docker.kafka.errors import BrokerFailed
from docker.kafka.jars import JARS, fetch_jars
from docker.kafka.listener import Listener
from docker.ports import free_port

HEAP: Final = "-Xmx512m"
FORMAT_TIMEOUT_S: Final = 60.0
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 20.0
LOOK_EVERY_S: Final = 0.05
ANSWER_TIMEOUT_S: Final = 2.0
_PR_SET_PDEATHSIG: Final = 1

_SETTINGS: Final = """\
process.roles={roles}
node.id={node}
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT{protocols}
listeners=PLAINTEXT://127.0.0.1:{port}{listeners}
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


def _end_with_parent() -> None:
    """In the child: be killed when the parent ends. Where it cannot be, go without."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def pid_file(folder: Path) -> Path:
    """Return the file that names the process of a folder's broker."""
    return folder / "broker.pid"


class Broker:
    """A broker over one folder; start, kill and stop it as often as you like."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        listener: Listener | None = None,
        settings: Mapping[str, str] | None = None,
        joins: "Broker | None" = None,
        node: int = 1,
    ) -> None:
        """Name the folder; nothing runs yet.

        Args:
          folder: Its data and settings; made where it is missing.
          port: Of the open listener; None: a free one.
          listener: A second one.
          settings: Settings of the broker that differ from those here.
          joins: A broker that was started once, whose cluster this one is of.
          node: Its number in the cluster; 1 is the controller, too.
        """
        self.folder = folder.absolute()
        self.port = port or free_port()
        self._joins = joins
        self._node = node
        self._controller: int = joins._controller if joins else free_port()
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
                roles="broker" if self._joins else "broker,controller",
                node=self._node,
                controller=self._controller,
                port=self.port,
                data=self.folder / "data",
                protocols=f",SECOND:{one.protocol}" if one else "",
                listeners=",".join(["", *self._further_listeners()]),
            ).strip(),
            *(self._advertised(one) if one else ()),
            *(one.lines() if one else ()),
            *(f"{key}={text}" for key, text in self._settings.items()),
        ]
        path = self.folder / "server.properties"
        path.touch(0o600)
        path.write_text("\n".join(lines) + "\n")

    def _further_listeners(self) -> Iterator[str]:
        if self._joins is None:
            yield f"CONTROLLER://127.0.0.1:{self._controller}"
        if self._listener is not None:
            yield f"SECOND://{self._listener.address}"

    def _advertised(self, second: Listener) -> list[str]:
        both = f"PLAINTEXT://{self.address},SECOND://{second.advertised}"
        return [f"advertised.listeners={both}"]

    def _format(self) -> None:
        done = subprocess.run(
            self._java(
                "kafka.tools.StorageTool",
                *("format", "-t", self._cluster()),
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

    def _cluster(self) -> str:
        """Return the id of the cluster: that of the broker it joins, or a new one."""
        if self._joins is None:
            drawn = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
            return f"x{drawn[1:]}"
        properties = (self._joins.folder / "data" / "meta.properties").read_text()
        (line,) = re.findall("^cluster.id=(.+)$", properties, re.MULTILINE)
        return str(line)

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
