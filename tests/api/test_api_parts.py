"""The parts that need no app: settings, sealed secrets, exact JSON."""

import stat
from decimal import Decimal

import pytest

from api.config import ApiConfig, BadSetting
from api.envelope import iso
from api.json import DEPTH_MAX, decode_object, encode
from api.secrets import SecretBox, SecretUnreadable
from rules.errors import Rejection


def test_settings_come_from_the_environment():
    config = ApiConfig.from_env(
        {"PLAUDIT_API_BODY_BYTES_MAX": "2048", "HOME": "/"}, partitions=8
    )
    assert (config.body_bytes_max, config.partitions) == (2_048, 8)
    assert config.command_timeout_ms == 5_000


@pytest.mark.parametrize(
    "environ",
    [
        {"PLAUDIT_API_COLOUR": "1"},
        {"PLAUDIT_API_PARTITIONS": "4"},
        {"PLAUDIT_API_BODY_BYTES_MAX": "5MB"},
        {"PLAUDIT_API_BODY_BYTES_MAX": ""},
        {"PLAUDIT_API_BODY_BYTES_MAX": "1"},
        {"PLAUDIT_API_COMMAND_TIMEOUT_MS": "60001"},
    ],
)
def test_unknown_or_bad_settings_stop_the_start(environ):
    with pytest.raises(BadSetting):
        ApiConfig.from_env(environ, partitions=4)


def test_a_sealed_secret_opens_only_where_it_belongs():
    box = SecretBox(bytes(32))
    sealed = box.seal(b"secret", org="acme", name="main")
    assert box.open(sealed, org="acme", name="main") == b"secret"
    assert sealed != box.seal(b"secret", org="acme", name="main")
    other = SecretBox(bytes(31) + b"x")
    flipped = sealed[:-5] + ("A" if sealed[-5] != "A" else "B") + sealed[-4:]
    for opener, text, org, name in [
        (box, sealed, "acme", "other"),
        (box, sealed, "other", "main"),
        (other, sealed, "acme", "main"),
        (box, flipped, "acme", "main"),
        (box, sealed[:8], "acme", "main"),
        (box, "", "acme", "main"),
        (box, "é", "acme", "main"),
        (box, "A" * 80, "acme", "main"),
    ]:
        with pytest.raises(SecretUnreadable):
            opener.open(text, org=org, name=name)


def test_a_master_key_is_kept_for_its_owner_and_never_overwritten(tmp_path):
    path = tmp_path / "master.key"
    made = SecretBox.create_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    sealed = made.seal(b"x", org="o", name="n")
    assert SecretBox.from_file(path).open(sealed, org="o", name="n") == b"x"
    with pytest.raises(FileExistsError):
        SecretBox.create_file(path)
    path.write_text("not a key")
    with pytest.raises(SecretUnreadable):
        SecretBox.from_file(path)
    path.write_text("abcd")
    with pytest.raises(SecretUnreadable):
        SecretBox.from_file(path)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1.10"), b"1.10"),
        (Decimal("1E+30"), b"1E+30"),
        (Decimal("-0.0"), b"-0.0"),
        ({"a": [Decimal("0.1"), 1, None, True]}, b'{"a":[0.1,1,null,true]}'),
        (10**20, b"100000000000000000000"),
        ({"n": 10**20, "d": Decimal("0.30")}, b'{"n":100000000000000000000,"d":0.30}'),
    ],
)
def test_numbers_keep_every_digit(value, text):
    assert encode(value) == text
    if isinstance(value, dict):
        assert decode_object(text) == value


def test_what_is_no_json_is_a_bug_and_not_silently_a_string():
    with pytest.raises(TypeError):
        encode({"a": object()})


def test_depth_is_bounded_exactly():
    for depth, good in [(DEPTH_MAX - 1, True), (DEPTH_MAX, False)]:
        text = b'{"a":' + b"[" * depth + b"1" + b"]" * depth + b"}"
        assert isinstance(decode_object(text), dict) is good


def test_a_repeated_key_is_named():
    problem = decode_object(b'{"a":{"b":1,"b":2}}')
    assert problem == Rejection("VALIDATION_ERROR", "The field is given twice", "b")


@pytest.mark.parametrize(
    ("instant_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_696_507_200_001, "2023-10-05T12:00:00.001Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        (-62_135_596_800_000, "0001-01-01T00:00:00.000Z"),
    ],
)
def test_instants(instant_ms, text):
    assert iso(instant_ms) == text
