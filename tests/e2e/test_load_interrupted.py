"""`plaudit load` into a running Plaudit, killed on the way and run again."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.running import Running, command

pytestmark = pytest.mark.slow

ROWS = 60_000
USERS = 900


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with Running(tmp_path_factory.mktemp("load") / "data") as process:
        process.create_campaign(points=1)
        yield process


def arguments(running, file):
    return [
        *("load", str(file), "-d", str(running.data_dir), "--user", "who"),
        *("--action", "visit", "--time", "day", "--id", "nr", "--data", "n=nr"),
    ]


def balances(running, users):
    found = {}
    for start in range(0, len(users), 100):
        ids = ",".join(users[start : start + 100])
        path = f"/v1/api/audience/internal/profiles?user_ids={ids}"
        _status, _headers, body = running.call("GET", path)
        for profile in body["data"]["profiles"]:
            found[profile["userId"]] = profile["points"]
    return found


def test_a_load_that_is_killed_ends_with_the_same_sums(running, tmp_path):
    seed = random.randrange(1 << 30)
    draw = random.Random(seed)
    file = tmp_path / "visits.csv"
    wanted = {}
    with file.open("w") as lines:
        lines.write("nr,day,who\n")
        for number in range(ROWS):
            who = f"u{draw.randrange(USERS)}"
            lines.write(f"{number},2024-02-{1 + number % 29:02},{who}\n")
            wanted[who] = wanted.get(who, 0) + 1
    line = [sys.executable, "-P", "-m", "plaudit", *arguments(running, file)]
    loads = running.data_dir / "loads"
    kills = 0
    for _ in range(6):
        loading = subprocess.Popen(
            line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        seen = [path.stat().st_mtime_ns for path in loads.glob("*.json")]
        while loading.poll() is None and time.monotonic() < deadline:
            now = [path.stat().st_mtime_ns for path in loads.glob("*.json")]
            if now != seen and draw.random() < 0.02:
                os.kill(loading.pid, signal.SIGKILL)
                kills += 1
                break
        loading.wait(60)
    assert kills > 0
    summary = json.loads(command(*arguments(running, file), "--json").stdout)
    expected = {"rows": ROWS, "accepted": ROWS, "duplicate": 0, "refused": 0}
    found = {name: summary[name] for name in expected}
    assert found == expected, f"seed {seed}"
    assert balances(running, sorted(wanted)) == wanted
    again = json.loads(command(*arguments(running, file), "--json").stdout)
    assert (again["alreadyLoaded"], again["accepted"]) == (True, ROWS)
    forced = command(*arguments(running, file), "--json", "--again").stdout
    counts = json.loads(forced)
    assert (counts["accepted"], counts["duplicate"]) == (0, ROWS)
    assert balances(running, sorted(wanted)) == wanted


def test_bad_rows_are_refused_alone_and_kept(running, tmp_path):
    file = tmp_path / "mixed.csv"
    file.write_text(
        "nr,day,who\n1,2024-01-01,x1\n2,yesterday,x2\n3,2099-01-01,x3\n"
        '4,2024-01-01,"a,b"\n5,2024-01-01\n6,2024-01-01,=x6\n1,2024-01-01,x1\n'
    )
    summary = json.loads(command(*arguments(running, file), "--json").stdout)
    assert (summary["rows"], summary["accepted"], summary["duplicate"]) == (7, 2, 1)
    assert summary["refused"] == 4
    rows = Path(summary["refusedFile"]).read_text().splitlines()
    assert rows[0] == "row,code,field,reason,nr,day,who"
    assert [row.split(",")[0] for row in rows[1:]] == ["2", "3", "4", "5"]
    assert [row.split(",")[2] for row in rows[1:]] == [
        "timestamp",
        "timestamp",
        "userId",
        "",
    ]


def test_what_is_wrong_with_the_command_is_said(running, tmp_path):
    file = tmp_path / "f.csv"
    file.write_text("nr,day\n1,2024-01-01\n")
    done = command(*arguments(running, file), check=False)
    assert (done.returncode, "no column who" in done.stderr) == (2, True)
    done = command(*arguments(running, tmp_path / "none.csv"), check=False)
    assert done.returncode == 2
    more = ("--org", "nobody")
    done = command(*arguments(running, file), *more, check=False)
    assert (done.returncode, "credentials-nobody" in done.stderr) == (2, True)
