"""`plaudit orgs`: orgs of one Plaudit and what they begin with."""

import json
import stat

import pytest
from click.testing import CliRunner

from plaudit.commands import orgs
from plaudit.errors import Refused
from tests.e2e.running import command

pytestmark = pytest.mark.slow


def test_orgs_share_nothing(running):
    command("orgs", "create", "acme", "-d", running.data_dir)
    path = running.data_dir / "credentials-acme.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    token = json.loads(path.read_text())["adminToken"]
    status, _headers, body = running.call(
        "GET", "/loyalty/v1/campaigns", token=token, org="acme"
    )
    assert (status, body["data"]["campaigns"]) == (200, [])
    assert running.call("GET", "/loyalty/v1/campaigns", token=token)[0] == 403


def test_an_org_that_exists_gets_no_keys(running):
    listing = ("keys", "list", "--org", "twice", "-d", running.data_dir, "--json")
    create = ("orgs", "create", "twice", "-d", running.data_dir)
    command(*create)
    before = json.loads(command(*listing).stdout)
    assert sorted(key["kind"] for key in before["keys"]) == ["api", "jwt", "secret"]
    path = running.data_dir / "credentials-twice.json"
    for remains in (True, False):
        if not remains:
            path.unlink()
        again = command(*create, check=False)
        assert (again.returncode, "exists already" in again.stderr) == (1, True)
        assert path.exists() == remains
    assert json.loads(command(*listing).stdout) == before


def test_a_worker_that_refuses_an_org_leaves_nothing(running, monkeypatch):
    # As where two people create the same org at the same time.
    monkeypatch.setattr(orgs, "_exists", lambda _parts, _org: False)
    create = ["create", "demo", "-d", str(running.data_dir)]
    done = CliRunner().invoke(orgs.orgs, create)
    assert isinstance(done.exception, Refused)
    assert "ORG_EXISTS" in str(done.exception)
    assert not (running.data_dir / "credentials-demo.json").exists()


def test_an_org_has_the_settings_it_was_created_with(running):
    command(
        *("orgs", "create", "tiered", "-d", running.data_dir, "--name", "Tiered"),
        *("--timezone", "Europe/London", "--dedupe-days", 30, "--late-days", 400),
        *("--tiers", "base:0,top:10"),
    )
    token = command(
        *("token", "-d", running.data_dir, "--org", "tiered", "--sub", "al"),
        *("--scope", "audience:read"),
    ).stdout.strip()
    route = "/v1/api/audience/profile"
    _status, _headers, body = running.call("GET", route, token=token, org="tiered")
    assert body["data"]["tier"] == "base"
    create = ("orgs", "create", "other", "-d", running.data_dir)
    for option, value in (("--tiers", "base:5"), ("--timezone", "London")):
        done = command(*create, option, value, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert not (running.data_dir / "credentials-other.json").exists()
