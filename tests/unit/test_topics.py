"""The partitioner agrees with Kafka's Java clients."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.topics import (
    DEAD,
    LEDGER,
    ORGS,
    USERS,
    murmur2,
    partition_counts,
    partition_of,
    partitions_of,
)

# org.apache.kafka.common.utils.UtilsTest.testMurmur2
JAVA = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("data", "expected"), JAVA.items())
def test_murmur2_is_that_of_java(data, expected):
    assert murmur2(data) == expected & 0xFFFFFFFF


@given(st.binary(max_size=300))
def test_murmur2_is_32_bits_for_any_bytes(data):
    assert 0 <= murmur2(data) < 1 << 32


@given(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.text(max_size=40))
def test_partition_is_that_of_the_key(org, user):
    user = user.encode("utf-8", "replace").decode()
    key = f"{org}/{user}".encode()
    for partitions in (1, 4, 7):
        expected = (murmur2(key) & 0x7FFFFFFF) % partitions
        assert partition_of(org, user, partitions) == expected


def test_users_spread_over_the_partitions():
    counts = [0] * 4
    for number in range(4_000):
        counts[partition_of("acme", f"user-{number}", 4)] += 1
    assert min(counts) > 800


def test_partition_counts():
    assert partition_counts(5) == {USERS: 5, ORGS: 1, LEDGER: 5, DEAD: 2}
    for partitions in (0, -1, 1_025):
        with pytest.raises(ValueError, match="partitions must be"):
            partition_counts(partitions)


@given(
    st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    st.lists(
        st.text("ab\x00é", max_size=3) | st.from_regex(r"[ -~]{7}", fullmatch=True),
        max_size=60,
    ),
    st.integers(1, 1_024),
)
def test_many_users_stand_where_each_of_them_does(org, users, partitions):
    expected = [partition_of(org, user, partitions) for user in users]
    assert partitions_of(org, users, partitions) == expected


@pytest.mark.parametrize("length", range(1, 20))
def test_a_thousand_users_of_any_length_stand_where_each_of_them_does(length):
    users = [f"{n:x}".rjust(length, "u")[-length:] for n in range(0, 64_000, 64)]
    expected = [partition_of("acme", user, 1_024) for user in users]
    assert partitions_of("acme", users, 1_024) == expected
