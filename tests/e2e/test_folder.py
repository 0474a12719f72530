"""The data folder: made once, never made anew, and what is said where it is none."""

import json
import stat

import pytest

from docker.ports import free_port
from tests.e2e.running import Running, command

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["worker", "api", "status", "token", "keys"])
def test_a_folder_that_is_none_is_named(tmp_path, name):
    more = {"token": ["--sub", "a", "--scope", "x"], "keys": ["list"]}.get(name, [])
    done = command(name, *more, "-d", tmp_path / "none", check=False)
    assert done.returncode == 2
    assert "plaudit init" in done.stderr


def test_an_unknown_setting_stops_the_start(tmp_path):
    environ = {"PLAUDIT_PROT": "1"}
    done = command("run", "-d", tmp_path, environ=environ, check=False)
    assert (done.returncode, "PLAUDIT_PROT" in done.stderr) == (2, True)


def test_init_is_done_once(tmp_path):
    path = tmp_path / "data"
    command("init", "-d", path, "--partitions", 2, "--org", "acme")
    before = (path / "credentials.json").read_bytes()
    done = command("init", "-d", path, check=False)
    assert (done.returncode, "already" in done.stderr) == (1, True)
    done = command("init", "-d", path, "--if-missing")
    assert "already; nothing is changed" in done.stdout
    assert (path / "credentials.json").read_bytes() == before
    done = command("orgs", "create", "acme", "-d", path, check=False)
    assert (done.returncode, "exists already" in done.stderr) == (1, True)
    assert not (path / "credentials-acme.json").exists()
    other = command("init", "-d", tmp_path / "b", "--tiers", "a:1", check=False)
    assert (other.returncode, "settings.tiers[0]" in other.stderr) == (2, True)
    assert not (tmp_path / "b").exists()
    status = json.loads(command("status", "-d", path, "--json", check=False).stdout)
    assert not status["healthy"]
    assert len(status["partitions"]) == 3


def test_an_interrupted_init_is_finished(tmp_path):
    path = tmp_path / "data"
    command("init", "-d", path)
    # As if it had ended before the log was whole; credentials come after it.
    (path / "credentials.json").unlink()
    for file in path.glob("log/*"):
        if file.is_file():
            file.unlink()
    command("init", "-d", path)
    with Running(path) as process:
        process.create_campaign()


def test_a_log_that_lost_a_file_is_not_made_anew(tmp_path):
    with Running(tmp_path):
        pass
    (tmp_path / "log" / "users.db").unlink()
    for name in ("run", "init"):
        done = command(name, "-d", tmp_path, check=False)
        assert done.returncode == 2
        assert "users.db is missing" in done.stderr
    assert not (tmp_path / "log" / "users.db").exists()


def test_a_log_that_is_gone_is_not_made_anew(tmp_path):
    with Running(tmp_path):
        pass
    before = (tmp_path / "credentials.json").read_bytes()
    (tmp_path / "log").rename(tmp_path / "elsewhere")
    for name in ("run", "init"):
        done = command(name, "-d", tmp_path, check=False)
        assert done.returncode == 2
        assert "its log is gone" in done.stderr
    assert (tmp_path / "credentials.json").read_bytes() == before
    assert not (tmp_path / "log").exists()


def test_a_master_key_that_is_none_is_one_message(tmp_path):
    command("init", "-d", tmp_path)
    (tmp_path / "master.key").write_text("junk")
    done = command("api", "-d", tmp_path, "--port", free_port(), check=False)
    assert done.returncode == 2
    assert "does not hold a master key" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_data_folder_is_its_owners_alone(tmp_path):
    tmp_path.chmod(0o755)
    command("init", "-d", tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
