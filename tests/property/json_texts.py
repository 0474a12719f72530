"""JSON as senders write it: good, bad and nasty bodies of bulk requests, as bytes."""

import json
from datetime import datetime

from hypothesis import strategies as st

from rules.action import DERIVED_TYPES

DEEP = 16

blanks = st.sampled_from([b"", b"", b"", b" ", b"\n", b"\r\n\t"])
numbers = st.from_regex(
    rb"-?(0|[1-9][0-9]{0,35})(\.[0-9]{1,35})?", fullmatch=True
) | st.from_regex(rb"-?[0-9](\.[0-9]{1,3})?[eE][+-]?[0-9]{1,3}", fullmatch=True)
written = st.builds(
    lambda text, ascii_only: json.dumps(text, ensure_ascii=ascii_only).encode(
        errors="surrogatepass"
    ),
    st.text(max_size=12),
    st.booleans(),
)
nasty = st.sampled_from(
    [
        b'""',
        b'"1e5,"',
        b'"[1]{"',
        b'"\\"]"',
        b'"\\\\"',
        b'"\\ud800"',
        b'"\\ud83d\\ude00"',
        b'"\\u0000\\u007f\\/"',
        b'"\x7f"',
        b'"\x00"',
        b'"\x1f"',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"caf\xc3\xa9"',
        b'"' + b"1" * 40 + b'"',
        b"1" * 30,
        b"1" * 31,
        b"0." + b"0" * 28 + b"1",
        b"0." + b"0" * 30 + b"1",
        b"1e0",
        b"10e-1",
        b"1E400",
        b"-0",
        b"-0.0",
        b"1" * 400,
        b"01",
        b"NaN",
        b"tru",
        b"[1,]",
    ]
)
literals = st.sampled_from([b"null", b"true", b"false"])
strings = written | nasty.filter(lambda text: text[:1] == b'"')
scalars = numbers | written | literals | nasty


def _joined(parts, frame, blank):
    return frame[:1] + blank + (blank + b"," + blank).join(parts) + blank + frame[1:]


def _pairs(pairs, blank):
    return _joined([key + blank + b":" + value for key, value in pairs], b"{}", blank)


def objects_of(values):
    """Return objects, with a key that is there twice now and then."""
    keys = strings | st.sampled_from([b'"a"', b'"b"'])
    pairs = st.lists(st.tuples(keys, values), max_size=4)
    return st.builds(_pairs, pairs, blanks)


values = st.recursive(
    scalars,
    lambda inner: (
        st.builds(_joined, st.lists(inner, max_size=4), st.just(b"[]"), blanks)
        | objects_of(inner)
    ),
    max_leaves=12,
)
deep = st.builds(
    lambda depth, shape, core: (
        b'{"d":' + shape[0] * depth + core + shape[1] * depth + b"}"
    ),
    st.integers(DEEP - 3, DEEP + 2),
    st.sampled_from([(b"[", b"]"), (b'{"x":', b"}"), (b"[0, ", b"]")]),
    scalars,
)
large = st.builds(
    lambda size, fill: b'{"x":"' + fill * size + b'"}',
    st.integers(32 * 1024 - 12, 32 * 1024 + 4),
    st.sampled_from([b"x", b" "]),
)
payloads = objects_of(values) | deep | large | values | st.just(b"null")

plain_names = st.from_regex(rb'"[A-Za-z0-9 _./:-]{1,40}"', fullmatch=True)
odd_names = st.sampled_from(
    [
        b'""',
        b'"a,b"',
        b'"a\\nb"',
        b'"a\\u0085"',
        b'"\\u0061"',
        b'"\xc3\xa9"',
        b'"a\x7f"',
        b'"\\u2028"',
        b"7",
        b"null",
        *(b'"%s"' % (b"n" * length) for length in (128, 129, 255, 256)),
        b'"' + b"\xc3\xa9" * 65 + b'"',
    ]
)
derived = st.sampled_from(sorted(DERIVED_TYPES)).map(lambda name: f'"{name}"'.encode())
instants = st.builds(
    lambda instant, digits, zone: f'"{instant:%FT%T}{digits}{zone}"'.encode(),
    st.datetimes(),
    st.from_regex(r"(\.[0-9]{1,9})?", fullmatch=True),
    st.sampled_from(["Z", "z", "+00:00", "-23:59", "+14:00", "+24:00", "", "+0100"]),
)
odd_instants = st.sampled_from(
    [
        b'"2025-10-06"',
        b'"2025-02-29T00:00:00Z"',
        b'"2025-10-06 16:45:00Z"',
        b'"2025-10-06T24:00:00Z"',
        b'"2025-10-06T16:45:60Z"',
        b'"0000-01-01T00:00:00Z"',
        b'"0001-01-01T00:00:00+01:00"',
        b'"9999-12-31T23:59:59.9999Z"',
        b'"9999-12-31T23:59:59-01:00"',
        b'"2025-10-06T16:45:00Z\\u00002025-10-06T16:45:00Z"',
        b'"2999-01-01T00:00:00Z"',
        b'"yesterday"',
        b"1759769100",
        b"null",
    ]
)


def _bodies(names, kinds, timestamps, data, *, needed):
    fields = {
        b'"userId"': names,
        b'"action"': kinds,
        b'"eventId"': names,
        b'"timestamp"': timestamps,
        b'"data"': data,
        b'"metadata"': data,
    }
    required = dict(list(fields.items())[:needed])
    optional = {name: field for name, field in fields.items() if name not in required}
    given = st.fixed_dictionaries(required, optional=optional)
    return st.builds(lambda body, blank: _pairs(body.items(), blank), given, blanks)


plain_scalars = (
    st.from_regex(rb"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,14})?", fullmatch=True)
    | plain_names
    | literals
    | st.sampled_from([b'"1e5,"', b'"[1]{"', b'"\\"]"', b'"\\u00e9"', b'"\xc3\xa9"'])
)
plain_payloads = st.builds(
    _pairs, st.lists(st.tuples(plain_names, plain_scalars), max_size=4), blanks
)
plain_instants = st.builds(
    lambda instant: f'"{instant:%FT%T.%fZ}"'.encode(),
    st.datetimes(
        min_value=datetime(1900, 1, 1),
        max_value=datetime(2025, 1, 1),
    ),
)
plain_items = _bodies(
    plain_names, plain_names, plain_instants, plain_payloads, needed=2
)
items = (
    _bodies(
        plain_names | odd_names,
        plain_names | odd_names | derived,
        instants | odd_instants,
        payloads,
        needed=2,
    )
    | _bodies(plain_names, plain_names, plain_instants, payloads, needed=2)
    | _bodies(plain_names, odd_names, odd_instants, values, needed=0)
    | values
    | st.builds(
        lambda item, extra: item[:-1] + b"," + extra + b"}",
        plain_items,
        st.sampled_from([b'"colour":1', b'"userId":"twice"', b'"data":{"a":1}']),
    )
)


def bulk(actions):
    """Return the body of a bulk request."""
    return b'{"actions":[' + b",".join(actions) + b"]}"


plain_bodies = st.lists(plain_items, min_size=1, max_size=5).map(bulk)
mixed_bodies = st.lists(plain_items | items, min_size=1, max_size=4).map(bulk)
