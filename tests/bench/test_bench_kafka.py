"""The benchmarks on Kafka at small sizes, and how they judge a ledger."""

import json

import pytest

from bench import workload
from bench.idiomatic.rounds import Line, lines_of
from bench.instance import BenchFailed
from bench.kafka.cluster import Cluster
from bench.kafka.crash import kill_moments, run_crashes
from bench.kafka.ledger import judge
from bench.kafka.parts import KafkaSizes
from bench.kafka.plaudit_worker import PlauditWorker, kept_lines
from bench.kafka.run import measure
from bench.quix.environment import quix_python
from bench.report import write_json
from docker.kafka import jars
from docker.redis import server as redis_server
from rules.ledger import Entry
from tables.codec import encode_json
from tests.kafka_server import JAVA
from tests.servers import need

SMALL = KafkaSizes(
    users=200,
    actions=400,
    faust_actions=100,
    quix_actions=200,
    warm_up=20,
    repeats=1,
    failover_rate=500,
    snapshot_age_s=2,
)
FIGURES = {
    ("throughput",): {
        "actions_per_second",
        "idiomatic_faust_actions_per_second",
        "quix_actions_per_second",
        "quix_exactly_once_actions_per_second",
        "ratio_to_quix",
        "worker_rss_mb",
    },
    ("failover", "failover-snapshot", "replay", "scaling"): {
        "failover_s",
        "failover_snapshot_s",
        "replay_actions_per_second",
        "scaling_1_to_2_workers",
    },
}


def need_all():
    """Leave a test out on a machine that lacks one of the servers."""
    need(JAVA, available=jars.is_available())
    need(redis_server.REDIS, available=redis_server.is_available())


@pytest.mark.slow
@pytest.mark.parametrize("parts", FIGURES)
def test_parts_write_their_figures(parts, tmp_path, capsys):
    """Throughput also compares each ledger with what its actions earn: all agree."""
    need_all()
    if "throughput" in parts:
        try:
            quix_python()
        except BenchFailed:
            need("Quix Streams, by pip", available=False)
    found = measure(parts, tmp_path, SMALL)
    write_json(tmp_path / "results" / "found.json", found)
    stored = json.loads((tmp_path / "results" / "found.json").read_text())
    table = capsys.readouterr().out
    for key in FIGURES[parts]:
        assert stored[key] > 0
        assert len(stored["figures"][key]["spread"]["runs"]) == SMALL.repeats
        assert key in table
    assert stored["versions"]["kafka"].startswith("4.")
    assert stored["machine"]["cores"] > 0


@pytest.mark.slow
def test_a_killed_plaudit_neither_loses_nor_doubles(kafka, redis, tmp_path):
    actions = list(workload.actions(1_000, 200))
    cluster = Cluster(kafka.address)
    with PlauditWorker(cluster, tmp_path / "plaudit", redis.url) as worker:
        run = run_crashes(worker, cluster, actions, per_second=500, kills=1, seed=1)
    assert (run.kills, run.restarts, run.left) == (1, 0, 0)
    assert run.verdict.expected > 1_000
    assert run.verdict.lost == run.verdict.doubled == run.verdict.unexpected == 0
    assert run.verdict.wrong_balances == 0


def ledger_of(actions):
    """Return the ledger that a faultless app writes."""
    balances = {}
    lines = []
    for line in lines_of(actions):
        purse = (line.user, line.currency)
        balances[purse] = balances.get(purse, 0) + line.amount
        values = {name: getattr(line, name) for name in line.__struct_fields__}
        lines.append(Line(**(values | {"balance": balances[purse]})))
    return lines


def test_a_ledger_is_compared_with_what_its_actions_earn():
    actions = list(workload.actions(300, 50))
    lines = ledger_of(actions)
    good = judge(actions, lines)
    assert good.expected == len(lines) > 300
    assert good.lost == good.doubled == good.unexpected == good.wrong_balances == 0
    assert judge(actions, lines[:-3]).lost == 3
    assert judge(actions, lines[:-3]).wrong_balances > 0
    assert judge(actions, [*lines, lines[-1], lines[-1]]).doubled == 2
    last = lines[-1]
    odd = Line(last.user, last.event_id, "None", last.currency, 5, last.balance)
    assert judge(actions, [*lines, odd]).unexpected == 1


def test_another_amount_is_no_entry_that_was_expected():
    actions = list(workload.actions(50, 10))
    lines = ledger_of(actions)
    first = lines[0]
    lines[0] = Line(
        first.user, first.event_id, first.campaign, first.currency, first.amount + 1
    )
    found = judge(actions, lines)
    assert (found.unexpected, found.lost) == (1, 1)


def test_kills_come_one_in_each_share_and_are_seeded():
    moments = kill_moments(1_000, 3, seed=7)
    assert moments == kill_moments(1_000, 3, seed=7) != kill_moments(1_000, 3, seed=8)
    assert [moment // 250 for moment in moments] == [0, 1, 2]


def entry(number, ordinal):
    """Return a ledger entry of a message."""
    what = {
        "kind": "credit",
        "currency": "points",
        "amount": 5,
        "balance_after": 5,
        "source": "campaign",
        "campaign_id": "c1",
        "event_id": f"event-{number}",
    }
    values = {"entry_id": "0" * 32, "number": number, "ordinal": ordinal} | what
    rest = dict.fromkeys(Entry.__struct_fields__, None) | {"org": "o", "user": "u"}
    times = {"sequence": 1, "occurred_at_ms": 0, "created_at_ms": 0}
    return Entry(**(rest | times | values))


def record(*entries, partition=0):
    """Return a ledger record of a source partition, which stands in its namesake."""
    header = {"topic": "users", "partition": partition}
    return partition, encode_json([1, header, list(entries)])


def test_a_consumer_keeps_the_greatest_of_each_source():
    records = [
        (0, encode_json([1, [["genesis", "0" * 32, 1, 1, ""]]])),
        record(entry(1, 0), entry(1, 1)),
        record(entry(1, 0), entry(1, 1), entry(2, 0)),
        record(entry(1, 0), partition=1),
    ]
    lines = kept_lines(records, {"c1": "First"})
    events = [line.event_id for line in lines]
    assert events == ["event-1", "event-1", "event-2", "event-1"]
    assert lines[0].campaign == "First"
