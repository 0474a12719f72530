"""Making a log on a broker."""

from streams.kafka_log import KafkaLog
from tests.contract.log_contract import LOG_ID, PARTITIONS


def create(config, partitions=PARTITIONS, log_id=LOG_ID):
    """Make a log, or finish it; return its id."""
    return KafkaLog.create(config, log_id, partitions, tzdata_version="2025b")
