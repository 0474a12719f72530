"""Settings of the API, built once at start and never changed."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

from rules.errors import PlauditError

PREFIX = "PLAUDIT_API_"
USERS = "users"
ORGS = "orgs"


class BadSetting(PlauditError):
    """A setting is unknown or out of bounds. Correct the environment, then start."""


@dataclass(frozen=True, kw_only=True)
class ApiConfig:
    """Settings of the API.

    Attributes:
      partitions: Partitions of the topic ``users``, fixed by the log; at least 1.
      body_bytes_max: Largest request body, bytes, 1,024..100,000,000.
      command_timeout_ms: How long an answer waits for a command's outcome, 1..60,000.
      position_timeout_ms: How long a read waits for X-Plaudit-Position, 1..60,000.
      uploads_max: Bodies that are received at the same time, 1..512; keep it below the
        server's threads, so that slow senders do not hold up reads.
      heartbeat_stale_ms: A partition whose owner is silent for longer is degraded,
        1,000..3,600,000.
    """

    partitions: int = 4
    body_bytes_max: int = 5_000_000
    command_timeout_ms: int = 5_000
    position_timeout_ms: int = 2_000
    uploads_max: int = 32
    heartbeat_stale_ms: int = 30_000

    def __post_init__(self) -> None:
        """Check the bounds; raises `BadSetting`."""
        for name, (low, high) in _BOUNDS.items():
            if not low <= getattr(self, name) <= high:
                raise BadSetting(f"{name} must be from {low} to {high}")

    @classmethod
    def from_env(cls, environ: Mapping[str, str], *, partitions: int) -> Self:
        """Return the settings of an environment.

        Args:
          environ: Variables ``PLAUDIT_API_<NAME>``, e.g.
            ``PLAUDIT_API_BODY_BYTES_MAX``.
          partitions: Partitions of the topic ``users``.

        Raises:
          BadSetting: A variable is unknown, no integer, or out of bounds.
        """
        known = {PREFIX + field.name.upper(): field.name for field in fields(cls)}
        known.pop(PREFIX + "PARTITIONS")
        values: dict[str, int] = {}
        for variable, text in environ.items():
            if not variable.startswith(PREFIX):
                continue
            if variable not in known:
                raise BadSetting(f"{variable} is not a setting")
            if not text.isascii() or not text.isdigit():
                raise BadSetting(f"{variable} must be a whole number")
            values[known[variable]] = int(text)
        return cls(partitions=partitions, **values)

    def machines(self) -> list[tuple[str, int]]:
        """Return every (topic, partition) whose tables the API reads."""
        users = [(USERS, partition) for partition in range(self.partitions)]
        return [(ORGS, 0), *users]


_BOUNDS = {
    "partitions": (1, 4_096),
    "body_bytes_max": (1_024, 100_000_000),
    "command_timeout_ms": (1, 60_000),
    "position_timeout_ms": (1, 60_000),
    "uploads_max": (1, 512),
    "heartbeat_stale_ms": (1_000, 3_600_000),
}
