"""Which lines a process writes to stderr."""

import logging
from typing import Final

OURS: Final = "plaudit"
"""The logger above all of ours."""


def write_lines(level: str) -> None:
    """Write our lines from a level on, and those of libraries from warnings on.

    What a library says below a warning holds what it sends and gets, as botocore does:
    tokens, signatures, whole answers. So no level of ours lets it through.

    Args:
      level: One of `plaudit.settings.LOG_LEVELS`.
    """
    least = logging.getLevelNamesMapping()[level.upper()]
    logging.basicConfig()
    logging.getLogger().setLevel(max(least, logging.WARNING))
    logging.getLogger(OURS).setLevel(least)
