"""What a step cannot take: dead letters, and bugs that park where they are met."""

import msgspec
import pytest

from rules.config import OrgSettings, row_to_json
from rules.message import Command, Genesis, Source
from streams import orgs_fold, stepper
from streams.fold import LETTER_TEXT_MAX
from streams.messages import encode_envelope
from streams.stepper import Parked
from streams.topics import RECORD_BYTES_MAX
from tables.users import UserTable
from tests.partition import (
    GENESIS,
    T0,
    TZDATA,
    Partition,
    campaign_row,
    config_change,
    dead_letters,
    org_created,
    purchase,
    state_of,
)


def test_an_undecodable_record_goes_to_dead_and_counts_as_one_message():
    partition = Partition()
    partition.append([org_created()])
    offset = partition.append_value(b"\xff{not json")
    partition.append([purchase()])
    row = partition.run()
    (letter,) = dead_letters(partition)
    assert (letter["offset"], letter["index"], letter["number"]) == (offset, 0, 2)
    assert letter["code"] == "UNDECODABLE_RECORD"
    assert row.number == 4
    assert state_of(partition).points == 10


def test_a_bad_item_of_an_envelope_is_refused_alone():
    partition = Partition()
    partition.append([org_created()])
    good = encode_envelope([purchase()])
    partition.append_value(good.replace(b"[1,[", b'[1,[["action",5],', 1))
    partition.run()
    (letter,) = dead_letters(partition)
    assert (letter["index"], letter["number"]) == (0, 2)
    assert state_of(partition).points == 10


def test_an_action_of_an_unknown_org_is_a_dead_letter():
    partition = Partition()
    partition.append([purchase(org="nobody")])
    partition.run()
    assert dead_letters(partition)[0]["code"] == "UNKNOWN_ORG"
    assert state_of(partition, org="nobody") is None


def test_an_action_in_the_wrong_partition_is_a_dead_letter():
    partition = Partition()
    partition.records[0] = partition.records[0]._replace(
        value=encode_envelope([Genesis(GENESIS.log_id, 64, 1, TZDATA)])
    )
    partition.append([org_created()])
    partition.append([purchase("alice")])
    partition.run()
    assert dead_letters(partition)[0]["code"] == "WRONG_PARTITION"
    assert state_of(partition) is None


def test_a_refused_action_leaves_no_user_behind():
    partition = Partition()
    partition.append([org_created()])
    partition.append([purchase(occurred_at_ms=T0 + 300_001)])
    partition.run()
    assert state_of(partition) is None
    assert dead_letters(partition)[0]["code"] == "TIMESTAMP_IN_FUTURE"


def test_a_bug_on_a_message_parks_there_and_folds_what_stands_before(monkeypatch):
    partition = Partition()
    partition.append([org_created()])
    partition.append([purchase("alice")])
    poison = partition.append([purchase("bob"), purchase("mallory")])
    partition.append([purchase("alice")])
    from streams import users_fold

    real_apply = users_fold.apply

    def buggy_apply(program, user, message, place):
        if user.user_id == "mallory":
            raise KeyError("a bug")
        return real_apply(program, user, message, place)

    monkeypatch.setattr(users_fold, "apply", buggy_apply)
    with pytest.raises(Parked) as parked:
        partition.run()
    assert parked.value.offset == poison
    assert state_of(partition).points == 10
    assert state_of(partition, "bob") is None

    partition.stepper.skipped.add(poison)
    row = partition.run()
    assert state_of(partition).points == 20
    assert row.number == 5
    assert dead_letters(partition)[0]["code"] == "SKIPPED"


def test_exhausted_memory_is_not_bad_input(monkeypatch):
    partition = Partition()
    partition.append([org_created(), purchase()])
    from streams import users_fold

    def exhausted(*_args):
        raise MemoryError

    monkeypatch.setattr(users_fold, "apply", exhausted)
    with pytest.raises(MemoryError):
        partition.run()


def single(text):
    return f'{{"userId":"alice","action":"purchase","data":{{"x":{text}}}}}'.encode()


@pytest.mark.parametrize("text", ["1e1000000", "1e999999999", "1e99999999999999999999"])
def test_a_number_that_no_arithmetic_can_hold_is_a_dead_letter(text):
    partition = Partition()
    partition.append([org_created()])
    partition.append_value(single(text), key=b"acme/alice")
    envelope = encode_envelope([purchase(data={"x": 12345678})])
    partition.append_value(envelope.replace(b"12345678", text.encode()))
    partition.append([purchase()])
    partition.run()
    assert len(dead_letters(partition)) == 2
    assert state_of(partition).points == 10


def test_a_bug_in_decoding_parks_where_it_can_be_skipped(monkeypatch):
    partition = Partition()
    partition.append([org_created()])
    poison = partition.append_value(b"poison")
    partition.append([purchase()])
    real_decode = stepper.decode_record

    def buggy_decode(key, value):
        if value == b"poison":
            raise KeyError("a bug")
        return real_decode(key, value)

    monkeypatch.setattr(stepper, "decode_record", buggy_decode)
    with pytest.raises(Parked) as parked:
        partition.run()
    assert parked.value.offset == poison
    partition.stepper.skipped.add(poison)
    partition.run()
    assert state_of(partition).points == 10


def test_a_second_genesis_and_config_from_elsewhere_are_dead_letters():
    partition = Partition()
    partition.append([org_created()])
    change = config_change(2, [("campaign", "camp_2", campaign_row("camp_2"))])
    forged = msgspec.structs.replace(change, source=Source("users", 0, 2, 0))
    partition.append([GENESIS, forged, purchase()])
    partition.run()
    assert [letter["code"] for letter in dead_letters(partition)] == [
        "SECOND_GENESIS",
        "WRONG_SOURCE",
    ]
    assert state_of(partition).points == 10


HUGE = "u" * 999_900


@pytest.mark.parametrize("field", ["org", "user", "event_id"])
@pytest.mark.parametrize("name", [HUGE, "\x01" * 160_000])
def test_a_name_of_any_length_makes_a_letter_that_fits(field, name):
    partition = Partition()
    partition.append([org_created()])
    offset = partition.append([purchase(**{field: name}), purchase()])
    partition.run()
    (letter,) = dead_letters(partition)
    assert (letter["offset"], letter["index"]) == (offset, 0)
    assert name[:LETTER_TEXT_MAX] in letter.values()
    assert all(len(append.value) < RECORD_BYTES_MAX for append in partition.published)
    assert state_of(partition).points == 10


def test_an_entry_that_fits_in_no_record_parks_at_its_action():
    partition = Partition()
    row = campaign_row(HUGE, segment_ids=["chosen"])
    chosen = {"segment_id": "chosen", "name": "", "type": "static"}
    chosen |= {"user_ids": ["alice"], "created_at_ms": T0, "updated_at_ms": T0}
    rows = [("campaign", HUGE, row), ("segment", "chosen", chosen)]
    partition.append([org_created()])
    partition.append([purchase("bob"), config_change(2, rows)])
    poison = partition.append([purchase()])
    partition.append([purchase("bob")])
    with pytest.raises(Parked, match="does not fit") as parked:
        partition.run()
    assert parked.value.offset == poison
    assert parked.value.skippable
    assert state_of(partition, "bob").points == 10


def test_config_that_fits_in_no_record_parks_at_its_command(monkeypatch):
    partition = Partition("orgs")
    real_decide = orgs_fold.decide

    def buggy_decide(view, command, place):
        decision = real_decide(view, command, place)
        decision.changes[:] = [("campaign", HUGE, campaign_row(HUGE))]
        return decision

    monkeypatch.setattr(orgs_fold, "decide", buggy_decide)
    body = {"settings": {"name": "Acme"}}
    command = Command("acme", None, "cmd_1", "org.create", None, body)
    poison = partition.append([command])
    with pytest.raises(Parked, match="does not fit") as parked:
        partition.run()
    assert parked.value.offset == poison
    partition.stepper.skipped.add(poison)
    partition.run()
    assert [letter["code"] for letter in dead_letters(partition)] == ["SKIPPED"]


def changed_settings(version, **settings):
    """Return a config change of an org's settings, forged or of another Plaudit."""
    row = row_to_json(OrgSettings()) | settings
    return config_change(version, [("settings", "settings", row)])


@pytest.mark.parametrize("horizon_ms", [-1, 90 * 86_400_000 + 1, 10**14, 10**30])
def test_a_dedupe_horizon_out_of_bounds_parks_at_its_record(horizon_ms):
    partition = Partition()
    partition.append([org_created()])
    poison = partition.append([changed_settings(2, dedupe_horizon_ms=horizon_ms)])
    partition.append([purchase(event_id="e1")])
    with pytest.raises(Parked, match="dedupe horizon") as parked:
        partition.run()
    assert parked.value.offset == poison
    partition.stepper.skipped.add(poison)
    partition.append([changed_settings(2, dedupe_horizon_ms=90 * 86_400_000)])
    partition.append([purchase(event_id="e1")])
    partition.run()
    assert state_of(partition).points == 10


@pytest.mark.parametrize(
    "change",
    [
        config_change(2, [("campaign", "camp_2", campaign_row(effects=[{"type": 5}]))]),
        changed_settings(2, timezone="Mars/Olympus"),
        changed_settings(2, tiers=[]),
    ],
)
def test_config_that_does_not_compile_parks_at_its_record(change):
    partition = Partition()
    partition.append([org_created()])
    poison = partition.append([change])
    partition.append([purchase()])
    with pytest.raises(Parked, match="newer Plaudit") as parked:
        partition.run()
    assert parked.value.offset == poison
    partition.stepper.skipped.add(poison)
    partition.run()
    assert state_of(partition).points == 10


@pytest.mark.parametrize("method", ["begin", "flush"])
def test_what_fails_for_a_whole_run_parks_at_the_record_that_does_it(
    method, monkeypatch
):
    partition = Partition()
    partition.append([org_created()])
    users = ["alice", "bob", "carol", "mallory", "dave"]
    offsets = {user: partition.append([purchase(user)]) for user in users}
    real = getattr(UserTable, method)

    def buggy(table, *args):
        names = (
            [a.user for a in args[1]] if args else [u.user_id for u in table._changed]
        )
        if "mallory" in names:
            raise OverflowError("int too big to convert")
        real(table, *args)

    monkeypatch.setattr(UserTable, method, buggy)
    with pytest.raises(Parked, match="newer Plaudit") as parked:
        partition.run()
    assert parked.value.offset == offsets["mallory"]
    assert [state_of(partition, user) is not None for user in users] == [True] * 3 + [
        False
    ] * 2
    partition.stepper.skipped.add(offsets["mallory"])
    partition.run()
    assert state_of(partition, "dave").points == 10
