"""Every command on a log that is on brokers."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from docker.ports import free_port
from streams.kafka_config import KafkaConfig
from streams.kafka_log import KafkaLog
from streams.topics import GROUP, ORGS, USERS, partition_of
from tests.crash.worker import wait_until
from tests.e2e.running import Running, command, eventually
from tests.kafka.cluster import Cluster

pytestmark = pytest.mark.slow
PARTITIONS = 2


@pytest.fixture
def environ(kafka, monkeypatch):
    """The settings of all processes; the same machine runs them."""
    settings = {
        "PLAUDIT_KAFKA_BROKERS": kafka.address,
        "PLAUDIT_KAFKA_REPLICATION": "1",
        "PLAUDIT_PARTITIONS": str(PARTITIONS),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return settings


def test_one_machine_runs_all_of_it(environ, kafka, tmp_path):
    folder = tmp_path / "d"
    rows = tmp_path / "rows.jsonl"
    rows.write_text(
        "".join(json.dumps({"u": f"user-{n % 9}", "n": n}) + "\n" for n in range(300))
    )
    with Running(folder) as running:
        running.create_campaign()
        assert running.points("alice", running.visit("alice", "one")) == 10
        # A worker that is killed is started again, and nothing counts twice.
        (pid,) = running.children()["worker"]
        os.kill(pid, signal.SIGKILL)
        running.visit("alice", "one")
        assert running.points("alice", running.visit("alice", "two")) == 20
        done = command("load", rows, "--user", "u", "--action", "visit", "-d", folder)
        assert "accepted   300" in done.stdout
        again = command(
            *("load", rows, "--user", "u", "--action", "visit", "-d", folder),
            "--again",
        )
        assert "duplicate  300" in again.stdout
        command("orgs", "create", "other", "-d", folder)
        command("keys", "create", "--org", "other", "-d", folder)
        assert command(
            *("token", "--sub", "bob", "--scope", "audience:read", "-d", folder)
        ).stdout
        write_bad_record(kafka)
        letters = eventually(lambda: dead_letters(folder))
        assert letters[0]["code"] == "WRONG_PARTITION"
        status = json.loads(command("status", "--json", "-d", folder).stdout)
        assert status["healthy"] and status["deadLetters"] == 1
        assert running.stop() == 0
    done = command("rebuild", "--json", "-d", folder)
    assert json.loads(done.stdout)["identical"] is True
    again = command("init", "-d", folder, check=False)
    assert again.returncode == 1
    assert "is initialised already; nothing is changed" in again.stderr


def test_the_mirror_snapshots_and_keys(environ, redis, tmp_path, monkeypatch):
    folder, snapshots = tmp_path / "d", tmp_path / "snapshots"
    snapshots.mkdir()
    monkeypatch.setenv("PLAUDIT_REDIS_URL", redis.url)
    monkeypatch.setenv("PLAUDIT_SNAPSHOTS_URL", f"file://{snapshots}")
    places = {(USERS, 0), (USERS, 1), (ORGS, 0)}
    with Running(folder) as running:
        running.create_campaign()
        position = running.visit("alice", "one")
        assert running.points("alice", position) == 10
        done = as_json("mirror", "rebuild", "-d", folder)
        assert places_of(done["partitions"]) == places
        made = as_json("keys", "create", "--name", "till", "-d", folder)
        as_json("keys", "revoke", made["keyId"], "-d", folder)
        (till,) = [
            key
            for key in as_json("keys", "list", "-d", folder)["keys"]
            if key["name"] == "till"
        ]
        assert till["keyId"] == made["keyId"] and till["revokedAt"]
        assert running.points("alice", position) == 10
        assert running.stop() == 0
    taken = as_json("snapshots", "take", "-d", folder)["snapshots"]
    assert places_of(taken) == places
    assert places_of(as_json("snapshots", "list", "-d", folder)["snapshots"]) == places
    shutil.rmtree(folder / "state")
    with Running(folder) as running:
        assert running.points("alice", running.visit("alice", "two")) == 20


def as_json(*arguments):
    return json.loads(command(*arguments, "--json").stdout)


def places_of(partitions):
    return {(one["topic"], one["partition"]) for one in partitions}


def allow_interrupts():
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupted_load_goes_on(environ, kafka, tmp_path):
    count = 200_000
    folder, rows = tmp_path / "d", tmp_path / "rows.jsonl"
    rows.write_text("".join(f'{{"u":"user-{n % 40}","n":{n}}}\n' for n in range(count)))
    load = ("load", rows, "--user", "u", "--action", "visit", "-d", folder)
    with Running(folder) as running:
        running.create_campaign()
        log = KafkaLog(KafkaConfig(brokers=kafka.address, replication=1))
        end = log.end_offset(USERS, 0)
        loading = subprocess.Popen(
            [sys.executable, "-P", "-m", "plaudit", *map(str, load)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # A shell's background jobs pass on that they ignore it.
            preexec_fn=allow_interrupts,  # noqa: PLW1509 - no thread holds a lock here
        )
        eventually(lambda: log.end_offset(USERS, 0) > end + 2)
        loading.send_signal(signal.SIGINT)
        assert loading.wait(30) == 1
        log.close()
        done = as_json(*load)
        # What was sent and not yet noted down goes out again, and counts once.
        assert (done["accepted"], done["duplicate"]) == (count, 0)
        users = ",".join(f"user-{n}" for n in range(40))
        path = f"/v1/api/audience/internal/profiles?user_ids={users}"

        def points():
            _status, _headers, body = running.call("GET", path)
            return sum(profile["points"] for profile in body["data"]["profiles"])

        assert eventually(lambda: points() == 10 * count)


def write_bad_record(kafka):
    """Write an action into the partition that is not its user's."""
    wrong = 1 - partition_of("demo", "carol", PARTITIONS)
    producer = Producer({"bootstrap.servers": kafka.address})
    body = json.dumps({"userId": "carol", "action": "visit"}).encode()
    producer.produce(USERS, body, key=b"demo/carol", partition=wrong)
    assert producer.flush(10) == 0


def dead_letters(folder):
    return json.loads(command("dead", "list", "--json", "-d", folder).stdout)["letters"]


def test_a_second_machine_needs_the_key_for_an_api_and_nothing_for_a_worker(
    environ, kafka, tmp_path, monkeypatch
):
    cluster = Cluster(tmp_path / "folders", kafka, monkeypatch, partitions=PARTITIONS)
    cluster.command("org.create", {"settings": {"name": "Acme"}})
    with cluster.worker("second") as worker:
        wait_until(cluster.is_folded, worker)
        refused = command(
            *("api", "-d", cluster.base / "third", "--port", free_port()), check=False
        )
        assert refused.returncode == 2
        assert "master.key is missing" in refused.stderr
        # The key may lie anywhere.
        monkeypatch.setenv("PLAUDIT_MASTER_KEY_FILE", str(cluster.path / "master.key"))
        status = json.loads(
            command("status", "--json", "-d", cluster.base / "second").stdout
        )
        assert status["logId"] == cluster.log.log_id
        assert status["workerAlive"]
        assert worker.stop() == 0, worker.said
    cluster.close()


def test_a_used_folder_and_other_brokers_do_not_mix(
    environ, start_kafka, tmp_path, monkeypatch, kafka
):
    cluster = Cluster(tmp_path / "folders", kafka, monkeypatch, partitions=PARTITIONS)
    with cluster.worker() as worker:
        wait_until(cluster.is_folded, worker)
        worker.stop()
    cluster.close()
    other = start_kafka()
    monkeypatch.setenv("PLAUDIT_KAFKA_BROKERS", other.address)
    refused = command("run", "-d", cluster.path, "--port", free_port(), check=False)
    assert refused.returncode == 2
    assert "has been used, but the brokers have no log" in refused.stderr
    # Another log on those brokers is not this folder's either.
    command("init", "-d", tmp_path / "new", "--partitions", PARTITIONS)
    refused = command("worker", "-d", cluster.path, check=False)
    assert refused.returncode == 2
    assert "the tables belong to log" in refused.stderr


def test_a_hole_parks_its_partition_until_it_is_skipped(
    environ, kafka, tmp_path, monkeypatch
):
    cluster = Cluster(tmp_path / "folders", kafka, monkeypatch, partitions=PARTITIONS)
    cluster.begin()
    with cluster.worker() as worker:
        wait_until(cluster.is_folded, worker)
        producer = Producer(
            {"bootstrap.servers": kafka.address, "transactional.id": "foreign"}
        )
        producer.init_transactions(20)
        producer.begin_transaction()
        hole = cluster.log.end_offset(USERS, 0) + 1
        producer.produce(USERS, b"no record of ours", partition=0)
        producer.commit_transaction(20)
        # The brokers write the mark a moment after they said that it is committed.
        wait_until(lambda: cluster.log.end_offset(USERS, 0) == hole + 1, worker)
        cluster.purchases(0, 200)
        wait_until(lambda: cluster.parked_offset(USERS, 0) == hole, worker)
        # The other partition goes on.
        end = cluster.log.end_offset(USERS, 1)
        wait_until(lambda: cluster.committed()[USERS, 1] == end, worker)
        command("skip", f"users/0@{hole}", "-d", cluster.path)
        worker.wait()
    with cluster.worker() as worker:
        wait_until(cluster.is_folded, worker)
        assert worker.stop() == 0, worker.said
    cluster.close()


def test_offsets_that_the_brokers_forgot_are_begun_again_by_init(
    environ, kafka, tmp_path, monkeypatch
):
    cluster = Cluster(tmp_path / "folders", kafka, monkeypatch, partitions=PARTITIONS)
    cluster.begin()
    cluster.purchases(0, 200)
    with cluster.worker() as worker:
        wait_until(cluster.is_folded, worker)
        assert worker.stop() == 0, worker.said
    admin = AdminClient({"bootstrap.servers": kafka.address})
    admin.delete_consumer_groups([GROUP])[GROUP].result(timeout=10)
    refused = command("worker", "-d", cluster.path, check=False)
    assert refused.returncode == 2
    assert "has no committed offset: run `plaudit init`" in refused.stderr
    again = command("init", "-d", cluster.path, check=False)
    assert "begin at 0 again" in again.stderr
    # Where the tables are lost as well, all is published again, as itself.
    shutil.rmtree(cluster.path / "state")
    with cluster.worker() as worker:
        cluster.purchases(200, 50)
        wait_until(cluster.is_folded, worker)
        assert worker.stop() == 0, worker.said
    cluster.check_exactly_once()
    cluster.close()
