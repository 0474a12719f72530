from hypothesis import assume, given
from hypothesis import strategies as st

from tables import keys

# Few letters, so that names often begin alike; é and the last code point, so that
# their bytes are above ASCII.
names = st.text(alphabet="ab é\U0010ffff", min_size=1, max_size=4)
sequences = st.integers(1, keys.SEQUENCE_MAX)
days = st.integers(-800_000, (1 << 32) - 1)
instants = st.integers(0, (1 << 62) - 1)
expiries = st.integers(-(1 << 46), (1 << 62) - 1)
partitions = st.integers(0, (1 << 32) - 1)
hashes = st.binary(min_size=16, max_size=16)
parts = st.tuples(names, names).map(lambda who: keys.user_part(*who))

KINDS = {
    keys.mark: (names, partitions),
    keys.tally: (names, names),
    keys.user: (names, names),
    keys.entries_from: (parts, sequences),
    keys.notification: (parts, sequences),
    keys.seen: (partitions, hashes),
    keys.cap: (parts, days, names, names, names),
    keys.lot: (parts, names, expiries, sequences),
    keys.config_version: (names,),
    keys.config_row: (names, names, names),
    keys.result: (names,),
    keys.expiry: (instants, hashes),
    keys.idempotency: (names, names, names),
    keys.delta: (instants,),
}
SINGLE = [keys.PARTITION, keys.HEARTBEAT, keys.COUNTERS, keys.DEDUPE]
rows = st.sampled_from(list(KINDS)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.tuples(*KINDS[kind]))
)


@given(rows, rows)
def test_different_rows_have_different_keys(first, second):
    assume(first != second)
    assert first[0](*first[1]) != second[0](*second[1])


@given(rows)
def test_no_row_takes_the_key_of_a_single_row(row):
    kind, arguments = row
    assert not any(kind(*arguments).startswith(single) for single in SINGLE)


@given(rows, rows)
def test_kinds_are_told_apart_by_their_first_byte(first, second):
    same_kind = first[0] is second[0]
    assert (first[0](*first[1])[0] == second[0](*second[1])[0]) == same_kind


@given(names, names, names, names)
def test_a_user_part_begins_no_other_users(org, user, other_org, other_user):
    assume((org, user) != (other_org, other_user))
    part, other = keys.user_part(org, user), keys.user_part(other_org, other_user)
    assert not other.startswith(part)


PREFIXES = {
    "users_of": (keys.users_of, (names,)),
    "entries": (keys.entries, (parts,)),
    "notifications": (keys.notifications, (parts,)),
    "caps": (keys.caps, (parts,)),
    "lots": (keys.lots, (parts, names)),
    "seen": (keys.seen_bucket, (partitions,)),
    "config": (keys.config_rows, (names,)),
    "config kind": (keys.config_rows, (names, names)),
}
MEMBERS = {
    "users_of": keys.user,
    "entries": keys.entries_from,
    "notifications": keys.notification,
    "caps": keys.cap,
    "lots": keys.lot,
    "seen": keys.seen,
    "config": keys.config_row,
    "config kind": keys.config_row,
}
scans = st.sampled_from(list(PREFIXES)).flatmap(
    lambda name: st.tuples(st.just(name), st.tuples(*PREFIXES[name][1]))
)


@given(scans, rows)
def test_a_prefix_scan_meets_its_own_rows_and_no_others(scan, row):
    name, arguments = scan
    prefix = PREFIXES[name][0](*arguments)
    kind, values = row
    inside = prefix <= kind(*values) < keys.prefix_end(prefix)
    belongs = kind is MEMBERS[name] and values[: len(arguments)] == arguments
    assert inside == belongs


@given(scans, st.data())
def test_a_prefix_scan_meets_every_own_row(scan, data):
    name, arguments = scan
    member = MEMBERS[name]
    values = data.draw(st.tuples(*KINDS[member]))
    own = member(*arguments, *values[len(arguments) :])
    prefix = PREFIXES[name][0](*arguments)
    assert prefix <= own < keys.prefix_end(prefix)


@given(st.binary(max_size=4), st.binary(max_size=4))
def test_prefix_end_is_the_least_key_above_the_prefix(prefix, key):
    assume(prefix.rstrip(b"\xff"))
    end = keys.prefix_end(prefix)
    assert (prefix <= key < end) == key.startswith(prefix)
    assert prefix + b"\xff" * 8 < end


@given(parts, sequences, sequences)
def test_newest_first(part, one, other):
    for key in (keys.entries_from, keys.notification):
        assert (key(part, one) < key(part, other)) == (one > other)


@given(parts, sequences, st.integers(-5, (1 << 64) + 5))
def test_a_page_begins_below_its_cursor(part, sequence, below):
    for prefix, key in (
        (keys.entries(part), keys.entries_from),
        (keys.notifications(part), keys.notification),
    ):
        begin = keys.newest_first(prefix, below)
        assert prefix <= begin <= keys.prefix_end(prefix)
        assert (begin <= key(part, sequence)) == (sequence < below)
        assert keys.newest_first(prefix, None) <= key(part, sequence)


@given(parts, names, st.tuples(expiries, sequences), st.tuples(expiries, sequences))
def test_lots_sort_by_expiry_then_sequence(part, currency, one, other):
    first, second = keys.lot(part, currency, *one), keys.lot(part, currency, *other)
    assert (first < second) == (one < other)


@given(parts, days, days, names, names, names)
def test_caps_sort_by_day(part, day, bound, period, scope, measure):
    key = keys.cap(part, day, period, scope, measure)
    assert (key < keys.caps_from(part, bound)) == (day < bound)
    assert keys.caps(part) <= key


@given(instants, hashes, instants)
def test_due_rows_are_those_whose_time_has_come(expires_at_ms, key, clock_ms):
    begin, end = keys.expiries(-1), keys.expiries(clock_ms)
    row = keys.expiry(expires_at_ms, key)
    assert (begin <= row < end) == (expires_at_ms <= clock_ms)
    assert keys.expiring_key(row) == key


@given(st.tuples(instants, hashes), st.tuples(instants, hashes))
def test_expiries_sort_by_time(one, other):
    assert (keys.expiry(*one) < keys.expiry(*other)) == (one < other)


@given(partitions, hashes, partitions, partitions)
def test_buckets_are_dropped_whole(bucket, event, begin, end):
    inside = keys.seen_bucket(begin) <= keys.seen(bucket, event) < keys.seen_bucket(end)
    assert inside == (begin <= bucket < end)


@given(st.tuples(names, names, names), st.tuples(names, names, names))
def test_event_hashes_tell_triples_apart(one, other):
    assert (keys.event_hash(*one) == keys.event_hash(*other)) == (one == other)


@given(instants, instants)
def test_deltas_sort_by_offset(one, other):
    assert (keys.delta(one) < keys.delta(other)) == (one < other)


def test_what_is_read_is_mirrored():
    for topic in ("users", "orgs"):
        assert keys.read_kinds(topic) <= keys.KINDS.keys()
    # Every users partition has a copy of all config, which only its fold reads.
    assert keys.read_kinds("orgs") - keys.read_kinds("users") == {0x20, 0x21}
