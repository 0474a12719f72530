"""The benchmarks at small sizes: they run, and what they write is plausible."""

import json

import pytest

from bench import workload
from bench.idiomatic.rounds import entries_of
from bench.measure import percentile, spread
from bench.report import write_json
from bench.rules import program_of
from bench.run import PARTS, Sizes, measure
from bench.sizes import measure as weigh
from bench.soak import SAMPLES_MIN, Sample, judge, soak
from rules.apply import apply, new_user
from rules.ledger import IdSpace
from rules.outcome import Place
from tests.memory_rows import MemoryRows
from tests.real_engine import decode

SMALL = Sizes(
    users=200,
    actions=400,
    ordinary_actions=100,
    ordinary_warm_up=20,
    rate=500,
    probes=5,
    rule_actions=400,
    requests=2,
    settle_s=0.1,
    repeats=1,
)
KEYS = {
    "throughput": {
        "actions_per_second",
        "idiomatic_faust_actions_per_second",
        "ratio",
        "worker_rss_mb",
    },
    "latency": {"visible_p50_ms", "visible_p99_ms"},
    "rules": {"rule_us_per_action", "rule_cost_ratio_500_vs_10", "config_change_us"},
    "post": {"post_1000_cpu_ms"},
}


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_a_part_writes_its_figures(part, tmp_path, capsys):
    found = measure((part,), tmp_path, SMALL)
    write_json(tmp_path / "results" / "found.json", found)
    stored = json.loads((tmp_path / "results" / "found.json").read_text())
    table = capsys.readouterr().out
    for key in KEYS[part]:
        # A clock tick of CPU may be more than a request of this test takes.
        assert stored[key] > 0 or key == "post_1000_cpu_ms"
        figure = stored["figures"][key]["spread"]
        assert figure["least"] <= figure["median"] <= figure["most"]
        assert len(figure["runs"]) == SMALL.repeats
        assert key in table
    assert stored["machine"]["cores"] > 0
    assert stored["machine"]["python"].startswith("3.")
    assert stored["versions"]["faust-streaming"]
    assert stored["seed"] == workload.SEED
    assert stored["sizes"]["actions"] == SMALL.actions
    if part == "throughput":
        details = stored["details"]["throughput"]
        assert 1 < details["entries_per_action"] < 2.5
    if part == "latency":
        assert stored["visible_p50_ms"] <= stored["visible_p99_ms"]
        assert stored["details"]["latency"]["produced"][0]["sent"] > 0


def test_both_competitors_earn_the_same_entries():
    actions = [decode(action) for action in workload.actions(3_000, 500)]
    program = program_of(workload.campaigns(workload.CAMPAIGNS))
    ids = IdSpace("0" * 32, "users", 0)
    users = {}
    entries = 0
    for number, action in enumerate(actions):
        if action.user not in users:
            rows = MemoryRows()
            users[action.user] = new_user(program, action.org, action.user, 1, rows)
        outcome = apply(program, users[action.user], action, Place(ids, number, 1))
        entries += len(outcome.entries)
    assert entries == entries_of(actions)
    assert 1.4 < entries / len(actions) < 1.8


def test_the_workload_is_the_same_every_time():
    once = list(workload.actions(50, 1_000, first=7))
    assert once == list(workload.actions(50, 1_000, first=7))
    assert [a.event_id for a in once] == [f"order-{n:09d}" for n in range(7, 57)]
    everybody = [a.user for a in workload.first_visits(300, first=0)]
    assert sorted(everybody) == [workload.user_id(n) for n in range(300)]
    records = workload.envelopes(workload.actions(450, 1_000), 2)
    assert {record.partition for record in records} == {0, 1}
    assert len(json.loads(records[0].value)[1]) == workload.ENVELOPE_ACTIONS
    total = sum(len(json.loads(record.value)[1]) for record in records)
    assert total == 450


@pytest.mark.slow
def test_a_short_soak_has_samples_and_a_verdict(tmp_path):
    samples, produced = soak(
        tmp_path / "data",
        seconds=1.5,
        rate=500,
        users=200,
        warm_up_actions=200,
        sample_s=0.5,
    )
    assert len(samples) == SAMPLES_MIN
    assert produced["sent"] > 0
    for sample in samples:
        assert sample.worker_rss_mb > 10
        assert sample.api_rss_mb > 10
        assert sample.worker_handles > 5
        assert sample.api_handles > 5
        assert 0 < sample.visible_p50_ms <= sample.visible_p99_ms
        assert sample.probes > 0
    assert set(judge(samples)) >= {"worker_rss_mb", "visible_p99_ms", "lag_records"}


def sample(second, **changed):
    figures = {
        "second": second,
        "worker_rss_mb": 300.0,
        "api_rss_mb": 150.0,
        "worker_handles": 60,
        "api_handles": 40,
        "visible_p50_ms": 5.0,
        "visible_p99_ms": 20.0,
        "lag_records": 3,
        "probes": 100,
        "load_average": 1.0,
    }
    return Sample(**(figures | changed))


def test_a_flat_soak_is_flat():
    verdicts = judge([sample(second) for second in range(9)])
    assert all(verdict.flat for verdict in verdicts.values())


@pytest.mark.parametrize(
    ("figure", "growth"),
    [
        ("worker_rss_mb", 20),
        ("api_rss_mb", 20),
        ("worker_handles", 5),
        ("api_handles", 5),
        ("visible_p50_ms", 3),
        ("visible_p99_ms", 20),
        ("lag_records", 30),
    ],
)
def test_what_grows_is_named(figure, growth):
    first = getattr(sample(0), figure)
    grown = [sample(n, **{figure: first + growth * n}) for n in range(9)]
    verdicts = judge(grown)
    assert [name for name, one in verdicts.items() if not one.flat] == [figure]


def test_one_odd_sample_is_no_growth():
    samples = [sample(second) for second in range(9)]
    samples[-2] = sample(7, visible_p99_ms=900.0, lag_records=500)
    assert all(verdict.flat for verdict in judge(samples).values())


def test_percentiles_and_spreads():
    assert percentile([5, 1, 3], 0.5) == 3
    assert percentile(range(1, 101), 0.99) == 99
    assert percentile([4], 0.99) == 4
    found = spread([3.0, 1.0, 2.0])
    assert (found.median, found.least, found.most) == (2.0, 1.0, 3.0)
    assert found.runs == (3.0, 1.0, 2.0)


def test_what_is_weighed_is_what_was_folded(tmp_path):
    found = weigh(tmp_path, users=20, actions=230)
    assert (found.users, found.actions) == (20, 250)
    assert found.kinds["user state"].rows == 20
    assert found.kinds["seen event id"].rows == 250
    assert found.kinds["ledger entries"].rows <= found.actions < found.entries
    # Key (one kind byte, bucket, hash) and value.
    assert 21 < found.kinds["seen event id"].bytes_per_row < 40
    assert 0 < found.kinds["user state"].bytes_per_row <= found.state_bytes_max + 20
    assert 0 < found.entry_bytes < found.ledger_bytes_per_action < 1_000
    assert found.cached_bytes_per_user > found.kinds["user state"].bytes_per_row
