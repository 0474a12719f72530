"""How an error ends a command: one line and an exit code."""

import pytest

from plaudit.errors import FAILED, UNUSABLE, Failure, Unusable, exit_code, message_of
from streams.app import last_line
from streams.log import LogError, LogUnavailable


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (Failure("not done"), "not done", FAILED),
        (Unusable("one line\n  or two"), "one line or two", UNUSABLE),
        (LogUnavailable("no broker answers"), "no broker answers", FAILED),
        (LogError("refused"), "refused", UNUSABLE),
        (OSError(28, "disk full", "/d/x"), "/d/x: disk full", FAILED),
        (OSError("just a text"), "just a text", FAILED),
    ],
)
def test_an_error_is_one_line_and_a_code(error, line, code):
    assert message_of(error) == line
    assert exit_code(error) == code


def test_a_worker_says_why_it_ends_in_one_line():
    said = last_line(LogError("one line\n  or two"))
    assert said == "plaudit worker: LogError: one line or two"


def test_an_error_without_a_text_says_what_its_class_stands_for():
    assert message_of(Unusable()) == " ".join(Unusable.__doc__.split())
