from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rules.errors import Rejection
from rules.ledger import Entry
from rules.outcome import Notification, Result
from rules.state import Lot, UserState
from tables import codec
from tables.codec import (
    VERSION,
    DedupeRow,
    Delta,
    Heartbeat,
    IdempotencyRow,
    Mark,
    PartitionRow,
    Tally,
)
from tables.errors import UnknownFormat

texts = st.text(max_size=8)
names = st.text(min_size=1, max_size=8)
counts = st.integers(0, (1 << 63) - 1)
decimals = st.decimals(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | decimals | texts,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
    ),
    max_leaves=8,
)
json_objects = st.dictionaries(texts, json_values, max_size=4)
rejections = st.builds(Rejection, names, texts, st.none() | names)
results = st.builds(
    Result,
    names,
    st.integers(200, 599),
    st.none() | json_objects,
    st.none() | rejections,
    st.lists(rejections, max_size=2),
)
states = st.builds(
    UserState,
    created_at_ms=counts,
    updated_at_ms=counts,
    points=counts,
    tier=texts,
    badges=st.dictionaries(names, counts, max_size=3),
    benefits=st.dictionaries(names, st.none() | counts, max_size=3),
    counts=st.dictionaries(names, counts, max_size=3),
    email=st.none() | texts,
    preferences=json_objects,
    custom_fields=json_objects,
    next_expiry_ms=st.none() | counts,
    newest_cap_day=st.none() | st.integers(-800_000, (1 << 32) - 1),
)
notifications = st.builds(
    Notification, names, counts, names, texts, texts, json_values, counts
)
KINDS = {
    "states": (codec.states, states),
    "entries": (codec.entries, st.lists(st.builds(Entry), min_size=1)),
    "lots": (codec.lots, st.builds(Lot)),
    "notifications": (codec.notifications, notifications),
    "results": (codec.results, results),
    "partition_rows": (codec.partition_rows, st.builds(PartitionRow)),
    "heartbeats": (
        codec.heartbeats,
        st.builds(Heartbeat, counts, counts, st.none() | counts, st.none() | texts),
    ),
    "marks": (codec.marks, st.builds(Mark)),
    "dedupe_rows": (codec.dedupe_rows, st.builds(DedupeRow, counts, st.booleans())),
    "tallies": (codec.tallies, st.builds(Tally, counts, counts, counts, counts)),
    "idempotency_rows": (
        codec.idempotency_rows,
        st.builds(IdempotencyRow, names, results, counts),
    ),
    "config_rows": (codec.config_rows, json_objects),
    "numbers": (codec.numbers, st.integers()),
    "counters": (codec.counters, st.dictionaries(names, st.integers(), max_size=4)),
}
rows = st.sampled_from(list(KINDS)).flatmap(
    lambda kind: st.tuples(st.just(KINDS[kind][0]), KINDS[kind][1])
)


def test_every_codec_is_tried():
    instances = {
        name for name, value in vars(codec).items() if isinstance(value, codec.Codec)
    }
    assert instances == set(KINDS)


@given(rows)
def test_what_was_stored_is_read_back(row):
    kind, value = row
    assert kind.decode(kind.encode(value)) == value


@given(rows)
def test_what_was_read_is_stored_as_it_was(row):
    kind, value = row
    # The first reading may turn Decimal("-0") into 0; from then on bytes stay.
    stored = kind.encode(kind.decode(kind.encode(value)))
    assert kind.encode(kind.decode(stored)) == stored


@given(decimals)
def test_decimals_keep_every_digit(number):
    state = UserState(1, 1, custom_fields={"x": number, "deep": [{"y": number}]})
    fields = codec.states.decode(codec.states.encode(state)).custom_fields
    for found in (fields["x"], fields["deep"][0]["y"]):
        assert found == number
        assert type(found) in (int, Decimal)
        if isinstance(found, Decimal):
            assert found.as_tuple() == number.as_tuple()
        else:
            # Without a point or an exponent it is a whole number to JSON.
            assert number.as_tuple().exponent == 0


@given(st.integers(-(10**600), 10**600))
def test_integers_of_any_size_keep_every_digit(number):
    stored = codec.config_rows.encode({"n": number})
    assert codec.config_rows.decode(stored) == {"n": number}


@given(st.integers(0, (1 << 64) - 1))
def test_seen_until_round_trip(until_ms):
    assert codec.decode_until(codec.encode_until(until_ms)) == until_ms


deltas = st.builds(Delta, counts, counts, st.lists(st.binary(max_size=9), max_size=4))


@given(deltas)
def test_delta_round_trip(delta):
    assert codec.decode_delta(codec.encode_delta(delta)) == delta


@given(deltas, st.binary(min_size=1, max_size=1), st.data())
def test_a_delta_that_is_torn_or_of_another_version_is_refused(delta, version, data):
    assume(version != VERSION)
    stored = codec.encode_delta(delta)
    with pytest.raises(UnknownFormat):
        codec.decode_delta(version + stored[1:])
    with pytest.raises(UnknownFormat):
        codec.decode_delta(stored[: data.draw(st.integers(0, len(stored) - 1))])


@given(rows, st.binary(min_size=1, max_size=1))
def test_an_unknown_version_is_refused(row, version):
    assume(version != VERSION)
    kind, value = row
    with pytest.raises(UnknownFormat):
        kind.decode(version + kind.encode(value)[1:])
    with pytest.raises(UnknownFormat):
        codec.decode_until(version + codec.encode_until(1)[1:])


@given(rows, st.data())
def test_a_torn_row_is_refused(row, data):
    kind, value = row
    assume(kind is not codec.numbers)
    stored = kind.encode(value)
    cut = data.draw(st.integers(0, len(stored) - 1))
    with pytest.raises(UnknownFormat):
        kind.decode(stored[:cut])


@given(st.integers(0, 8))
def test_a_torn_seen_until_is_refused(cut):
    with pytest.raises(UnknownFormat):
        codec.decode_until(codec.encode_until(1)[:cut])


@given(st.sampled_from(list(KINDS)), st.binary(max_size=40))
def test_garbage_is_refused_or_read_but_never_crashes(kind, garbage):
    try:
        KINDS[kind][0].decode(VERSION + garbage)
    except UnknownFormat:
        return


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1e99999999999999999999}',
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
        b'{"a":' + b"[" * 100_000,
        b'{"a":' + b"1" * 5_000 + b"}",
        b'{"a":NaN}',
        b'{"a":1}{',
        b"[]",
        b"",
    ],
)
def test_what_is_not_our_json_is_refused(text):
    with pytest.raises(UnknownFormat):
        codec.config_rows.decode(VERSION + text)
