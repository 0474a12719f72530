"""What cannot begin says so in one line, with the exit code that says what it is."""

import os
import signal
from pathlib import Path

import pytest

from docker.ports import free_port
from tests.crash.api import Api
from tests.e2e.running import command

pytestmark = pytest.mark.slow
SECRET = "s3cret"


@pytest.fixture
def folder(tmp_path):
    """A data folder that is ready."""
    command("init", "-d", tmp_path / "d")
    return tmp_path / "d"


def check_refused(done, code, begin):
    assert done.returncode == code, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: {begin}"), line
    assert done.stdout == ""
    assert SECRET not in line


@pytest.mark.parametrize("name", ["worker", "api", "run", "init", "status"])
@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("PLAUDIT_SNAPSHOTS_ENDPOINT_URL", f"http://host:{SECRET}"),
        ("PLAUDIT_KAFKA_BROKERS", f"{SECRET}@host:9092"),
        ("PLAUDIT_REDIS_URL", f"redis://user:12#{SECRET}@host"),
    ],
)
def test_bad_settings_stop_every_process(tmp_path, name, variable, text):
    done = command(name, "-d", tmp_path / "d", environ={variable: text}, check=False)
    check_refused(done, 2, f"{variable} must be ")
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize("level", ["warning", "error"])
def test_an_api_that_cannot_begin_says_why(folder, level):
    (folder / "log" / "users.db").unlink()
    done = command(
        *("api", "-d", folder, "--port", free_port()),
        environ={"PLAUDIT_LOG_LEVEL": level},
        check=False,
    )
    check_refused(done, 2, f"{folder}/log/users.db is missing. Run `plaudit init`")


def test_an_api_without_brokers_may_be_started_again(folder):
    done = command(
        *("api", "-d", folder, "--port", free_port()),
        environ={"PLAUDIT_KAFKA_BROKERS": "127.0.0.1:9"},
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    *lines, last = done.stderr.splitlines()
    assert last.startswith("Error: no broker answers")
    # The client says why, each of its threads.
    assert all(line.startswith("FAIL [plaudit#") for line in lines), lines


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGKILL, 1)])
def test_an_api_that_began_ends_as_before(folder, number, code):
    with Api(folder) as api:
        api.wait_until_it_answers()
        pid = api.process.pid
        if code:
            # The process that serves is granian's, and is gone without a word.
            pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
        os.kill(pid, number)
        assert api.process.wait(30) == code
