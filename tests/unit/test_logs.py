"""Which lines are written: ours from the level on, of libraries warnings alone."""

import logging

import pytest

from plaudit.logs import write_lines

LIBRARIES = ("botocore.endpoint", "aiobotocore", "s3fs", "fsspec", "urllib3", "asyncio")


@pytest.fixture
def levels():
    """The levels as they were are put back."""
    loggers = [logging.getLogger(), logging.getLogger("plaudit")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error"])
def test_a_level_is_for_our_lines(levels, level):
    write_lines(level)
    number = getattr(logging, level.upper())
    assert logging.getLogger("plaudit.kafka").getEffectiveLevel() == number
    for name in LIBRARIES:
        found = logging.getLogger(name).getEffectiveLevel()
        assert found == max(number, logging.WARNING)
