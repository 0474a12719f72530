"""What the org's aggregate sees, and what it decides about a command."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from rules.config import OrgConfig
from rules.errors import Rejection
from rules.message import Command, JsonObject
from rules.outcome import Result

Change: TypeAlias = tuple[str, str, JsonObject | None]
"""(kind, id, the whole new row as JSON); None where the row is gone."""


class OrgView(Protocol):
    """One org's rows as they stand before a command."""

    @property
    def config(self) -> OrgConfig | None:
        """The live config, or None: the org does not exist."""

    def row(self, kind: str, row_id: str) -> Any | None:
        """Return any stored row, archived campaigns and keys included, or None."""

    def rows(self, kind: str) -> list[Any]:
        """Return all stored rows of a kind."""


class Decision(msgspec.Struct):
    """The outcome of one admin command.

    Attributes:
      result: The answer.
      changes: One config version, for this partition and every one of `users`; where
        there is none, the version stays. Under 900 kB: rows have bounds.
      private: API-key and JWT-key rows, for this partition only.
    """

    result: Result
    changes: list[Change] = []
    private: list[Change] = []


def answered(
    command: Command,
    status: int,
    body: JsonObject | None = None,
    *,
    changes: Sequence[Change] = (),
    private: Sequence[Change] = (),
) -> Decision:
    """Return a decision in the caller's favour."""
    result = Result(command.command_id, status, body)
    return Decision(result, list(changes), list(private))


def refused(
    command: Command, status: int, code: str, message: str, field: str | None = None
) -> Decision:
    """Return a decision that changes nothing, for one reason."""
    error = Rejection(code, message, field)
    return Decision(Result(command.command_id, status, None, error, [error]))


def invalid(command: Command, problems: list[Rejection]) -> Decision:
    """Return a decision that changes nothing, for what is wrong with the body."""
    return Decision(Result(command.command_id, 400, None, problems[0], problems))
