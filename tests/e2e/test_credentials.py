"""Keys and tokens of a running Plaudit: what they open, and what their loss costs."""

import json
import stat
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.e2e.running import Running, command, eventually

pytestmark = pytest.mark.slow


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
