"""What is said of brokers that cannot be reached."""

import logging

from streams.kafka_config import NEWS_MAX, logger


def lines(*texts):
    """Return which of some lines the log lets through."""
    (calm,) = logger.filters
    return [
        text
        for text in texts
        if calm.filter(logging.LogRecord("x", 40, "", 0, text, None, None))
    ]


def test_the_same_is_said_now_and_then_and_what_is_new_at_once():
    refused = "FAIL [plaudit#consumer-{0}] [thrd:b1]: b1:9092: refused (after {0}ms)"
    wrong = "FAIL [plaudit#admin-1] [thrd:b1]: b1:9092: SASL authentication failed"
    first = refused.format(1)
    assert lines(first, refused.format(2), wrong, wrong) == [first, wrong]


def test_what_was_said_is_not_remembered_without_bound():
    many = [f"host-{number}: refused" for number in range(3 * NEWS_MAX)]
    assert lines(*many) == many
    (calm,) = logger.filters
    assert len(calm._said_at) <= NEWS_MAX
