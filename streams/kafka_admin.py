"""What the brokers are asked to tell or to make: topics, and their settings.

Every answer comes within a time, and every failure is an error of the log.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported there
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from streams.kafka_config import KafkaConfig
from streams.kafka_errors import ask, log_error
from streams.log import LogError, LogUnavailable

ANSWER_TIMEOUT_S: Final = 15.0


class KafkaAdmin:
    """Asks the brokers about topics, and makes them."""

    def __init__(self, config: KafkaConfig) -> None:
        """Prepare a client; it connects when it is asked something.

        Raises:
          LogError: The client takes no such settings.
        """
        self._refused: KafkaError | None = None
        try:
            self._client: Any = AdminClient(config.librdkafka(error_cb=self._note))
        except KafkaException as error:
            raise LogError(
                f"the brokers cannot be reached like this: {error.args[0].str()}. "
                "Correct the PLAUDIT_KAFKA_* settings"
            ) from error

    def _note(self, error: KafkaError) -> None:
        if error.code() == KafkaError._AUTHENTICATION:
            self._refused = error

    def topics(self) -> Mapping[str, Any]:
        """Return what the brokers say of each topic: partitions, with their replicas.

        Raises:
          LogUnavailable: No broker answers.
          LogError: They refuse who we say that we are.
        """
        self._refused = None
        try:
            found: Mapping[str, Any] = self._client.list_topics(
                timeout=ANSWER_TIMEOUT_S
            ).topics
        except KafkaException as error:
            # Why they cannot be reached is told apart from that they cannot.
            self._client.poll(0)
            if self._refused is not None:
                raise LogError(
                    f"the brokers refuse the user: {self._refused.str()}. Correct "
                    "PLAUDIT_KAFKA_SASL_USERNAME, PLAUDIT_KAFKA_SASL_PASSWORD or "
                    "PLAUDIT_KAFKA_SASL_MECHANISM"
                ) from error
            raise log_error(error.args[0], "no broker answers") from error
        return found

    def make(self, topics: Sequence[NewTopic]) -> None:
        """Make topics; those that are there already stay as they are.

        Raises:
          LogError: There are too few brokers, or they refuse.
          LogUnavailable: No broker answers.
        """
        for name, future in self._client.create_topics(list(topics)).items():
            what = f"cannot make topic {name}"
            try:
                future.result(timeout=ANSWER_TIMEOUT_S)
            except KafkaException as error:
                code = error.args[0].code()
                if code == KafkaError.INVALID_REPLICATION_FACTOR:
                    raise LogError(
                        f"{what}: as many copies need as many brokers. Start them, or "
                        "set PLAUDIT_KAFKA_REPLICATION=1, which is not safe against "
                        "the loss of a broker"
                    ) from error
                if code != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise log_error(error.args[0], what) from error
            except FutureTimeout as error:
                raise LogUnavailable(f"{what}: no answer. Check the brokers") from error

    def settings(self, topic: str) -> dict[str, str | None]:
        """Return the settings in force for a topic.

        Raises:
          LogUnavailable: No broker answers.
        """
        resource = ConfigResource(ResourceType.TOPIC, topic)

        def described() -> Any:
            future = self._client.describe_configs([resource])[resource]
            return future.result(timeout=ANSWER_TIMEOUT_S)

        what = f"cannot read the settings of topic {topic}"
        entries = ask(described, what, ANSWER_TIMEOUT_S)
        return {name: entry.value for name, entry in entries.items()}

    def close(self) -> None:
        """Let go of the brokers; idempotent."""
        self._client = None
