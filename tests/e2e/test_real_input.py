"""All invoices of a year through the command line, against a computation of its own.

What is compared: every customer's balance, tier and badges, and the sum of all ledger
entries. Then the same file again, which must add nothing. All of it on the real file,
where there is one, and on a made-up one, which holds stranger amounts.
"""

import csv
import json
import sqlite3
import sys
from collections import Counter
from contextlib import closing

import pytest

from tests.e2e import retail
from tests.e2e.running import Running, command

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


@pytest.fixture(scope="module")
def wanted(path):
    return retail.expected(retail.read_rows(path))


@pytest.fixture(scope="module")
def running(tmp_path_factory, path):
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


def read_ledger(process):
    """Return every ledger entry by id; the topic may hold a record more than once."""
    file = process.data_dir / "log" / "ledger.db"
    entries = {}
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as topic:
        tables = topic.execute(
            "SELECT name FROM sqlite_schema WHERE name GLOB 'p[0-9]*'"
        )
        for (table,) in tables.fetchall():
            for (value,) in topic.execute(f"SELECT value FROM {table} ORDER BY offset"):
                record = json.loads(value)
                for entry in record[2] if len(record) == 3 else ():
                    entries[entry[0]] = entry
    return entries


def check_all(process, wanted):
    profiles = read_profiles(process, sorted(wanted))
    for user_id, customer in wanted.items():
        profile = profiles[user_id]
        assert profile["points"] == customer["points"], user_id
        assert profile["lifetime"]["points"] == customer["points"], user_id
        assert profile["tier"] == customer["tier"], user_id
        assert profile["badges"] == customer["badges"], user_id
    points, entries = Counter(), Counter()
    for entry in read_ledger(process).values():
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


def test_every_customer_has_what_the_file_says(summary, running, wanted):
    assert summary["rows"]
    check_all(running, wanted)


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


def test_loading_it_again_adds_nothing(summary, running, path, wanted):
    again = load(running, path)
    assert again["alreadyLoaded"]
    forced = load(running, path, "--again")
    assert forced["duplicate"] == forced["rows"] == summary["rows"]
    assert forced["accepted"] == 0
    check_all(running, wanted)


def test_the_same_rows_in_another_file_add_nothing(summary, running, wanted, path):
    assert summary["rows"]
    copy = running.data_dir.parent / "copy.csv"
    with copy.open("w", newline="") as file:
        writer = csv.DictWriter(file, retail.COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(retail.read_rows(path)[:2_000])
    assert load(running, copy)["duplicate"] == 2_000
    check_all(running, wanted)


def test_made_up_invoices_have_the_same_shape(tmp_path):
    file = tmp_path / "invoices.csv"
    retail.write_made_up(file)
    rows = retail.read_rows(file)
    assert list(rows[0]) == list(retail.COLUMNS)
    customers = retail.expected(rows).values()
    assert {one["tier"] for one in customers} == {name for name, _ in retail.TIERS}
    assert any(one["badges"] for one in customers)
