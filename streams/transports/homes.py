"""Which member of the workers' group gets which partition: where its rows are.

State is rebuilt by replay, so a partition should go to a worker whose folder holds its
rows. Every member tells its name, which outlives restarts, and what its folder holds:

    {"name": "5f0c.../0", "holds": ["orgs/0", "users/2", ...]}

What holds, whoever leads the group:
- counts differ by at most one, of every topic and of all together: partitions of
  `users` are most of the work, and of four, two workers get two each;
- a partition goes to a member that holds its rows, while there is room at one;
- the same members with the same rows get the same partitions, so a worker that comes
  back finds its own; among several it is the one of the greatest hash of name and
  partition (rendezvous hashing), so a worker's loss moves its partitions alone.
"""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, TypeAlias

import msgspec
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)

VERSION: Final = 0
"""Of Kafka's consumer protocol: eager, everything is given back first."""

Place: TypeAlias = tuple[str, int]


class Home(msgspec.Struct, frozen=True):
    """What a member tells of itself.

    Attributes:
      name: Stays the same over restarts; no two members have it.
      holds: ``topic/partition`` whose rows are in its folder.
    """

    name: str
    holds: frozenset[str] = frozenset()


class HomeAssignor:
    """The assignor of one member, as aiokafka uses it."""

    name = "plaudit-home"

    def __init__(self, own: Callable[[], Home]) -> None:
        """Assign nothing yet.

        Args:
          own: Tells what this member is, at every join.
        """
        self._own = own

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """Return what this member tells the group."""
        data = msgspec.json.encode(self._own())
        return ConsumerProtocolMemberMetadata(VERSION, sorted(topics), data)

    def assign(
        self, cluster: Any, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Assign the partitions of all topics to the members; the leader does.

        Args:
          cluster: Tells the partitions of a topic.
          members: Member id -> what it told.
        """
        topics = {topic for one in members.values() for topic in one.subscription}
        places = sorted(
            (topic, partition)
            for topic in topics
            for partition in cluster.partitions_for_topic(topic) or ()
        )
        homes = {
            member: msgspec.json.decode(told.user_data, type=Home)
            for member, told in members.items()
        }
        return {
            member: ConsumerProtocolMemberAssignment(VERSION, _by_topic(mine), b"")
            for member, mine in share_out(places, homes).items()
        }

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Remember nothing: the next assignment looks at the folders again."""


def share_out(
    places: Collection[Place], homes: Mapping[str, Home]
) -> dict[str, list[Place]]:
    """Return which places each member gets.

    Args:
      places: All partitions.
      homes: Member id -> what it is; at least one.
    """
    topics: dict[str, list[Place]] = {}
    for place in places:
        topics.setdefault(place[0], []).append(place)
    given: dict[str, list[Place]] = {member: [] for member in homes}
    # The smallest first: of a larger one more fits beside it where its rows are.
    for of_topic in sorted(topics.values(), key=lambda some: (len(some), some)):
        _share_topic(of_topic, homes, given)
    return given


def _share_topic(
    places: Collection[Place],
    homes: Mapping[str, Home],
    given: Mapping[str, list[Place]],
) -> None:
    """Add the places of one topic to what each member is given."""
    shares: dict[str, list[Place]] = {member: [] for member in homes}
    total = len(places) + sum(map(len, given.values()))
    holders = {
        place: sum(_holds(home, place) for home in homes.values()) for place in places
    }
    # Who alone has the rows of one must not be full of what others have as well.
    left = sorted(places, key=lambda place: (holders[place], place))
    for rows_needed in (True, False):
        waiting: list[Place] = []
        for place in left:
            room, room_in_all = _room(shares, len(places)), _room(given, total)
            candidates = [
                member
                for member, home in homes.items()
                if len(shares[member]) < room
                and len(given[member]) < room_in_all
                and (not rows_needed or _holds(home, place))
            ]
            if candidates:
                best = max(candidates, key=lambda one: _rank(homes[one], one, place))
                shares[best].append(place)
                given[best].append(place)
            else:
                waiting.append(place)
        left = waiting


def _holds(home: Home, place: Place) -> bool:
    return f"{place[0]}/{place[1]}" in home.holds


def _room(shares: Mapping[str, list[Place]], total: int) -> int:
    """Return what a share may grow to where all, of `total`, differ by at most one."""
    least, extra = divmod(total, len(shares))
    fuller = sum(len(share) > least for share in shares.values())
    return least + 1 if fuller < extra else least


def _rank(home: Home, member: str, place: Place) -> tuple[bytes, str]:
    text = f"{home.name} {place[0]}/{place[1]}".encode()
    return hashlib.blake2b(text, digest_size=8).digest(), member


def _by_topic(places: Iterable[Place]) -> list[tuple[str, list[int]]]:
    found: dict[str, list[int]] = {}
    for topic, partition in places:
        found.setdefault(topic, []).append(partition)
    return sorted(found.items())
