"""How the brokers of a Kafka cluster are reached.

The log (librdkafka) asks here; what Faust's consumer wants is made of the same value in
streams/transports/kafka.py.
"""

import logging
import re
import time
from typing import Any, Final

import msgspec

PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
RECEIVE_BYTES_MAX: Final = 1_000_000_000
"""An answer of a broker, and what a batch in it unpacks to. What the workers fold comes
in through a client without such a bound: with the default, a tenth of this, they would
fold what they cannot read again at their next start."""
NEWS_EVERY_S: Final = 10.0
"""How often the log says the same of a broker that cannot be reached."""
NEWS_MAX: Final = 32
"""Different lines that are remembered."""
_VARYING: Final = re.compile(r"\[[^]]*\]|\([^)]*\)|\d+ms")
"""When, and by which of our clients, is said of a broker that cannot be reached."""


class _Calm(logging.Filter):
    """Lets a line through now and then: clients try again several times a second."""

    def __init__(self) -> None:
        super().__init__()
        self._said_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """See logging.Filter."""
        now = time.monotonic()
        what = _VARYING.sub("", record.getMessage())
        if now - self._said_at.get(what, -NEWS_EVERY_S) < NEWS_EVERY_S:
            return False
        if len(self._said_at) >= NEWS_MAX:
            del self._said_at[min(self._said_at, key=self._said_at.__getitem__)]
        self._said_at[what] = now
        return True


logger = logging.getLogger("plaudit.kafka")
logger.addFilter(_Calm())


def calm(name: str) -> None:
    """Let all loggers of a package say the same only now and then.

    A filter holds for its own logger alone, so the package must be imported by now.
    """
    filtering = _Calm()
    for known in list(logging.root.manager.loggerDict):
        if known == name or known.startswith(f"{name}."):
            logging.getLogger(known).addFilter(filtering)


class KafkaConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The cluster, and who we are there.

    Attributes:
      brokers: ``host:port,...``: some of its brokers, to find the others by.
      security_protocol: One of `PROTOCOLS`.
      sasl_mechanism: One of `MECHANISMS`; where the protocol has SASL.
      sasl_username, sasl_password: For SASL.
      ca_file: Certificates (PEM) that sign the brokers'; empty: those of this machine.
      replication: Copies of every record, 1..32. With 3 a record is acknowledged once
        2 brokers have it; with 1 it may be lost with the power.
    """

    brokers: str
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "SCRAM-SHA-512"
    sasl_username: str = ""
    sasl_password: str = ""
    ca_file: str = ""
    replication: int = 3

    def __repr__(self) -> str:
        """Name the brokers, and no secret."""
        return f"KafkaConfig({self.brokers})"

    @property
    def min_insync_replicas(self) -> int:
        """Brokers that must have a record before it is acknowledged."""
        return 1 if self.replication == 1 else 2

    @property
    def has_sasl(self) -> bool:
        """Whether clients name themselves."""
        return self.security_protocol.startswith("SASL")

    @property
    def has_tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.security_protocol.endswith("SSL")

    def librdkafka(self, **settings: Any) -> dict[str, Any]:
        """Return a client's settings, with further ones."""
        found: dict[str, Any] = {
            "bootstrap.servers": self.brokers,
            "security.protocol": self.security_protocol,
            "client.id": "plaudit",
            "receive.message.max.bytes": RECEIVE_BYTES_MAX,
            # Why a connection fails; what else happens is an error of some call.
            "logger": logger,
            "log_level": 3,
            # A broker that comes back is found soon.
            "reconnect.backoff.max.ms": 1_000,
            "topic.metadata.refresh.interval.ms": 30_000,
        }
        if self.has_sasl:
            found |= {
                "sasl.mechanism": self.sasl_mechanism,
                "sasl.username": self.sasl_username,
                "sasl.password": self.sasl_password,
            }
        if self.has_tls and self.ca_file:
            found["ssl.ca.location"] = self.ca_file
        return found | settings
