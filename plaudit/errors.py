"""Errors of the command line, and the exit code that each error ends with.

    0   done
    1   not done; trying again, or looking at the message, may help
    2   cannot work as asked: usage, settings, or a fault that a person must mend
    75  a worker that is to be started again at once

A supervised process that ends with 2 is not started again.
"""

from rules.errors import PlauditError, one_line
from streams.log import LogUnavailable
from tables.errors import MirrorUnavailable, SnapshotsUnavailable, ViewUnavailable

FAILED = 1
UNUSABLE = 2
AGAIN = 75
"""A worker that is to be started again at once: what it was parked for is over."""


class Failure(PlauditError):
    """What was asked for did not happen. The message says what to do."""


class Refused(Failure):
    """The worker decided against a command. Nothing is changed."""


class Unusable(PlauditError):
    """It cannot work like this. Mend what the message names, then start again."""


PASSING = (
    OSError,
    Failure,
    LogUnavailable,
    MirrorUnavailable,
    SnapshotsUnavailable,
    ViewUnavailable,
)
"""Errors that may be gone the next time."""


def exit_code(error: PlauditError | OSError) -> int:
    """Return the exit code of an error that ends a command."""
    return FAILED if isinstance(error, PASSING) else UNUSABLE


def message_of(error: PlauditError | OSError) -> str:
    """Return the line that the user reads: the text, or what the class stands for."""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        text = f"{where}{error.strerror or error}"
    else:
        text = str(error) or type(error).__doc__ or type(error).__name__
    return one_line(text)
