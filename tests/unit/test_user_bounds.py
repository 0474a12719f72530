"""What a user can hold at most: engine and oracle fill one up and agree at the brim."""

import pytest

from rules.ledger import BALANCE_MAX
from tests.oracle import Oracle, public
from tests.real_engine import RealEngine

ORG = "acme"


def campaign(number, effects, **more):
    return {
        "campaign_id": f"camp_{number:03}",
        "name": f"camp_{number:03}",
        "type": "Reward",
        "mode": "always-on",
        "status": "active",
        "simplified_mode": True,
        "triggers": [{"eventType": "fill"}],
        "effects": effects,
        "created_at_ms": number,
        "updated_at_ms": number,
        **more,
    }


class Pair:
    """Both engines on the same messages."""

    def __init__(self, *campaigns):
        self.real, self.oracle = RealEngine(), Oracle()
        rows = [("campaign", row["campaign_id"], row) for row in campaigns]
        self.fold(["config", ORG, 1, rows, ["orgs", 0, 1, 0]])

    def fold(self, message):
        found, wanted = self.real.fold(1, message), self.oracle.fold(1, message)
        for name in wanted:
            assert found[name] == wanted[name]
        profile = self.real.profile(ORG, "alice")
        assert profile == public(self.oracle.users.get((ORG, "alice")))
        return found, profile

    def act(self, kind="fill"):
        return self.fold(["action", ORG, "alice", None, kind, None, {}, {}])


def filled(effect_of, things):
    """Return campaigns of ten effects each that ask for so many things in all."""
    return [
        campaign(place, [effect_of(n) for n in range(place, min(place + 10, things))])
        for place in range(0, things, 10)
    ]


@pytest.mark.parametrize(
    ("name", "most", "counted", "effect_of"),
    [
        (
            "badges",
            1_000,
            "badge_limit",
            lambda n: {"type": "add_badge", "badgeId": f"b{n}"},
        ),
        (
            "benefits",
            1_000,
            "benefit_limit",
            lambda n: {"type": "unlock_benefit", "benefitId": f"b{n}"},
        ),
        (
            "customFields",
            100,
            "custom_field_limit",
            lambda n: {"type": "set_custom_field", "field": f"f{n}", "value": n},
        ),
    ],
)
def test_no_more_than_the_most(name, most, counted, effect_of):
    pair = Pair(*filled(effect_of, most + 3))
    found, profile = pair.act()
    assert len(profile[name]) == most
    assert found["counts"] == {counted: 3}
    found, profile = pair.act()
    assert len(profile[name]) == most
    assert found["entries"] == []


def test_a_user_who_is_full_may_still_change_what_is_there():
    pair = Pair(*filled(lambda n: custom_field(n, 1), 100))
    pair.act()
    pair = Pair(*filled(lambda n: custom_field(n % 100, n), 101))
    _, profile = pair.act()
    assert profile["customFields"]["f0"] == 100


def custom_field(number, value):
    return {"type": "set_custom_field", "field": f"f{number}", "value": value}


def test_a_user_keeps_256_counters_and_those_that_campaigns_name():
    counting = [{"field": "user.counts.counted", "operator": ">", "value": 0}]
    pair = Pair(
        campaign(1, [{"type": "add_xp", "amount": 1}], conditions=counting),
        campaign(2, [{"type": "add_xp", "amount": 1}], triggers=[{"trigger": "any.*"}]),
    )
    for number in range(256):
        pair.act(f"kind.{number}")
    _, profile = pair.act("one.too.many")
    assert len(profile["counts"]) == 256
    _, profile = pair.act("kind.7")
    assert profile["counts"]["kind.7"] == 2
    pair.act("any.kind")
    pair.act("counted")
    _, profile = pair.act("fill")
    assert list(profile["counts"])[256:] == ["counted", "fill"]


@pytest.mark.parametrize(("room", "taken"), [(5, 5), (4, 0)])
def test_a_wallet_holds_2_to_the_53_less_one(room, taken):
    effects = [{"type": "add_points", "amount": 5}, {"type": "add_xp", "amount": 1}]
    cap = {"perUserAmount": {"currency": "points", "amount": 5, "period": "ever"}}
    pair = Pair(campaign(1, effects, limits=cap))
    pair.act("other")
    pair.real.users[ORG, "alice"].state.points = BALANCE_MAX - room
    user = pair.oracle.users[ORG, "alice"]
    user["balance"]["points"] = BALANCE_MAX - room
    found, profile = pair.act()
    assert profile["balance"]["points"] == BALANCE_MAX - room + taken
    assert profile["balance"]["xp"] == 1
    assert found["counts"] == ({} if taken else {"balance_limit": 1})
    # What was refused was not charged to the cap.
    pair.real.users[ORG, "alice"].state.points = 0
    user["balance"]["points"] = 0
    _, profile = pair.act()
    assert profile["balance"]["points"] == (0 if taken else 5)
