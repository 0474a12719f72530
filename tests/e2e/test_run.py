"""`plaudit run` as a process: start, restart, drain, and what it refuses."""

import json
import os
import signal
import time
from http.client import HTTPException
from pathlib import Path

import jwt
import pytest

from docker.ports import free_port
from streams.topics import partition_of
from tests.e2e.running import Running, command, eventually, is_alive

pytestmark = pytest.mark.slow


def test_an_action_sent_after_the_201_earns_in_every_partition(running):
    users = [f"visitor-{number}" for number in range(16)]
    assert {partition_of("demo", user, 4) for user in users} == set(range(4))
    running.create_campaign()
    positions = [running.visit(user, "v1") for user in users]
    for user, position in zip(users, positions, strict=True):
        assert running.points(user, position) == 10


def test_status_shows_every_partition(running):
    done = command("status", "-d", running.data_dir, "--json")
    status = json.loads(done.stdout)
    assert status["healthy"]
    assert [p["topic"] for p in status["partitions"]] == ["orgs", *["users"] * 4]
    assert "worker runs" in command("status", "-d", running.data_dir).stdout


def test_a_second_worker_is_refused_in_one_line(running):
    for name in (("worker",), ("run", "--port", free_port())):
        done = command(*name, "-d", running.data_dir, check=False)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "is in use by worker with process id" in done.stderr


def test_a_port_that_is_taken_is_named_in_one_line(running, tmp_path):
    done = command("run", "-d", tmp_path, "--port", running.port, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert str(running.port) in done.stderr
    assert not any(tmp_path.iterdir())


def test_killed_children_come_back_and_nothing_is_lost(tmp_path):
    with Running(tmp_path) as process:
        process.create_campaign()
        process.visit("alice", "v1")
        for round_ in range(2):
            (worker,) = process.children()["worker"]
            os.kill(worker, signal.SIGKILL)
            position = process.visit("alice", f"w{round_}")
            assert process.points("alice", position) == 20 + 20 * round_
            main, inner = sorted(process.children()["api"])
            os.kill(main, signal.SIGKILL)
            eventually(lambda inner=inner: not is_alive(inner))
            eventually(lambda: answers(process))
            position = process.visit("alice", f"a{round_}")
            assert process.points("alice", position) == 30 + 20 * round_
        assert process.said.count("was ended by SIGKILL") == 4


def answers(process):
    # A server that is just starting may accept a connection and drop it again.
    try:
        return process.call("GET", "/health")[0] == 200
    except (OSError, HTTPException):
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_the_next_start_goes_on(tmp_path, number):
    with Running(tmp_path) as process:
        process.create_campaign()
        position = process.visit("alice", "v1")
        assert process.points("alice", position) == 10
        old = process.credentials
        pids = [pid for pids in process.children().values() for pid in pids]
        assert len(pids) == 3
        assert process.stop(number) == 0
        assert "stopped" in process.said
        assert not any(is_alive(pid) for pid in pids)
    time.sleep(max(0.0, jwt_age(old["adminToken"]) + 1.1 - time.time()))
    with Running(tmp_path) as process:
        assert process.points("alice", position) == 10
        new = process.credentials
        assert new["url"] == f"http://127.0.0.1:{process.port}"
        assert jwt_age(new["adminToken"]) > jwt_age(old["adminToken"])
        assert new["apiKey"] == old["apiKey"]


def test_a_signal_leaves_no_suspended_process_behind(tmp_path):
    settings = {"PLAUDIT_WORKER_PROCESSES": "2", "PLAUDIT_DRAIN_TIMEOUT_MS": "2000"}
    with Running(tmp_path, environ=settings) as process:
        (worker,) = process.children()["worker"]
        listed = Path(f"/proc/{worker}/task/{worker}/children").read_text()
        folding = [int(pid) for pid in listed.split()]
        assert len(folding) == 2
        os.kill(folding[0], signal.SIGSTOP)
        assert process.stop() == 0
        assert not any(is_alive(pid) for pid in [worker, *folding])
    with Running(tmp_path, environ=settings) as process:
        assert process.stop() == 0


def jwt_age(token):
    return jwt.decode(token, options={"verify_signature": False})["iat"]


def test_a_killed_supervisor_leaves_no_orphans(tmp_path):
    with Running(tmp_path) as process:
        pids = [pid for pids in process.children().values() for pid in pids]
        assert len(pids) == 3
        process.process.kill()
        process.process.wait(10)
        eventually(lambda: not any(is_alive(pid) for pid in pids))


def test_a_worker_that_cannot_work_stops_everything(tmp_path):
    with Running(tmp_path):
        pass
    (tmp_path / "state" / "users-0" / "CURRENT").write_text("nonsense")
    done = command("run", "-d", tmp_path, "--port", free_port(), check=False)
    assert done.returncode == 2
    assert "names no epoch" in done.stderr
    assert done.stderr.rstrip().endswith("stopped")
