"""Three brokers with three copies of every record: what one or two of them cost."""

from contextlib import closing

import pytest
from confluent_kafka.admin import AdminClient

from streams.kafka_log import KafkaLog
from streams.log import Append, LogUnavailable
from streams.topics import ORGS, USERS
from tests.crash.worker import wait_until
from tests.kafka.cluster import Cluster

pytestmark = pytest.mark.slow
SETTINGS = {
    "offsets.topic.replication.factor": "3",
    # Lost brokers are missed soon.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}


@pytest.fixture
def brokers(start_kafka):
    """The controller and two others."""
    first = start_kafka("one", settings=SETTINGS)
    others = [
        start_kafka(f"node-{node}", settings=SETTINGS, joins=first, node=node)
        for node in (2, 3)
    ]
    admin = AdminClient({"bootstrap.servers": first.address})
    wait_until(lambda: len(admin.list_topics(timeout=5).brokers) == 3)
    return [first, *others]


def by_leadership(brokers):
    """Return the two that are no controllers, first who leads more partitions."""
    first, *others = brokers
    admin = AdminClient({"bootstrap.servers": first.address})
    found = admin.list_topics(timeout=5).topics
    leaders = [
        one.leader for t in (USERS, ORGS) for one in found[t].partitions.values()
    ]
    if leaders.count(3) > leaders.count(2):
        others.reverse()
    return others


def test_one_of_three_brokers_may_be_lost_and_two_stop_what_is_not_safe(
    brokers, tmp_path, monkeypatch
):
    first = brokers[0]
    cluster = Cluster(
        tmp_path / "folders",
        first,
        monkeypatch,
        brokers=",".join(one.address for one in brokers),
        replication=3,
    )
    cluster.begin()
    with cluster.worker() as worker:
        cluster.purchases(0, 300)
        wait_until(cluster.is_folded, worker)
        second, third = by_leadership(brokers)
        second.kill()
        cluster.purchases(300, 300)
        wait_until(cluster.is_folded, worker, "the fold with two of three brokers")
        with closing(KafkaLog(cluster.config, append_timeout_s=8.0)) as impatient:
            third.kill()
            with pytest.raises(LogUnavailable):
                impatient.append_many([Append(USERS, 0, None, b"not safe")])
        third.start()
        second.start()
        cluster.purchases(600, 300)
        wait_until(cluster.is_folded, worker, "the fold with all brokers back")
        assert worker.stop() == 0, worker.said
    cluster.check_exactly_once()
    cluster.close()
