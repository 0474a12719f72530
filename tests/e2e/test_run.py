"""`plaudit run` as a process: start, restart, drain, and what it refuses."""

import json
import os
import signal
import stat
import time
from http.client import HTTPException

import jwt
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from plaudit.commands import orgs
from plaudit.errors import Refused
from streams.log import Append
from streams.sqlite_log import SqliteLog
from streams.topics import partition_of
from tests.e2e.running import Running, command, eventually, free_port, is_alive

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with Running(tmp_path_factory.mktemp("run") / "data") as process:
        yield process


def test_a_new_folder_has_all_a_script_needs(running):
    path = running.data_dir / "credentials.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((running.data_dir / "master.key").stat().st_mode) == 0o600
    keys = running.credentials
    assert set(keys) == {
        "url",
        "orgId",
        "apiKey",
        "apiSecret",
        "secretKey",
        "adminToken",
    }
    assert keys["url"] == f"http://127.0.0.1:{running.port}"
    claims = jwt.decode(keys["adminToken"], options={"verify_signature": False})
    assert claims["scope"] == ["loyalty:read", "loyalty:write"]
    assert claims["exp"] - claims["iat"] == 30 * 86_400


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


def test_a_token_speaks_for_one_user(running):
    token = command(
        *("token", "-d", running.data_dir, "--sub", "alice"),
        *("--scope", "audience:read,audience:write"),
    ).stdout.strip()
    status, _headers, body = running.call(
        "GET", "/v1/api/audience/profile", token=token
    )
    assert (status, body["data"]["userId"]) == (200, "alice")
    status, _headers, _body = running.call("GET", "/loyalty/v1/campaigns", token=token)
    assert status == 403


def test_a_key_works_until_it_is_revoked(running):
    made = command(
        *("keys", "create", "-d", running.data_dir, "--json"),
        *("--permission", "users:read", "--name", "reader"),
    )
    key = json.loads(made.stdout)
    assert key["state"] == "created"
    headers = {"X-API-Key": key["keyId"], "X-API-Secret": key["secret"]}

    def read():
        path = "/v1/api/audience/internal/profiles?user_ids=alice"
        return running.call("GET", path, headers=headers)[0]

    assert read() == 200
    listed = command("keys", "list", "-d", running.data_dir, "--json").stdout
    assert key["keyId"] in listed
    assert key["secret"] not in listed
    command("keys", "revoke", key["keyId"], "-d", running.data_dir)
    assert eventually(lambda: read() == 401)
    refused = command(
        "keys", "revoke", "pk_nobody", "-d", running.data_dir, check=False
    )
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "KEY_NOT_FOUND" in refused.stderr


def test_tokens_signed_elsewhere_are_verified(running, tmp_path):
    private = ec.generate_private_key(ec.SECP256R1())
    public = tmp_path / "public.pem"
    public.write_bytes(
        private.public_key().public_bytes(
            serialization.Encoding.PEM,
            serialization.PublicFormat.SubjectPublicKeyInfo,
        )
    )
    create = ("keys", "create", "--kind", "jwt", "-d", running.data_dir, "--json")
    drawn = json.loads(command(*create).stdout)
    ours = json.loads(command(*create, "--public-key", public).stdout)
    assert ours["secret"] is None
    signers = [(drawn, drawn["secret"], "HS256"), (ours, private, "ES256")]
    for key, secret, algorithm in signers:
        claims = {"sub": "bob", "orgId": "demo", "scope": ["audience:read"]}
        token = jwt.encode(
            claims | {"exp": int(time.time()) + 60},
            secret,
            algorithm=algorithm,
            headers={"kid": key["keyId"]},
        )
        path = "/v1/api/audience/profile"
        assert running.call("GET", path, token=token)[0] == 200
    public.write_text("nothing")
    done = command(*create, "--public-key", public, check=False)
    assert (done.returncode, "no public key" in done.stderr) == (2, True)


def test_a_jwt_key_works_until_it_is_revoked(running):
    create = ("keys", "create", "--kind", "jwt", "-d", running.data_dir, "--json")
    key = json.loads(command(*create).stdout)
    # The newest key signs what the command line issues.
    issue = ("token", "-d", running.data_dir, "--sub", "eve", "--scope")
    token = command(*issue, "audience:read").stdout.strip()
    assert jwt.get_unverified_header(token)["kid"] == key["keyId"]

    def read(token):
        return running.call("GET", "/v1/api/audience/profile", token=token)[0]

    assert read(token) == 200
    command("keys", "revoke", key["keyId"], "-d", running.data_dir)
    assert eventually(lambda: read(token) == 401)
    other = command(*issue, "audience:read").stdout.strip()
    assert jwt.get_unverified_header(other)["kid"] != key["keyId"]
    assert read(other) == 200
    listed = command("keys", "list", "-d", running.data_dir, "--json").stdout
    (shown,) = [k for k in json.loads(listed)["keys"] if k["keyId"] == key["keyId"]]
    assert shown["revokedAt"] is not None


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


def test_dead_letters_are_listed_mended_and_sent_again(tmp_path):
    with Running(tmp_path) as process:
        process.create_campaign()
        bad = b'{"userId":"alice","action":"visit","eventId":"v1","colour":"red"}'
        partition = partition_of("demo", "alice", 4)
        log = SqliteLog(tmp_path)
        try:
            (offset,) = log.append_many(
                [Append("users", partition, b"demo/alice", bad)]
            )
        finally:
            log.close()
        listing = ("dead", "list", "-d", tmp_path)

        def listed():
            done = command(*listing, "--json", "--limit", 5)
            return json.loads(done.stdout)["letters"]

        (letter,) = eventually(listed)
        assert letter["position"] == f"users/{partition}@{offset}"
        assert (letter["code"], letter["field"]) == ("VALIDATION_ERROR", "colour")
        assert letter["original"] == bad.decode()
        assert letter["position"] in command(*listing).stdout
        mended = tmp_path / "mended.jsonl"
        mended.write_text(letter["original"])
        command(
            *("load", mended, "-d", tmp_path, "--user", "userId", "--id", "eventId"),
            *("--action", "visit"),
        )
        assert process.points("alice", f"users-{partition}-{offset + 1}") == 10


def test_lost_credentials_do_not_stop_the_start(tmp_path):
    with Running(tmp_path) as process:
        process.create_campaign()
        position = process.visit("alice", "v1")
        kept = process.credentials
    path = tmp_path / "credentials.json"
    path.unlink()
    for content in (None, "{"):
        if content is not None:
            path.write_text(content)
        with Running(tmp_path) as process:
            assert "plaudit keys create --org" in process.said
            create = ("keys", "create", "--org", "demo", "-d", tmp_path, "--json")
            made = json.loads(command(*create).stdout)
            command("orgs", "create", f"new{content is None}", "-d", tmp_path)
    key = {"apiKey": made["keyId"], "apiSecret": made["secret"]}
    path.write_text(json.dumps({**kept, **key}))
    with Running(tmp_path) as process:
        assert "plaudit keys create" not in process.said
        assert process.points("alice", position) == 10


def test_a_start_without_a_key_that_signs_goes_on(tmp_path):
    with Running(tmp_path) as process:
        process.create_campaign()
        listed = command("keys", "list", "-d", tmp_path, "--json").stdout
        (kid,) = [k["keyId"] for k in json.loads(listed)["keys"] if k["kind"] == "jwt"]
        command("keys", "revoke", kid, "-d", tmp_path)
    with Running(tmp_path) as process:
        assert "the admin token is not renewed" in process.said
        assert process.visit("alice", "v1")


def test_only_a_parked_record_can_be_skipped(running):
    for place, code in (("users/0@1", 1), ("users/9@1", 2), ("ledger/0@1", 2)):
        done = command("skip", place, "-d", running.data_dir, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1)
    for place in ("users/0@0", "orgs/0@00"):
        done = command("skip", place, "-d", running.data_dir, check=False)
        assert (done.returncode, "genesis" in done.stderr) == (2, True)


def test_a_parked_partition_goes_on_after_a_skip(tmp_path):
    with Running(tmp_path) as process:
        process.create_campaign()
        partition, offset = parked_at(process)
        position = process.visit("alice", "v1")
        place = f"users/{partition}@{offset}"
        done = command("status", "-d", tmp_path, check=False)
        assert (done.returncode, f"plaudit skip {place}" in done.stdout) == (1, True)
        early = command(
            "skip", f"users/{partition}@{offset - 1}", "-d", tmp_path, check=False
        )
        assert (early.returncode, f"parked at {offset}" in early.stderr) == (1, True)
        command("skip", place, "-d", tmp_path, "--reason", "from the future")
        assert process.points("alice", position) == 10
        assert eventually(lambda: healthy(tmp_path))
    with Running(tmp_path) as process:
        assert process.points("alice", position) == 10


def healthy(data_dir):
    return command("status", "-d", data_dir, check=False).returncode == 0


def parked_at(process):
    """Park the partition of alice with a record of a version from the future."""
    log = SqliteLog(process.data_dir)
    try:
        partition = partition_of("demo", "alice", 4)
        record = Append("users", partition, None, b"[99,[]]")
        (offset,) = log.append_many([record])
    finally:
        log.close()

    def parked():
        done = command("status", "-d", process.data_dir, "--json", check=False)
        places = json.loads(done.stdout)["partitions"]
        return [p for p in places if p["state"] == "parked"]

    (place,) = eventually(parked)
    assert (place["partition"], place["parkedOffset"]) == (partition, offset)
    return partition, offset


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
