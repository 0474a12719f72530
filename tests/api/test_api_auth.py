"""Who is let in, and as whom."""

import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tests.api.shapes import ACTIONS, AUDIENCE, CAMPAIGNS, created, refused
from tests.api.stack import HS256_SECRET, KEY_SECRET

PROFILE = f"{AUDIENCE}/profile"
OTHER_SECRET = b"another-secret-of-32-bytes-length"
PURCHASE = {"userId": "alice", "action": "purchase"}


def pair(private):
    """Return a private key and its public key as PEM text."""
    public = private.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
    secret = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return secret.decode(), public.decode()


RSA_PRIVATE, RSA_PUBLIC = pair(rsa.generate_private_key(65_537, 2_048))
EC_PRIVATE, EC_PUBLIC = pair(ec.generate_private_key(ec.SECP256R1()))


def get(client, headers, path=PROFILE):
    return client.get(path, headers=headers)


def test_a_users_token_reads_the_users_own_profile(client, org):
    profile = created(get(client, org.user("alice")), 200)
    assert profile["userId"] == "alice"
    assert profile["orgId"] == org.id


@pytest.mark.parametrize(
    "scope",
    [["audience:read"], "audience:read x", "x,audience:read", "x, audience:read"],
)
def test_scopes_come_as_a_list_or_a_string(client, org, scope):
    created(get(client, org.user(scope=scope)), 200)


@pytest.mark.parametrize(
    "scope", [None, [], "", ["audience:write"], "audience:readx", 7, [7], {"a": 1}]
)
def test_a_missing_scope_is_a_403(client, org, scope):
    refused(get(client, org.user(scope=scope)), 403, "INSUFFICIENT_SCOPE")


def test_no_credentials_are_a_401(client, org):
    headers = {"X-Monterosa-Org-ID": org.id}
    for path in [PROFILE, CAMPAIGNS, f"{AUDIENCE}/internal/profiles?user_ids=a"]:
        answer = get(client, headers, path)
        refused(answer, 401, "UNAUTHORIZED")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_the_org_header_is_required(client, org):
    for headers in [org.user(), org.server()]:
        del headers["X-Monterosa-Org-ID"]
        path = CAMPAIGNS if "X-API-Key" in headers else PROFILE
        refused(
            get(client, headers, path), 400, "VALIDATION_ERROR", "X-Monterosa-Org-ID"
        )
        created(get(client, headers | {"X-Org-ID": org.id}, path), 200)


def test_org_headers_that_differ_or_are_odd_are_refused(client, org):
    for more in [{"X-Org-ID": "other"}, {"X-Monterosa-Org-ID": "a/b"}]:
        answer = get(client, org.user() | more)
        refused(answer, 400, "VALIDATION_ERROR", "X-Monterosa-Org-ID")


def test_another_orgs_token_is_a_403(client, org, stack):
    other = stack.new_org()
    headers = org.user() | {"X-Monterosa-Org-ID": other.id}
    refused(get(client, headers), 403, "FORBIDDEN")


def test_another_orgs_secret_cannot_sign_for_this_one(client, org, stack):
    other = stack.new_org()
    other.add_hs256("second", OTHER_SECRET)
    token = other.token(key=OTHER_SECRET, orgId=org.id)
    refused(get(client, org.bearer(token)), 401, "UNAUTHORIZED")


def test_an_unknown_org_answers_like_a_bad_token(client, org):
    token = org.token(orgId="nobody")
    headers = {"X-Monterosa-Org-ID": "nobody", "Authorization": f"Bearer {token}"}
    error = refused(get(client, headers), 401, "UNAUTHORIZED")
    bad = refused(
        get(client, org.bearer(org.token(key=OTHER_SECRET))), 401, "UNAUTHORIZED"
    )
    assert error["message"] == bad["message"]


def test_expiry_is_required_and_holds_with_a_minute_of_leeway(client, org):
    created(get(client, org.user(lifetime_s=-30)), 200)
    refused(get(client, org.user(lifetime_s=-90)), 401, "UNAUTHORIZED")
    refused(get(client, org.user(exp=None)), 401, "UNAUTHORIZED")
    refused(get(client, org.user(exp="soon")), 401, "UNAUTHORIZED")
    later = int(time.time()) + 90
    refused(get(client, org.user(nbf=later)), 401, "UNAUTHORIZED")


@pytest.mark.parametrize("claim", ["sub", "orgId"])
def test_a_token_without_a_needed_claim_is_refused(client, org, claim):
    refused(get(client, org.user(**{claim: None})), 401, "UNAUTHORIZED")


@pytest.mark.parametrize("sub", ["", "a,b", "a\nb", "x" * 129, 7])
def test_a_subject_that_is_no_user_id_is_refused(client, org, sub):
    claims = {"sub": sub, "orgId": org.id, "exp": int(time.time()) + 60}
    claims["scope"] = ["audience:read"]
    token = jwt.api_jws.encode(json.dumps(claims).encode(), HS256_SECRET)
    refused(get(client, org.bearer(token)), 401, "UNAUTHORIZED")


def test_alg_none_is_refused(client, org):
    for algorithm in ("none", "None", "NONE"):
        token = org.token(key=None, algorithm="none")
        if algorithm != "none":
            token = (
                jwt.utils.base64url_encode(
                    b'{"alg":"%b","typ":"JWT"}' % algorithm.encode()
                ).decode()
                + token[token.index(".") :]
            )
        refused(get(client, org.bearer(token)), 401, "UNAUTHORIZED")


@pytest.mark.parametrize(
    ("algorithm", "private", "public"),
    [("RS256", RSA_PRIVATE, RSA_PUBLIC), ("ES256", EC_PRIVATE, EC_PUBLIC)],
)
def test_public_keys_verify_and_pin_their_algorithm(
    client, org, algorithm, private, public
):
    org.add_pem("web", algorithm, public)
    for headers in (None, {"kid": "web"}):
        good = org.token(key=private, algorithm=algorithm, headers=headers)
        created(get(client, org.bearer(good)), 200)
    wrong = org.token(key=private, algorithm=algorithm, headers={"kid": "main"})
    refused(get(client, org.bearer(wrong)), 401, "UNAUTHORIZED")


@pytest.mark.parametrize("kid", [None, "web", "main"])
def test_the_public_key_as_an_hs256_secret_opens_nothing(client, org, kid):
    org.add_pem("web", "RS256", RSA_PUBLIC)
    good = org.token(headers={"kid": kid} if kid else None)
    signed = good.rpartition(".")[0].encode()
    mac = hmac.HMAC(RSA_PUBLIC.encode(), hashes.SHA256())
    mac.update(signed)
    signature = jwt.utils.base64url_encode(mac.finalize()).decode()
    forged = f"{signed.decode()}.{signature}"
    refused(get(client, org.bearer(forged)), 401, "UNAUTHORIZED")


def test_a_token_signed_with_another_key_of_the_kind_is_refused(client, org):
    org.add_pem("web", "RS256", RSA_PUBLIC)
    other, _ = pair(rsa.generate_private_key(65_537, 2_048))
    token = org.token(key=other, algorithm="RS256", headers={"kid": "web"})
    refused(get(client, org.bearer(token)), 401, "UNAUTHORIZED")


def test_every_key_of_an_org_verifies(client, org):
    org.add_hs256("second", OTHER_SECRET)
    created(get(client, org.user()), 200)
    created(get(client, org.user(key=OTHER_SECRET)), 200)
    created(get(client, org.user(key=OTHER_SECRET, headers={"kid": "second"})), 200)
    refused(
        get(client, org.user(key=OTHER_SECRET, headers={"kid": "main"})),
        401,
        "UNAUTHORIZED",
    )


@pytest.mark.parametrize(
    "header", [{"alg": ["HS256"]}, {"alg": None}, {}, {"alg": "HS256", "kid": [1]}, []]
)
def test_a_header_that_is_no_jwt_header_is_refused(client, org, header):
    head = jwt.utils.base64url_encode(json.dumps(header).encode()).decode()
    token = head + org.token()[org.token().index(".") :]
    refused(get(client, org.bearer(token)), 401, "UNAUTHORIZED")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "Bearer x",
        "Bearer a.b.c",
        "Bearer " + "x" * 9_000,
        "Bearer eyJhbGciOiJIUzI1NiJ9." + "W1tb" * 1_500 + ".x",
        "Bearer é.é.é",
    ],
)
def test_a_malformed_authorization_is_a_401(client, org, value):
    headers = {"X-Monterosa-Org-ID": org.id, "Authorization": value}
    refused(get(client, headers), 401, "UNAUTHORIZED")


def test_an_api_key_needs_its_secret(client, org):
    def post(headers):
        return client.post(ACTIONS, json=PURCHASE, headers=headers)

    created(post(org.server()), 202)
    error = refused(post(org.server(secret="wrong")), 401, "UNAUTHORIZED")
    for headers in [
        org.server("pk_unknown"),
        org.server(secret=""),
        org.server(secret="x" * 100_000),
        org.server("a b"),
        {k: v for k, v in org.server().items() if k != "X-API-Secret"},
        {k: v for k, v in org.server().items() if k != "X-API-Key"},
    ]:
        same = refused(post(headers), 401, "UNAUTHORIZED")
        assert same["message"] == error["message"], "it tells a key that exists"
    user = org.user() | {"X-API-Key": org.key_id}
    refused(post(user), 401, "UNAUTHORIZED")
    refused(post(org.user()), 401, "UNAUTHORIZED")


def test_an_api_key_is_its_orgs_own(client, org, stack):
    headers = org.server() | {"X-Monterosa-Org-ID": stack.new_org().id}
    answer = client.post(ACTIONS, json=PURCHASE, headers=headers)
    refused(answer, 401, "UNAUTHORIZED")


def test_what_a_revoked_jwt_key_signed_is_refused(client, org, stack):
    org.add_hs256("other", OTHER_SECRET)
    tokens = [
        org.token(headers={"kid": "main"}),
        org.token(),
        org.token(key=OTHER_SECRET, headers={"kid": "other"}),
    ]

    def statuses():
        path = f"{AUDIENCE}/profile"
        answers = [client.get(path, headers=org.bearer(token)) for token in tokens]
        return [answer.status_code for answer in answers]

    assert statuses() == [200, 200, 200]
    stack.command(org.id, "key.revoke", {}, target="main")
    assert statuses() == [401, 401, 200]


def test_a_revoked_or_secret_kind_key_is_refused(client, org, stack):
    org.add_key("pk_old", ["actions:write"])
    created(client.post(ACTIONS, json=PURCHASE, headers=org.server("pk_old")), 202)
    stack.command(org.id, "key.revoke", {}, target="pk_old")
    org.add_key("sk_1", ["actions:write"], kind="secret")
    for key_id in ("pk_old", "sk_1"):
        answer = client.post(ACTIONS, json=PURCHASE, headers=org.server(key_id))
        refused(answer, 401, "UNAUTHORIZED")


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("POST", ACTIONS, "actions:write"),
        ("POST", f"{ACTIONS}/bulk", "actions:write"),
        ("GET", f"{AUDIENCE}/internal/batches/b", "actions:write"),
        ("GET", f"{AUDIENCE}/internal/profiles?user_ids=a", "users:read"),
        ("GET", CAMPAIGNS, "loyalty:read"),
        ("POST", CAMPAIGNS, "loyalty:write"),
        ("PUT", f"{CAMPAIGNS}/camp_x", "loyalty:write"),
        ("DELETE", f"{CAMPAIGNS}/camp_x", "loyalty:write"),
        ("GET", "/loyalty/v1/segments", "loyalty:read"),
        ("POST", "/loyalty/v1/segments", "loyalty:write"),
        ("POST", "/loyalty/v1/rules", "loyalty:write"),
        ("DELETE", "/loyalty/v1/rules/rule_x", "loyalty:write"),
    ],
)
def test_an_api_key_needs_the_permission(client, org, method, path, needed):
    everything = {"actions:write", "users:read", "loyalty:read", "loyalty:write"}
    org.add_key("pk_lacks", sorted(everything - {needed}))
    org.add_key("pk_has", [needed])
    answer = client.send(method, path, json={}, headers=org.server("pk_lacks"))
    refused(answer, 403, "INSUFFICIENT_SCOPE")
    answer = client.send(method, path, json={}, headers=org.server("pk_has"))
    assert answer.status_code in (200, 400, 404)


def test_a_users_token_is_no_operators(client, org):
    refused(get(client, org.user(), CAMPAIGNS), 403, "INSUFFICIENT_SCOPE")
    body = {"displayName": "Al"}
    answer = client.patch(PROFILE, json=body, headers=org.user(scope=["audience:read"]))
    refused(answer, 403, "INSUFFICIENT_SCOPE")
    refused(get(client, org.admin()), 403, "INSUFFICIENT_SCOPE")
    created(get(client, org.admin(), CAMPAIGNS), 200)


def test_no_secret_ever_shows_in_an_answer_or_the_log(client, org, caplog):
    wrong = org.server(secret="s3cret-that-must-not-show")
    answer = client.post(ACTIONS, json=PURCHASE, headers=wrong)
    assert "s3cret" not in answer.text
    token = org.token(key=OTHER_SECRET)
    answer = get(client, org.bearer(token))
    assert token not in answer.text
    assert KEY_SECRET not in caplog.text
    assert token not in caplog.text
