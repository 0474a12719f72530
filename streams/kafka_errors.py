"""What the Kafka client's errors mean to whoever uses the log."""

import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Final, TypeVar

from confluent_kafka import KafkaError, KafkaException

from streams.log import LogError, LogUnavailable

T = TypeVar("T")

AGAIN_AFTER_S: Final = 0.05
_PASSING: Final = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._DESTROY_BROKER,
        KafkaError._TIMED_OUT,
        KafkaError._TRANSPORT,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._WAIT_COORD,
    }
)
"""What a broker says that has just come, or gone. The topics were there when the log
was opened, so one that does not know them has not read its own log yet."""
_REFUSED: Final = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.INVALID_RECORD,
    }
)
"""What is no better the next time."""


def log_error(error: KafkaError, what: str) -> LogError:
    """Return what an error of the client means to whoever uses the log."""
    text = f"{what}: {error.str()}"
    if error.code() in _REFUSED:
        return LogError(f"{text}. Check the brokers' settings and rights")
    return LogUnavailable(f"{text}. Check the brokers; try again")


def ask(question: Callable[[], T], what: str, timeout_s: float) -> T:
    """Return the answer to a question; asked again while leaders change.

    Args:
      question: Asks, and waits for the answer.
      what: What cannot be done without an answer.
      timeout_s: From when on it is not asked again, seconds.

    Raises:
      LogError: The last error, in words of the log.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return question()
        except KafkaException as error:
            if error.args[0].code() not in _PASSING or time.monotonic() >= deadline:
                raise log_error(error.args[0], what) from error
        except FutureTimeout as error:
            raise LogUnavailable(f"{what}: no answer. Check the brokers") from error
        time.sleep(AGAIN_AFTER_S)
