"""Settings of all processes: one frozen value, read once from the environment.

A variable that begins with ``PLAUDIT_`` and is no setting stops the start: a misspelt
name must not silently mean the default. docs/settings.md lists every one of them.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from api.config import PREFIX as API_PREFIX
from api.config import ApiConfig, BadSetting
from streams.faults import parse_fault
from streams.kafka_config import MECHANISMS, PROTOCOLS, KafkaConfig
from streams.topics import PARTITIONS_MAX
from tables.address import are_addresses
from tables.certificates import holds_certificates
from tables.object_url import check_endpoint, check_url
from tables.redis_url import check_urls

PREFIX = "PLAUDIT_"
LOG_LEVELS = ("debug", "info", "warning", "error")

_BOUNDS = {
    "port": (1, 65_535),
    "partitions": (1, PARTITIONS_MAX),
    "server_threads": (1, 512),
    "worker_processes": (0, 64),
    "drain_timeout_ms": (1_000, 300_000),
    "snapshot_every_s": (1, 86_400),
    "kafka_replication": (1, 32),
}
_CHOICES = {
    "log_level": LOG_LEVELS,
    "kafka_security_protocol": PROTOCOLS,
    "kafka_sasl_mechanism": MECHANISMS,
}

MEMORY = {"MALLOC_ARENA_MAX": "2"}
"""Of a process with many threads: the C library would keep a heap for each of them,
which grows with whatever it happened to hold once."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What the operator chose.

    Attributes:
      data_dir: The data folder D.
      host: Address that the API listens on.
      port: TCP port that the API listens on, 1..65,535.
      partitions: Partitions of `users` in a new data folder, 1..1,024; fixed by
        `plaudit init`.
      server_threads: Requests that the API answers at the same time, 1..512.
      worker_processes: Processes that fold, 0..64; at most one per partition. 0: as
        many as there are cores.
      drain_timeout_ms: How long a process may take to finish its work after SIGTERM,
        1,000..300,000; then it is killed.
      redis_url: Redis that mirrors the tables for readers, or several with commas that
        share the partitions; empty: they read the tables of this machine. May hold a
        password: never shown.
      log_level: Least severe line written to stderr.
      snapshots_url: Where snapshots of the tables go: ``file:///path`` or
        ``s3://bucket/prefix``; empty: there are none.
      snapshot_every_s: Pause between two snapshots of a partition, 1..86,400.
      snapshots_endpoint_url: Server for ``s3://``; empty: Amazon's.
      master_key_file: What seals secrets; empty: ``D/master.key``.
      kafka_brokers: ``host:port,...``; empty: the log is embedded in the data folder.
      kafka_security_protocol, kafka_sasl_mechanism, kafka_sasl_username,
        kafka_sasl_password, kafka_ca_file, kafka_replication: see `KafkaConfig`.
      fault: A fault point (streams/faults.py), for crash tests; None: none.
      api: Settings of the API, ``PLAUDIT_API_*``.
    """

    data_dir: Path = Path("data")
    host: str = "127.0.0.1"
    port: int = 8_400
    partitions: int = 4
    server_threads: int = 64
    worker_processes: int = 0
    drain_timeout_ms: int = 10_000
    redis_url: str = field(default="", repr=False)
    log_level: str = "warning"
    snapshots_url: str = ""
    snapshot_every_s: int = 300
    snapshots_endpoint_url: str = ""
    master_key_file: str = ""
    kafka_brokers: str = ""
    kafka_security_protocol: str = "PLAINTEXT"
    kafka_sasl_mechanism: str = "SCRAM-SHA-512"
    kafka_sasl_username: str = ""
    kafka_sasl_password: str = field(default="", repr=False)
    kafka_ca_file: str = ""
    kafka_replication: int = 3
    fault: tuple[str, int] | None = None
    api: ApiConfig = field(default_factory=ApiConfig)

    def __post_init__(self) -> None:
        """Check the bounds; raises `BadSetting`."""
        for name, (low, high) in _BOUNDS.items():
            if not low <= getattr(self, name) <= high:
                raise BadSetting(f"{variable(name)} must be from {low} to {high}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise BadSetting(f"{variable(name)} must be one of {choices}")
        if not self.host:
            raise BadSetting(f"{variable('host')} must not be empty")
        _check("redis_url", check_urls, self.redis_url)
        _check("snapshots_url", check_url, self.snapshots_url)
        _check("snapshots_endpoint_url", check_endpoint, self.snapshots_endpoint_url)
        if self.kafka_brokers:
            self._check_kafka()

    def _check_kafka(self) -> None:
        if not are_addresses(self.kafka_brokers):
            # Not quoted: a password may stand where it does not belong.
            raise BadSetting(
                f"{variable('kafka_brokers')} must be like host:9092,host:9092, with "
                "ports from 1 to 65535 and without credentials: those are "
                f"{variable('kafka_sasl_username')} and "
                f"{variable('kafka_sasl_password')}"
            )
        if self.kafka_security_protocol.startswith("SASL"):
            for name in ("kafka_sasl_username", "kafka_sasl_password"):
                if not getattr(self, name):
                    raise BadSetting(
                        f"{variable(name)} must be set where "
                        f"{variable('kafka_security_protocol')} is "
                        f"{self.kafka_security_protocol}"
                    )
        if self.kafka_ca_file and not holds_certificates(self.kafka_ca_file):
            raise BadSetting(
                f"{variable('kafka_ca_file')} names no file of certificates (PEM) that "
                "can be read"
            )

    @property
    def kafka(self) -> KafkaConfig | None:
        """The Kafka cluster that holds the log; None: the log is embedded."""
        if not self.kafka_brokers:
            return None
        return KafkaConfig(
            brokers=self.kafka_brokers,
            security_protocol=self.kafka_security_protocol,
            sasl_mechanism=self.kafka_sasl_mechanism,
            sasl_username=self.kafka_sasl_username,
            sasl_password=self.kafka_sasl_password,
            ca_file=self.kafka_ca_file,
            replication=self.kafka_replication,
        )

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Return the settings of an environment.

        Args:
          environ: Variables; those without the prefix are not looked at.

        Raises:
          BadSetting: A variable is unknown, malformed or out of bounds.
        """
        values: dict[str, object] = {}
        for name, text in environ.items():
            if not name.startswith(PREFIX) or name.startswith(API_PREFIX):
                continue
            key = name.removeprefix(PREFIX).lower()
            if key not in NAMES or name != variable(key):
                raise BadSetting(f"{name} is not a setting; docs/settings.md has them")
            values[key] = _parse(name, key, text)
        api = ApiConfig.from_env(environ, partitions=ApiConfig.partitions)
        return cls(api=api, **values)  # type: ignore[arg-type]  # checked by _parse

    @property
    def url(self) -> str:
        """Base URL under which this machine reaches the API."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104  # compared, not bound
        return (
            f"http://[{host}]:{self.port}"
            if ":" in host
            else f"http://{host}:{self.port}"
        )

    def with_partitions(self, partitions: int) -> Self:
        """Return these settings for a log with that many `users` partitions."""
        api = replace(self.api, partitions=partitions)
        return replace(self, partitions=partitions, api=api)

    def environ(self) -> dict[str, str]:
        """Return the variables that give a child process these settings."""
        names = [name for name in NAMES if name != "fault"]
        values = {variable(name): str(getattr(self, name)) for name in names}
        if self.fault is not None:
            values[variable("fault")] = f"{self.fault[0]}:{self.fault[1]}"
        return values


def child_environ(settings: Settings) -> dict[str, str]:
    """Return the environment of a process that we start with these settings."""
    return {**MEMORY, **os.environ, **settings.environ()}


def _check(name: str, check: Callable[[str], None], text: str) -> None:
    """Check a setting that may be empty; its text may hold a password.

    Raises:
      BadSetting: A check refuses it. The message does not quote it, nor does what led
        to the message.
    """
    if not text:
        return
    try:
        check(text)
    except ValueError as error:
        raise BadSetting(f"{variable(name)} {error}") from None


NAMES = (
    "data_dir",
    "host",
    "port",
    "partitions",
    "server_threads",
    "worker_processes",
    "drain_timeout_ms",
    "redis_url",
    "log_level",
    "snapshots_url",
    "snapshot_every_s",
    "snapshots_endpoint_url",
    "master_key_file",
    "kafka_brokers",
    "kafka_security_protocol",
    "kafka_sasl_mechanism",
    "kafka_sasl_username",
    "kafka_sasl_password",
    "kafka_ca_file",
    "kafka_replication",
    "fault",
)


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return PREFIX + name.upper()


def _parse(name: str, key: str, text: str) -> object:
    """Return a variable's value; raises `BadSetting`."""
    if key in _BOUNDS:
        if not text.isascii() or not text.isdigit() or len(text) > 18:
            raise BadSetting(f"{name} must be a whole number")
        return int(text)
    if key == "data_dir":
        if not text:
            raise BadSetting(f"{name} must not be empty")
        return Path(text)
    if key == "fault":
        try:
            return parse_fault(text)
        except ValueError as error:
            raise BadSetting(str(error)) from error
    return text
