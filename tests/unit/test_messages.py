"""Records decode to the same messages for ever, whatever bytes they are."""

import json
import sys
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.action import DATA_BYTES_MAX, check_action
from rules.errors import Rejection
from rules.message import Action, Command, ConfigChange, Genesis, Source
from rules.value import DEPTH_MAX as PAYLOAD_DEPTH_MAX
from streams.messages import (
    DEPTH_MAX,
    PLAIN_MESSAGE_BYTES_MAX,
    MessageTooLarge,
    UndecodableRecord,
    UnknownVersion,
    decode_record,
    encode_envelope,
    encode_message,
    envelope_bytes,
    envelopes,
    levels_of,
)
from streams.topics import MESSAGES_MAX, RECORD_BYTES_MAX

ACTION = Action("acme", "alice", None, "purchase", None, {"n": Decimal("9.990")}, {})
ONE_OF_EACH = [
    ACTION,
    Command(
        "acme", None, "cmd_1", "campaign.create", None, {"a": [1, None]}, "k", "me"
    ),
    ConfigChange("acme", 3, [("rule", "r1", None)], Source("orgs", 0, 7, 2)),
    Genesis("ab" * 16, 4, 1, "2025b"),
]
FLOOD = 100_000


def messages_of(value, key=None):
    return decode_record(key, value).messages


def within_lists(value, depth):
    """Return a value inside so many lists."""
    for _ in range(depth):
        value = [value]
    return value


def test_messages_come_back_as_they_went():
    decoded = messages_of(encode_envelope(ONE_OF_EACH))
    assert decoded == ONE_OF_EACH
    assert str(decoded[0].data["n"]) == "9.990"


def test_the_layout_is_the_one_documented():
    expected = (
        b'[1,[["action","acme","alice",null,"purchase",null,'
        b'{"n":9.990},{},false,null]]]'
    )
    assert encode_envelope([ACTION]) == expected


def test_a_message_of_an_older_layout_has_the_defaults():
    short = b'[1,[["action","acme","alice",null,"purchase",null,{},{}]]]'
    assert messages_of(short)[0].keep_id is False


def test_a_bad_item_is_refused_alone_and_counts():
    absurd = b'["action","a","b",null,"c",null,{"n":1e99999999999999999999},{}]'
    value = b'[1,[["action",1],%b,"x",["nope"],%b,' + absurd + b"]]"
    value %= (encode_message(ACTION), encode_message(ONE_OF_EACH[3]))
    decoded = messages_of(value)
    refused = [isinstance(item, Rejection) for item in decoded]
    assert refused == [True, False, True, True, False, True]
    assert {item.code for item in decoded if isinstance(item, Rejection)} == {
        "UNREADABLE_MESSAGE"
    }
    assert decoded[1] == ACTION


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"null",
        b"1",
        b'"text"',
        b"[]",
        b"[1]",
        b"[1,[]]",
        b"[1,{}]",
        b"[1,[],[]]",
        b"[true,[]]",
        b"[1.0,[]]",
        b'["1",[]]',
        b"[1,[",
        b"[1,[]] ]",
        b"\xff\xfe",
        b"{",
        b'{"userId":NaN}',
        b'{"userId":"\xff","action":"a"}',
        b"[" * FLOOD,
        b'{"a":' * FLOOD,
        b"[1,[" + b"[" * 100 + b"]" * 100 + b"]]",
        b"[1," + b"9" * 5_000 + b"]",
        b"[" + b"9" * 5_000 + b",[]]",
    ],
)
def test_what_is_no_record_is_undecodable(value):
    with pytest.raises(UndecodableRecord):
        decode_record(b"acme/alice", value)


@pytest.mark.parametrize(
    "value",
    [
        b"[2,[]]",
        b'[2,{"any":"shape"}]',
        b"[99999999999999999999,0]",
    ],
)
def test_another_version_parks(value):
    with pytest.raises(UnknownVersion):
        decode_record(None, value)


def test_a_single_action():
    value = (
        b' {"userId":"alice","action":"purchase","timestamp":"2025-10-06",'
        b'"eventId":"e1","data":{"amount":1.10},"metadata":null}'
    )
    (made,) = messages_of(value, b"acme/alice")
    assert made == Action(
        "acme",
        "alice",
        "e1",
        "purchase",
        1_759_708_800_000,
        {"amount": Decimal("1.10")},
        {},
    )


def test_the_key_splits_at_the_first_slash():
    (made,) = messages_of(b'{"userId":"a/b","action":"x"}', b"acme/a/b")
    assert (made.org, made.user) == ("acme", "a/b")


@pytest.mark.parametrize("key", [None, b"", b"alice", b"acme/bob", b"\xff/alice", b"/"])
def test_a_key_that_does_not_name_the_user_is_wrong(key):
    (refused,) = messages_of(b'{"userId":"alice","action":"x"}', key)
    assert refused.code == "WRONG_KEY"


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (b"{}", "userId"),
        (b'{"userId":"alice","action":"a","more":1}', "more"),
        (b'{"userId":"alice","action":"badge.awarded"}', "action"),
        (b'{"userId":"alice","action":"a","timestamp":"soon"}', "timestamp"),
        (b'{"userId":"alice","action":"a","data":{"n":1e31}}', "data.n"),
    ],
)
def test_a_bad_single_action_is_refused_with_its_field(value, field):
    (refused,) = messages_of(value, b"acme/alice")
    assert (refused.code, refused.field) == ("VALIDATION_ERROR", field)


def nested(depth):
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize("filler", [b"", b'"]",', b'"[",', b'"\\"]",', b"{},"])
def test_depth_is_counted_exactly(filler):
    def text(depth):
        head = b"".join(b"[" + filler for _ in range(depth - 1))
        return head + b"[]" + b"]" * (depth - 1)

    assert json.loads(text(DEPTH_MAX))
    for depth in (4, 5, 19, DEPTH_MAX, DEPTH_MAX + 1):
        assert levels_of(text(depth)) == depth


def test_brackets_in_strings_do_not_hide_depth():
    hiding = b'["]",' * 200 + b"1" + b',"["]' * 200
    assert json.loads(hiding)
    assert levels_of(hiding) == DEPTH_MAX + 1


def test_decoding_does_not_depend_on_the_stack():
    deep = b'[1,[["action","a","b",null,"c",null,{"x":%b},{}]]]' % nested(60)
    too_deep = b'[1,[["action","a","b",null,"c",null,{"x":%b},{}]]]' % nested(61)

    def at_depth(frames):
        if frames:
            return at_depth(frames - 1)
        with pytest.raises(UndecodableRecord):
            decode_record(None, too_deep)
        return decode_record(None, deep)

    limit = sys.getrecursionlimit()
    assert at_depth(0) == at_depth(limit // 2)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


near_the_bounds = st.sampled_from(
    [
        *(10**30, 10**30 - 1, -(10**30), 10**31, 10**33, 10**34),
        *map(Decimal, ("1e30", "9.9e29", "1e-30", "1e-31", "0e40", "0e-70", "1e99")),
        *map(Decimal, ("1." + "0" * 33, "1." + "0" * 34, "0." + "0" * 29 + "1")),
    ]
)
payload_values = st.recursive(
    st.none() | st.booleans() | st.integers() | near_the_bounds | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        | st.builds(within_lists, inner, st.integers(1, 20))
    ),
    max_leaves=6,
)
actions = st.builds(
    Action,
    org=st.sampled_from(["acme", "no org"]),
    user=st.sampled_from(["u", "\u00e9", "a,b", "", "\x7f", "x" * 128, "x" * 129]),
    event_id=st.sampled_from([None, "", "e", "\n", "x" * 255, "x" * 256]),
    type=st.sampled_from(["t", "badge.awarded", "a,b", "", "\x1f", "x" * 129]),
    occurred_at_ms=st.none() | st.integers(-(10**20), 10**20),
    data=st.dictionaries(st.text(max_size=5), payload_values, max_size=2),
    metadata=st.just({})
    | st.builds(lambda size: {"x": "y" * size}, st.integers(0, DATA_BYTES_MAX * 2)),
    batch=st.sampled_from([None, "b1", "no batch", ""]),
)


@given(st.lists(actions, min_size=1, max_size=4))
def test_a_plain_record_needs_no_closer_look(sent):
    value = encode_envelope(sent)
    try:
        messages, plain = decode_record(None, value)
    except UndecodableRecord:
        return
    if plain:
        for action in messages:
            assert check_action(action, plain=True) == check_action(action)


@pytest.mark.parametrize(
    ("data", "plain"),
    [
        ({"a": 10**30 - 1, "b": Decimal("9.9e29")}, True),
        ({"a": 10**30}, False),
        ({"a": Decimal("1e30")}, False),
        ({"a": Decimal("1e-31")}, False),
        ({"a": "\u00e9"}, False),
        ({"a": '"'}, False),
        ({"a": "\x7f"}, False),
        ({"a": within_lists(1, PAYLOAD_DEPTH_MAX - 1)}, True),
        ({"a": within_lists(1, PAYLOAD_DEPTH_MAX)}, False),
        ({"a": "x" * PLAIN_MESSAGE_BYTES_MAX}, False),
    ],
)
def test_what_is_plain(data, plain):
    many = [msgspec.structs.replace(ACTION, data=data)] * 30
    assert decode_record(None, encode_envelope(many)).plain is plain


@pytest.mark.parametrize(
    "number", [b"1e-6", b"-1e-6", b"0e-6", b"10e-7", b"10e9", b"12e5", b"1e5", b"1e-7"]
)
@pytest.mark.parametrize("bytes_max", [PLAIN_MESSAGE_BYTES_MAX, DATA_BYTES_MAX])
def test_a_plain_payload_is_small_enough_however_it_is_spelled(number, bytes_max):
    count = (bytes_max - 60) // (len(number) + 1)
    payload = b'{"x":[%b]}' % b",".join([number] * count)
    value = b'[1,[["action","acme","u",null,"t",null,%b,{}]]]' % payload
    (action,), plain = decode_record(None, value)
    assert plain is (bytes_max == PLAIN_MESSAGE_BYTES_MAX)
    if plain:
        assert check_action(action) is None


def assert_total(key, value):
    try:
        decoded = decode_record(key, value).messages
    except (UndecodableRecord, UnknownVersion):
        return
    assert decoded
    for item in decoded:
        assert isinstance(item, Action | Command | ConfigChange | Genesis | Rejection)


@given(st.none() | st.binary(max_size=20), st.binary(max_size=200))
def test_any_bytes_decode_or_are_undecodable(key, value):
    assert_total(key, value)


@given(json_values, st.sampled_from([b"%b", b"[1,%b]", b"[1,[%b]]", b'{"userId":%b}']))
def test_any_json_decodes_or_is_undecodable(value, frame):
    assert_total(b"acme/alice", frame % json.dumps(value).encode())


@given(st.data())
def test_mutated_envelopes_decode_or_are_undecodable(data):
    value = bytearray(encode_envelope(ONE_OF_EACH))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(value) - 1))
        value[place] = data.draw(st.integers(0, 255))
    assert_total(None, bytes(value))


@given(st.lists(st.integers(0, 3_000), min_size=1, max_size=40), st.integers(1, 4))
def test_envelopes_hold_everything_in_order_within_bounds(sizes, factor):
    messages = [
        Action("o", "u", None, "t", None, {"x": "x" * size * factor * 50}, {})
        for size in sizes
    ]
    decoded = []
    for value in envelopes(messages):
        assert len(value) <= RECORD_BYTES_MAX
        decoded += messages_of(value)
    assert decoded == messages


def test_envelopes_hold_at_most_a_thousand_messages():
    counts = [len(messages_of(value)) for value in envelopes([ACTION] * 2_500)]
    assert counts == [MESSAGES_MAX, MESSAGES_MAX, 500]
    assert list(envelopes([])) == []


def test_the_largest_message_that_fits():
    empty = len(encode_envelope([Action("o", "u", None, "t", None, {"x": ""}, {})]))
    room = RECORD_BYTES_MAX - empty
    (value,) = envelopes([Action("o", "u", None, "t", None, {"x": "x" * room}, {})])
    assert len(value) == RECORD_BYTES_MAX
    with pytest.raises(MessageTooLarge):
        list(
            envelopes([Action("o", "u", None, "t", None, {"x": "x" * (room + 1)}, {})])
        )


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=5))
def test_envelope_bytes_is_the_length(items):
    assert envelope_bytes(items) == len(b"[1,[" + b",".join(items) + b"]]")


def test_msgspec_refuses_what_we_count_on():
    for value in (b'"\\ud800"', b"NaN", b"Infinity"):
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(value)


@pytest.mark.parametrize(
    "value",
    [b"[0,[1]]", b"[-1,[]]", b"[1,[" + b",".join([b"0"] * 1_001) + b"]]"],
)
def test_one_record_of_nonsense_is_one_dead_letter(value):
    with pytest.raises(UndecodableRecord):
        decode_record(None, value)
