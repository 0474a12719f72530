"""Errors of the whole house, and the values that stand for a caller's mistakes.

An operating error (a bad field, an unknown campaign) is a value, `Rejection`: it
travels in outcomes and answers and changes nothing. An exception is for what the
caller cannot decide; its docstring ends with what the operator should do.
"""

import msgspec


class Rejection(msgspec.Struct, frozen=True):
    """Why something was refused.

    Attributes:
      code: Stable upper-case code, documented in docs/errors.md.
      message: One sentence for a person; never holds a secret.
      field: Dotted path of the offending field, e.g. ``effects[0].amount``.
    """

    code: str
    message: str
    field: str | None = None


def one_line(text: str) -> str:
    """Return a message as one line: texts of libraries may have several."""
    return " ".join(text.split())


class PlauditError(Exception):
    """Base of every exception that Plaudit raises on purpose."""


class InvariantError(PlauditError):
    """The program caught itself in a state that cannot be.

    Nothing is written. Report it with the message; the log is intact. Where a record
    leads to it, the partition parks, and `plaudit skip` takes it out of the way.
    """
