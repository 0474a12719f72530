"""Admin commands on keys: made once, revoked once, never shown."""

import pytest

from rules.config import ApiKey
from tests.orgs import JWT_KEY, KEY, PEM, encode


def test_key_is_private_and_its_secret_is_not_shown(org):
    decision = org.send("key.create", {**KEY, "permissions": ["actions:write"]})
    assert decision.changes == []
    assert "secret_sha256" not in decision.result.body
    assert org.row("api_key", "pk_1").secret_sha256 == "a" * 64
    assert org.config.version == 1


def test_key_is_revoked_once(org):
    org.made("key.create", KEY)
    first = org.send("key.revoke", target="pk_1")
    assert first.result.body["revoked_at_ms"] == 1_002
    second = org.send("key.revoke", target="pk_1")
    assert (second.result.status, second.private) == (200, [])
    assert second.result.body["revoked_at_ms"] == 1_002


def test_key_that_is_refused(org):
    org.made("key.create", KEY)
    assert org.refusal("key.create", KEY) == (409, "KEY_EXISTS", "keyId")
    assert org.refusal("key.revoke", target="pk_2") == (404, "KEY_NOT_FOUND", "keyId")
    for change, field in [
        ({"keyId": "a b"}, "keyId"),
        ({"keyId": None}, "keyId"),
        ({"secretSha256": "A" * 64}, "secretSha256"),
        ({"kind": "admin"}, "kind"),
        ({"permissions": ["all"]}, "permissions[0]"),
        ({"secret": "hush"}, "secret"),
    ]:
        assert org.refusal("key.create", {**KEY, **change}) == (
            400,
            "VALIDATION_ERROR",
            field,
        )


def test_keys_have_a_limit(org):
    for i in range(1_000):
        key = ApiKey(key_id=f"k{i}", secret_sha256="a" * 64, kind="api")
        org.stored["api_key", f"k{i}"] = encode(key)
    assert org.refusal("key.create", KEY) == (409, "KEY_LIMIT_REACHED", None)
    org.send("key.revoke", target="k0")
    org.made("key.create", KEY)


def test_jwt_keys(org):
    body = org.made("jwt_key.create", JWT_KEY)
    assert "sealed_secret" not in body
    org.made("jwt_key.create", {"kid": "k2", "algorithm": "ES256", "publicPem": PEM})
    assert org.row("jwt_key", "k2").public_pem == PEM
    assert org.refusal("jwt_key.create", JWT_KEY) == (409, "KEY_EXISTS", "kid")


def test_a_key_id_is_unique_over_both_kinds(org):
    org.made("key.create", KEY)
    taken = {**JWT_KEY, "kid": KEY["keyId"]}
    assert org.refusal("jwt_key.create", taken) == (409, "KEY_EXISTS", "kid")


def test_a_jwt_key_is_revoked_once_and_makes_room(org):
    for i in range(100):
        org.made("jwt_key.create", {**JWT_KEY, "kid": f"k{i}"})
    full = (409, "KEY_LIMIT_REACHED", None)
    assert org.refusal("jwt_key.create", {**JWT_KEY, "kid": "next"}) == full
    first = org.send("key.revoke", target="k7")
    assert (first.result.status, "sealed_secret" in first.result.body) == (200, False)
    revoked_at = org.row("jwt_key", "k7").revoked_at_ms
    assert revoked_at == first.result.body["revoked_at_ms"] > 1_000
    assert org.send("key.revoke", target="k7").private == []
    org.made("jwt_key.create", {**JWT_KEY, "kid": "next"})
    assert org.refusal("jwt_key.create", {**JWT_KEY, "kid": "k7"})[1] == "KEY_EXISTS"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"algorithm": "none"}, "algorithm"),
        ({"algorithm": None}, "algorithm"),
        ({"sealedSecret": None}, "sealedSecret"),
        ({"publicPem": PEM}, "publicPem"),
        ({"algorithm": "RS256", "sealedSecret": None}, "publicPem"),
        ({"algorithm": "RS256", "publicPem": PEM}, "sealedSecret"),
        (
            {
                "algorithm": "RS256",
                "sealedSecret": None,
                "publicPem": "-----BEGIN PRIVATE KEY-----\n",
            },
            "publicPem",
        ),
    ],
)
def test_jwt_key_that_is_refused(org, change, field):
    result = org.send("jwt_key.create", {**JWT_KEY, **change}).result
    assert result.status == 400
    assert field in [problem.field for problem in result.details]
