"""Passwords and TLS on a real broker, with every mechanism that may be set."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from docker.kafka.broker import Listener
from docker.ports import free_port
from plaudit.errors import UNUSABLE, exit_code
from plaudit.settings import Settings
from streams.kafka_config import MECHANISMS, KafkaConfig
from streams.kafka_log import KafkaLog
from streams.log import LogError, LogUnavailable
from tests.crash.worker import plaudit, wait_until
from tests.kafka.certificates import write_certificates
from tests.kafka.cluster import Cluster

pytestmark = pytest.mark.slow
PASSWORD = "correct-horse"
USERS = {"plaudit": PASSWORD}


def fold_something(cluster):
    """Fold a few actions; no process may show the password."""
    cluster.begin()
    fold_actions(cluster, 0)
    cluster.check_exactly_once()


def fold_actions(cluster, first):
    cluster.purchases(first, 100)
    with cluster.worker() as worker:
        wait_until(cluster.is_folded, worker)
        command = Path(f"/proc/{worker.process.pid}/cmdline").read_bytes()
        assert PASSWORD.encode() not in command
        assert worker.stop() == 0, worker.said
        assert PASSWORD not in worker.said


def test_passwords(start_kafka, tmp_path, monkeypatch):
    listener = Listener("SASL_PLAINTEXT", users=USERS)
    broker = start_kafka(listener=listener)
    cluster = Cluster(
        tmp_path / "folders",
        broker,
        monkeypatch,
        brokers=listener.address,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username="plaudit",
        sasl_password=PASSWORD,
    )
    fold_something(cluster)
    for mechanism in MECHANISMS:
        config = msgspec.structs.replace(cluster.config, sasl_mechanism=mechanism)
        log = KafkaLog(config)
        assert log.log_id == cluster.log.log_id
        log.close()
    monkeypatch.setenv("PLAUDIT_KAFKA_SASL_MECHANISM", "PLAIN")
    fold_actions(cluster, 100)
    cluster.check_exactly_once()
    # A wrong one is one message, without it.
    monkeypatch.setenv("PLAUDIT_KAFKA_SASL_PASSWORD", "battery-staple")
    done = plaudit("worker", "--data-dir", cluster.path, check=False)
    assert done.returncode == 2
    assert "the brokers refuse the user" in done.stderr
    assert "PLAUDIT_KAFKA_SASL_PASSWORD" in done.stderr
    assert "battery-staple" not in done.stderr
    check_api_says_the_same(cluster)
    cluster.close()


def check_api_says_the_same(cluster):
    """Check that an API ends as the worker did, after the same last line."""
    done = plaudit(
        *("api", "--data-dir", cluster.path, "--port", free_port()), check=False
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("Error: the brokers refuse the user")
    assert "PLAUDIT_KAFKA_SASL_PASSWORD" in last
    assert "battery-staple" not in done.stderr


def test_a_client_that_takes_no_such_settings(tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    config = KafkaConfig(
        brokers="127.0.0.1:9", security_protocol="SSL", ca_file=f"{tmp_path}/ca.pem"
    )
    with pytest.raises(LogError, match="Correct the PLAUDIT_KAFKA_") as refused:
        KafkaLog(config)
    assert exit_code(refused.value) == UNUSABLE


def test_tls_with_passwords(start_kafka, tmp_path, monkeypatch):
    ca_file, keystore = write_certificates(tmp_path)
    listener = Listener(
        "SASL_SSL",
        users=USERS,
        settings={"ssl.keystore.type": "PEM", "ssl.keystore.location": str(keystore)},
    )
    broker = start_kafka(listener=listener)
    cluster = Cluster(
        tmp_path / "folders",
        broker,
        monkeypatch,
        brokers=listener.address,
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-256",
        sasl_username="plaudit",
        sasl_password=PASSWORD,
        ca_file=str(ca_file),
    )
    fold_something(cluster)
    cluster.close()


def test_tls_alone(start_kafka, tmp_path, monkeypatch):
    ca_file, keystore = write_certificates(tmp_path)
    listener = Listener(
        "SSL",
        settings={"ssl.keystore.type": "PEM", "ssl.keystore.location": str(keystore)},
    )
    broker = start_kafka(listener=listener)
    cluster = Cluster(
        tmp_path / "folders",
        broker,
        monkeypatch,
        brokers=listener.address,
        security_protocol="SSL",
        ca_file=str(ca_file),
    )
    fold_something(cluster)
    # Who does not know the signer does not speak to the broker.
    monkeypatch.setattr("streams.kafka_admin.ANSWER_TIMEOUT_S", 2.0)
    stranger = msgspec.structs.replace(cluster.config, ca_file="")
    with pytest.raises(LogUnavailable, match="no broker answers"):
        KafkaLog(stranger)
    cluster.close()


def test_no_secret_is_shown():
    settings = replace(
        Settings(),
        kafka_brokers="k1:9092",
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_username="plaudit",
        kafka_sasl_password=PASSWORD,
    )
    assert PASSWORD not in repr(settings)
    assert PASSWORD not in repr(settings.kafka)
    assert isinstance(settings.kafka, KafkaConfig)
