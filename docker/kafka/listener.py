"""The ways into a broker beside its open one."""

from collections.abc import Mapping

from docker.ports import free_port


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
