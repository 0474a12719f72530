"""Partitions go where their rows are, evenly, and the same way every time."""

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.transports.homes import Home, HomeAssignor, share_out

USERS = [("users", n) for n in range(16)]
PLACES = [("orgs", 0), *USERS]


def names(places):
    return frozenset(f"{topic}/{partition}" for topic, partition in places)


def members(*names_of, holds=None):
    return {
        f"member-{number}": Home(name, names((holds or {}).get(name, ())))
        for number, name in enumerate(names_of)
    }


def by_name(homes, given_out):
    return {homes[member].name: set(mine) for member, mine in given_out.items()}


def place_all(*names_of, holds=None):
    homes = members(*names_of, holds=holds)
    return by_name(homes, share_out(PLACES, homes))


def test_the_same_workers_get_the_same_partitions_whatever_their_member_ids():
    assert place_all("a", "b", "c") == place_all("c", "a", "b")


def test_a_lost_worker_moves_its_own_partitions_alone():
    before = place_all("a", "b", "c")
    after = place_all("a", "b", holds=before)
    assert before["a"] <= after["a"]
    assert before["b"] <= after["b"]


def test_a_worker_that_comes_back_finds_its_own():
    before = place_all("a", "b", "c")
    between = place_all("a", "b", holds=before)
    # What it held it still has; what others took they have, too.
    holds = {
        "a": before["a"] | between["a"],
        "b": before["b"] | between["b"],
        "c": before["c"],
    }
    after = place_all("a", "b", "c", holds=holds)
    for name, mine in after.items():
        assert mine <= holds[name]


@given(st.sets(st.sampled_from(USERS), min_size=8, max_size=8), st.text(max_size=4))
def test_rows_that_another_has_as_well_go_back_to_who_was_away(mine, name):
    holds = {"stayed": PLACES, f"back{name}": mine}
    assert place_all(*holds, holds=holds)[f"back{name}"] - {("orgs", 0)} == mine


def test_a_new_worker_takes_no_more_than_its_share():
    before = place_all("a", "b")
    after = place_all("a", "b", "new", holds=before)
    assert len(after["new"]) in (5, 6)
    assert after["a"] <= before["a"]
    assert after["b"] <= before["b"]


def test_rows_come_before_names():
    assert place_all("a", "b", holds={"a": PLACES[:9], "b": PLACES[9:]}) == {
        "a": set(PLACES[:9]),
        "b": set(PLACES[9:]),
    }


def differ_by_one(counts):
    return max(counts) - min(counts) <= 1


@given(st.data(), st.integers(1, 20), st.lists(st.integers(1, 40), max_size=3))
def test_every_partition_goes_to_one_member_and_counts_differ_by_one(
    data, count, sizes
):
    places = [
        (f"topic-{topic}", n) for topic, size in enumerate(sizes) for n in range(size)
    ]
    held = st.sets(st.sampled_from(places)) if places else st.just(())
    holds = {f"name-{n}": data.draw(held) for n in range(count)}
    homes = members(*holds, holds=holds)
    given_out = share_out(places, homes)
    assert sorted(place for mine in given_out.values() for place in mine) == places
    assert differ_by_one([len(mine) for mine in given_out.values()])
    for topic in range(len(sizes)):
        assert differ_by_one(
            [
                sum(place[0] == f"topic-{topic}" for place in mine)
                for mine in given_out.values()
            ]
        )


@given(st.lists(st.sets(st.sampled_from(PLACES[:5])), min_size=2, max_size=2))
def test_two_workers_share_four_partitions_of_users_by_half(holds):
    homes = members("a", "b", holds=dict(zip("ab", holds, strict=True)))
    given_out = by_name(homes, share_out(PLACES[:5], homes))
    assert {len(mine - {("orgs", 0)}) for mine in given_out.values()} == {2}


def test_what_members_tell_each_other_is_understood():
    assignor = HomeAssignor(lambda: Home("a/0", frozenset({"users/1"})))
    other = HomeAssignor(lambda: Home("b/0", frozenset({"users/0"})))
    told = {
        "m1": assignor.metadata({"users"}),
        "m2": other.metadata({"users"}),
    }
    told = {name: type(one).decode(one.encode()) for name, one in told.items()}
    cluster = SimpleNamespace(partitions_for_topic=lambda _topic: {0, 1})
    found = assignor.assign(cluster, told)
    assert found["m1"].partitions() == [("users", 1)]
    assert found["m2"].partitions() == [("users", 0)]


def test_a_member_that_tells_nothing_of_ours_is_refused():
    told = {"m1": SimpleNamespace(subscription=["users"], user_data=b"")}
    cluster = SimpleNamespace(partitions_for_topic=lambda _topic: {0})
    with pytest.raises(ValueError, match="truncated"):
        HomeAssignor(lambda: Home("a")).assign(cluster, told)
