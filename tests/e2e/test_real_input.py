"""All invoices of a year through the command line, against a computation of its own.

What is compared: every customer's balance, tier and badges, and the sum of all ledger
entries. Then the same file again, which must add nothing. All of it on the real file,
where there is one, and on a made-up one, which holds stranger amounts; on both sizes.
"""

import csv
import json
import sys
from collections import Counter
from contextlib import closing

import pytest

from streams.kafka_config import KafkaConfig
from streams.kafka_log import KafkaLog
from streams.sqlite_log import SqliteLog
from streams.topics import LEDGER
from tests.e2e import retail
from tests.e2e.running import Running, command
from tests.kafka_server import empty

pytestmark = pytest.mark.slow

PROFILES_AT_ONCE = 100
LOYALTY = "/loyalty/v1"
AUDIENCE = "/v1/api/audience"


@pytest.fixture(
    scope="module",
    params=["real", "made up"] if retail.SHARED.exists() else ["made up"],
)
def path(request, tmp_path_factory):
    if request.param == "real":
        return retail.SHARED
    path = tmp_path_factory.mktemp("retail") / "invoices.csv"
    retail.write_made_up(path)
    return path


@pytest.fixture(scope="module", params=["embedded", "scaled"])
def log_of(request, path):
    """Return a function that opens the log of a data folder, as `plaudit` finds it."""
    assert path.exists()
    if request.param == "embedded":
        yield SqliteLog
        return
    address = request.getfixturevalue("shared_kafka").address
    redis = request.getfixturevalue("shared_redis")
    empty(address)
    redis.ask("FLUSHALL")
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("PLAUDIT_KAFKA_BROKERS", address)
        environ.setenv("PLAUDIT_KAFKA_REPLICATION", "1")
        environ.setenv("PLAUDIT_REDIS_URL", redis.url)
        yield lambda _folder: KafkaLog(KafkaConfig(brokers=address, replication=1))


@pytest.fixture(scope="module")
def wanted(path):
    return retail.expected(retail.read_rows(path))


@pytest.fixture(scope="module")
def running(tmp_path_factory, path, log_of):
    with Running(tmp_path_factory.mktemp("run") / "data") as process:
        segment = create(process, "segments", retail.SEGMENT)
        for body in retail.campaigns(segment["segmentId"]):
            create(process, "campaigns", body)
        yield process


@pytest.fixture(scope="module")
def summary(running, path):
    return load(running, path)


def create(process, kind, body):
    token = process.credentials["adminToken"]
    status, _, answer = process.call("POST", f"{LOYALTY}/{kind}", body, token=token)
    assert status == 201, answer
    return answer["data"]


def load(process, path, *options):
    done = command(
        *("load", path, "--user", "CustomerID", "--action", "purchase"),
        *("--time", "InvoiceDate", "--id", "InvoiceNo", "--data", "amount=TotalPrice"),
        *("-d", process.data_dir, "--json", *options),
    )
    return json.loads(done.stdout)


def read_profiles(process, user_ids):
    found = {}
    for first in range(0, len(user_ids), PROFILES_AT_ONCE):
        ids = ",".join(user_ids[first : first + PROFILES_AT_ONCE])
        route = f"{AUDIENCE}/internal/profiles?user_ids={ids}"
        status, _, body = process.call("GET", route)
        assert status == 200, body
        assert body["data"]["notFound"] == []
        found |= {one["userId"]: one for one in body["data"]["profiles"]}
    return found


def read_ledger(log):
    """Return every ledger entry by id; the topic may hold a record more than once."""
    entries = {}
    for partition in range(log.partitions(LEDGER)):
        # The first is no entry: it names the log.
        offset = 1
        while records := log.read(LEDGER, partition, offset):
            for record in records:
                for entry in json.loads(record.value)[2]:
                    entries[entry[0]] = entry
            offset += len(records)
    return entries


def check_all(process, wanted, log_of):
    profiles = read_profiles(process, sorted(wanted))
    for user_id, customer in wanted.items():
        profile = profiles[user_id]
        assert profile["points"] == customer["points"], user_id
        assert profile["lifetime"]["points"] == customer["points"], user_id
        assert profile["tier"] == customer["tier"], user_id
        assert profile["badges"] == customer["badges"], user_id
    points, entries = Counter(), Counter()
    with closing(log_of(process.data_dir)) as log:
        ledger = read_ledger(log)
    for entry in ledger.values():
        user_id, kind, amount = entry[4], entry[6], entry[8]
        assert kind in ("credit", "badge")
        points[user_id] += amount
        entries[user_id] += 1
    assert points == Counter({u: c["points"] for u, c in wanted.items() if c["points"]})
    assert entries == {u: c["entries"] for u, c in wanted.items() if c["entries"]}


def test_all_invoices_are_loaded(summary, path, capsys):
    rows = len(retail.read_rows(path))
    assert summary["rows"] == summary["accepted"] == rows
    assert summary["refused"] == summary["duplicate"] == summary["tooLate"] == 0
    seconds, rate = summary["seconds"], summary["rowsPerSecond"]
    with capsys.disabled():
        sys.stdout.write(
            f"\n{path.name}: {rows:,} actions in {seconds:.2f} s, {rate:,.0f}/s\n"
        )


def test_every_customer_has_what_the_file_says(summary, running, wanted, log_of):
    assert summary["rows"]
    check_all(running, wanted, log_of)


def test_a_customer_reads_the_same_in_transactions(summary, running, wanted):
    assert summary["rows"]
    best = max(wanted, key=lambda user_id: wanted[user_id]["points"])
    scope = ("--sub", best, "--scope", "audience:read")
    token = command("token", "-d", running.data_dir, *scope).stdout.strip()
    found, key = [], ""
    while key is not None:
        after = f"&lastEvaluatedKey={key}" if key else ""
        route = f"{AUDIENCE}/transactions?limit=100{after}"
        status, _, body = running.call("GET", route, token=token)
        assert status == 200, body
        found += body["data"]["transactions"]
        key = body["data"]["lastEvaluatedKey"]
    credits = [one for one in found if one["type"] == "credit"]
    assert sum(one["amount"] for one in credits) == wanted[best]["points"]
    assert credits[0]["balanceAfter"] == wanted[best]["points"]


def test_loading_it_again_adds_nothing(summary, running, path, wanted, log_of):
    again = load(running, path)
    assert again["alreadyLoaded"]
    forced = load(running, path, "--again")
    assert forced["duplicate"] == forced["rows"] == summary["rows"]
    assert forced["accepted"] == 0
    check_all(running, wanted, log_of)


def test_the_same_rows_in_another_file_add_nothing(
    summary, running, wanted, path, log_of
):
    assert summary["rows"]
    copy = running.data_dir.parent / "copy.csv"
    with copy.open("w", newline="") as file:
        writer = csv.DictWriter(file, retail.COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(retail.read_rows(path)[:2_000])
    assert load(running, copy)["duplicate"] == 2_000
    check_all(running, wanted, log_of)


def test_made_up_invoices_have_the_same_shape(tmp_path):
    file = tmp_path / "invoices.csv"
    retail.write_made_up(file)
    rows = retail.read_rows(file)
    assert list(rows[0]) == list(retail.COLUMNS)
    customers = retail.expected(rows).values()
    assert {one["tier"] for one in customers} == {name for name, _ in retail.TIERS}
    assert any(one["badges"] for one in customers)
