"""A storage of snapshots that hangs or fails holds up neither fold nor end."""

import socket
import time

import pytest

from plaudit.errors import FAILED, UNUSABLE
from streams.topics import USERS
from tests.crash.api import Api
from tests.crash.snapshots import lose, more, snapshot_to
from tests.crash.worker import Worker, plaudit, wait_until

pytestmark = pytest.mark.slow

STOPS_WITHIN_S = 8.0


@pytest.fixture
def deaf(monkeypatch):
    """A storage that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(128)
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        snapshot_to("s3://bucket/x", monkeypatch)
        for name, value in {
            "PLAUDIT_SNAPSHOTS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "never-to-be-seen",
        }.items():
            monkeypatch.setenv(name, value)
        yield server


def check_stops(worker):
    began = time.monotonic()
    assert worker.stop() == 0, worker.said
    assert time.monotonic() - began < STOPS_WITHIN_S


def test_an_upload_that_hangs_holds_up_neither_the_fold_nor_the_end(deaf, folder):
    with Worker(folder.path) as worker:
        deaf.settimeout(60)
        connection, _address = deaf.accept()
        with connection:
            more(folder, 2_400)
            wait_until(folder.is_folded, worker)
            check_stops(worker)
    folder.check_exactly_once()


def test_a_restore_that_hangs_does_not_hold_up_the_end(deaf, folder):
    lose(folder)
    with Worker(folder.path) as worker:
        deaf.settimeout(60)
        connection, _address = deaf.accept()
        with connection:
            check_stops(worker)


def test_no_credentials_are_logged_at_any_level(deaf, folder, monkeypatch):
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-token-never-to-be-seen")
    monkeypatch.setenv("PLAUDIT_LOG_LEVEL", "debug")
    with Worker(folder.path) as worker:
        deaf.settimeout(60)
        connection, _address = deaf.accept()
        with connection:
            sent = connection.recv(65_536)
            assert b"a-token-never-to-be-seen" in sent
            # A request that is cut off is told in a warning.
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            wait_until(lambda: "the snapshot of" in worker.said, worker)
        check_stops(worker)
        assert "never-to-be-seen" not in worker.said
        assert "Signature" not in worker.said


@pytest.mark.parametrize("processes", [1, 2])
def test_a_profile_that_is_missing_is_one_message(
    deaf, folder, monkeypatch, tmp_path, processes
):
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with Worker(folder.path, processes=processes) as worker:
        assert worker.wait() == UNUSABLE
        (line,) = worker.said.splitlines()
    assert line.startswith("Error: AWS_PROFILE: there is no profile nobody in ")
    done = plaudit("snapshots", "list", "-d", folder.path, check=False)
    assert (done.returncode, done.stderr) == (UNUSABLE, f"{line}\n")


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """A storage that is not there."""
    snapshot_to(f"file://{tmp_path}/not/mounted", monkeypatch)


def test_failing_snapshots_show_and_do_not_stop_the_fold(broken, folder):
    with Worker(folder.path) as worker, Api(folder.path) as api:
        api.wait_until_it_answers()

        def failures():
            beat = folder.heartbeat(USERS, 0)
            return 0 if beat is None else beat.snapshot_failures

        wait_until(lambda: failures() >= 2, worker)
        more(folder, 2_400)
        wait_until(folder.is_folded, worker)
        assert "the snapshot of users/0 failed: cannot " in worker.said
        assert "tried again in 1 s" in worker.said
        lines = api.text("/metrics").splitlines()
        labels = '{partition="0",topic="users"}'
        assert f"plaudit_snapshot_offset{labels} -1.0" in lines
        (count,) = (
            line
            for line in lines
            if line.startswith(f"plaudit_snapshot_failures{labels}")
        )
        assert float(count.rpartition(" ")[2]) >= 2
        assert api.ready()[1] == "ready"
        assert worker.stop() == 0
    folder.check_exactly_once()


def test_a_storage_that_fails_stops_a_worker_without_tables(broken, folder):
    lose(folder)
    with Worker(folder.path) as worker:
        assert worker.wait() == FAILED
        assert "Check PLAUDIT_SNAPSHOTS_URL" in worker.said
