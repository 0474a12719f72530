"""What is seen to be right at a glance is what the careful code makes of it."""

import msgspec
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from api import actions as api
from rules.bulk import plain_actions
from rules.errors import Rejection
from streams.messages import decode_record, encode_envelope
from tests.property.json_texts import mixed_bodies, nasty, plain_bodies

LATEST_MS = 1_800_000_000_000
"""2027-01-15."""


def at_a_glance(text, *, keep_id=False, batch=None, key=None):
    """Return the messages, or None where the careful code is to be asked."""
    bulk = api._read_bulk(text)
    if not isinstance(bulk, api._SentBulk):
        return None
    api._name_after(key, bulk.actions)
    return plain_actions(bulk.actions, "acme", LATEST_MS, keep_id=keep_id, batch=batch)


def carefully(text, *, keep_id=False, batch=None, key=None):
    """Return the message of each item, or why it is refused."""
    bodies = [api._read_item(item) for item in api._decode_loose(text).actions]
    api._name_after(key, bodies)
    return [
        api._check(body, "acme", LATEST_MS, keep_id=keep_id, batch=batch)
        for body in bodies
    ]


def folded(messages):
    """Return what a fold gets to see; the text tells 1 from Decimal("1")."""
    return [repr(item) for item in decode_record(None, encode_envelope(messages))[0]]


def check(text, **options):
    glance = at_a_glance(text, **options)
    event("plain" if glance is not None else "asked")
    if glance is None:
        return
    expected = carefully(text, **options)
    assert not [item for item in expected if isinstance(item, Rejection)]
    assert folded(glance) == folded(expected)


def readable(text):
    try:
        api._decode_loose(text)
    except api.UNREADABLE:
        return False
    return True


@settings(max_examples=400)
@given(
    mixed_bodies.filter(readable),
    st.booleans(),
    st.none() | st.sampled_from(["b-1", "b,1", ""]),
    st.none() | st.just("key"),
)
@example(
    b'{"actions":[{"userId":"a","action":"b","data":{"n":1e0}}]}', False, None, "k"
)
def test_a_glance_never_accepts_more_or_other(text, keep_id, batch, key):
    check(text, keep_id=keep_id, batch=batch, key=key)


@settings(max_examples=200)
@given(plain_bodies, st.booleans(), st.none() | st.just("key"))
def test_plain_actions_are_seen_at_a_glance(text, keep_id, key):
    glance = at_a_glance(text, keep_id=keep_id, batch="b-1", key=key)
    assert glance is not None
    expected = carefully(text, keep_id=keep_id, batch="b-1", key=key)
    assert folded(glance) == folded(expected)


@given(nasty, st.integers(0, 17), st.sampled_from(["[%s]", '{"k":%s}', "[0,%s ]"]))
def test_a_nasty_value_at_any_depth(value, depth, shape):
    for _ in range(depth):
        value = (shape % "\0").encode().replace(b"\0", value)
    text = b'{"actions":[{"userId":"a","action":"b","data":{"v":' + value + b"}}]}"
    if readable(text):
        check(text)


@given(st.binary(max_size=6), st.integers(0, 200))
def test_changed_bytes(change, place):
    text = bytearray(
        b'{"actions":[{"userId":"alice","action":"purchase","eventId":"o-1",'
        b'"timestamp":"2025-10-06T16:45:00.250+01:00",'
        b'"data":{"amount":-19.90,"list":[1,2,{"x":"\\u00e9"}]},"metadata":{}}]}'
    )
    text[place : place + len(change)] = change
    if not readable(bytes(text)):
        return
    try:
        check(bytes(text))
    except api.Problem:
        return


def test_depth_sixteen_is_the_last_seen_at_a_glance():
    for depth, plain in [(16, True), (17, False)]:
        value = b"[" * (depth - 1) + b"1" + b"]" * (depth - 1)
        item = b'{"userId":"a","action":"b","data":{"v":' + value + b"}}"
        assert (at_a_glance(b'{"actions":[' + item + b"]}") is not None) is plain


def test_the_largest_payload_is_seen_at_a_glance():
    for size, plain in [(32 * 1024, True), (32 * 1024 + 1, False)]:
        data = {"x": "y" * (size - len('{"x":""}'))}
        item = {"userId": "a", "action": "b", "data": data}
        text = msgspec.json.encode({"actions": [item]})
        assert (at_a_glance(text) is not None) is plain
