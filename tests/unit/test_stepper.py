"""The stepper: what it folds, what it refuses, and that its cuts do not matter."""

import msgspec
import pytest

from rules.message import Command, Genesis, Source
from streams import stepper
from streams.log import Record
from streams.messages import encode_envelope
from streams.stepper import Parked
from streams.topics import LEDGER
from tables import codec, keys
from tests.partition import (
    GENESIS,
    T0,
    TZDATA,
    Partition,
    campaign_row,
    config_change,
    org_created,
    purchase,
)

DAY_MS = 86_400_000
HORIZON_MS = 7 * DAY_MS


def state_of(partition, user="alice", org="acme"):
    value = partition.store.get(keys.user(org, user))
    return None if value is None else codec.states.decode(value)


def counters_of(partition):
    value = partition.store.get(keys.COUNTERS)
    return {} if value is None else codec.counters.decode(value)


def dead_letters(partition):
    return [
        msgspec.json.decode(append.value)
        for append in partition.published
        if append.topic == "dead"
    ]


def ledger_entries(partition):
    rows = []
    for append in partition.published:
        if append.topic == LEDGER:
            version, header, entries = msgspec.json.decode(append.value)
            assert version == 1
            assert header["topic"] == "users"
            rows += entries
    return rows


def stored_entries(partition, user="alice", org="acme"):
    prefix = keys.entries(keys.user_part(org, user))
    rows = partition.store.scan(prefix, keys.prefix_end(prefix))
    return [
        entry for _key, value in rows for entry in reversed(codec.entries.decode(value))
    ]


def test_an_action_earns_and_everything_lands_in_one_batch():
    partition = Partition()
    partition.append([org_created()])
    partition.append([purchase(event_id="e1"), purchase(event_id="e2")])
    row = partition.run()
    assert state_of(partition).points == 20
    entries = stored_entries(partition)
    assert [entry.balance_after for entry in entries] == [20, 10]
    assert [entry.number for entry in entries] == [3, 2]
    assert [codec.encode_json(entry) for entry in reversed(entries)] == [
        codec.encode_json(msgspec.convert(row, type(entries[0])))
        for row in ledger_entries(partition)
    ]
    assert (row.offset, row.number, row.clock_ms) == (2, 4, T0)
    assert row.tzdata_version == TZDATA


def test_a_duplicate_in_the_same_step_and_in_a_later_one_changes_nothing():
    partition = Partition()
    partition.append([org_created()])
    partition.append([purchase(event_id="e1"), purchase(event_id="e1")])
    partition.run()
    partition.append([purchase(event_id="e1")])
    partition.run()
    assert state_of(partition).points == 10
    assert counters_of(partition)["duplicate"] == 2


@pytest.mark.parametrize(
    ("later_ms", "points"), [(HORIZON_MS, 10), (HORIZON_MS + 1, 20)]
)
def test_an_event_id_is_free_again_only_after_the_horizon(later_ms, points):
    partition = Partition()
    partition.append([org_created()])
    partition.append([purchase(event_id="e1")])
    partition.run()
    partition.now_ms += later_ms
    partition.append([purchase(event_id="e1")])
    partition.run()
    assert state_of(partition).points == points


def test_a_kept_event_id_is_a_duplicate_for_ever():
    partition = Partition()
    partition.append([org_created()])
    partition.append([purchase(event_id="e1", keep_id=True)])
    partition.run()
    partition.now_ms += 4_000 * DAY_MS
    partition.append([purchase(event_id="e1"), purchase(event_id="e2")])
    partition.run()
    assert state_of(partition).points == 20


def test_a_hole_parks_at_the_missing_offset():
    partition = Partition()
    partition.append([org_created()])
    partition.run()
    partition.append([purchase()])
    partition.append([purchase()])
    with pytest.raises(Parked, match="offset 2 is missing") as parked:
        partition.stepper.step(partition.records[3:])
    assert parked.value.offset == 2


def test_records_before_a_hole_are_folded():
    partition = Partition()
    partition.append([org_created()])
    for _ in range(3):
        partition.append([purchase()])
    step = partition.stepper.step([*partition.records[:3], partition.records[4]])
    assert step.row.offset == 2


def test_a_stamp_more_than_five_minutes_ahead_of_the_wall_clock_parks():
    partition = Partition()
    partition.append([org_created()])
    partition.append([purchase()], at_ms=T0 + 300_000)
    partition.append([purchase()], at_ms=T0 + 300_001)
    with pytest.raises(Parked, match="clock") as parked:
        partition.run()
    assert parked.value.offset == 3
    assert state_of(partition).points == 10


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


def test_an_unknown_record_version_parks():
    partition = Partition()
    partition.append_value(b"[2,[]]")
    with pytest.raises(Parked, match="newer Plaudit"):
        partition.run()


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


def test_a_config_change_seen_before_is_a_no_op():
    partition = Partition()
    partition.append([org_created()])
    change = config_change(2, [("campaign", "camp_2", campaign_row("camp_2"))])
    partition.append([change])
    partition.append([change])
    partition.append([purchase()])
    partition.run()
    assert state_of(partition).points == 20
    assert counters_of(partition)["repeated_outputs"] == 1


def test_a_config_delta_without_its_predecessor_parks():
    partition = Partition()
    partition.append([org_created()])
    partition.append([config_change(3, [])])
    with pytest.raises(Parked, match="cannot follow"):
        partition.run()


def test_actions_see_the_config_that_stands_before_them():
    partition = Partition()
    change = config_change(2, [("campaign", "camp_2", campaign_row("camp_2"))])
    partition.append([org_created(), purchase(), change, purchase()])
    partition.run()
    assert state_of(partition).points == 30


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


def update(display_name, command_id="cmd_1", key=None):
    body = {"displayName": display_name}
    return Command(
        "acme", "alice", command_id, "profile.update", None, body, key, "alice"
    )


def result_of(partition, command_id):
    value = partition.store.get(keys.result(command_id))
    return None if value is None else codec.results.decode(value)


def test_a_command_is_answered_even_when_it_is_refused():
    partition = Partition()
    partition.append([org_created(), update("A"), update(5, "cmd_2")])
    partition.run()
    assert result_of(partition, "cmd_1").status == 200
    refused = result_of(partition, "cmd_2")
    assert (refused.status, refused.error.field) == (400, "displayName")
    assert state_of(partition).display_name == "A"


def test_an_idempotency_key_gives_the_first_answer_again():
    partition = Partition()
    partition.append([org_created(), update("A", "cmd_1", "k"), update("B", "cmd_0")])
    partition.append([update("A", "cmd_2", "k"), update("C", "cmd_3", "k")])
    partition.run()
    assert result_of(partition, "cmd_2").status == 200
    assert result_of(partition, "cmd_3").error.code == "IDEMPOTENCY_KEY_REUSED"
    assert state_of(partition).display_name == "B"


def test_an_idempotency_key_is_free_after_a_day_and_its_rows_are_gone():
    partition = Partition()
    partition.append([org_created(), update("A", "cmd_1", "k")])
    partition.run()
    partition.now_ms += DAY_MS + 1
    partition.append([update("C", "cmd_2", "k")])
    partition.run()
    assert state_of(partition).display_name == "C"
    assert result_of(partition, "cmd_1") is None
    assert result_of(partition, "cmd_2").status == 200


def test_a_batch_is_tallied_by_fate():
    partition = Partition()
    partition.append([org_created(late_horizon_ms=1_000)])
    partition.append(
        [purchase(event_id=name, batch="b") for name in ("e1", "e1", "e2")]
    )
    partition.run()
    partition.append([purchase(occurred_at_ms=T0 - 1_001, batch="b")])
    partition.append([purchase(occurred_at_ms=T0 + DAY_MS, batch="b")])
    partition.run()
    tally = codec.tallies.decode(partition.store.get(keys.tally("acme", "b")))
    fates = (tally.applied, tally.duplicate, tally.too_late, tally.refused)
    assert fates == (2, 1, 1, 1)


@pytest.mark.parametrize("records_max", [1, 2, 3])
def test_the_digest_and_the_ids_do_not_depend_on_how_steps_are_cut(records_max):
    rows, entries = [], []
    for cut in (None, records_max):
        partition = Partition()
        partition.append([org_created()])
        for number in range(7):
            partition.append(
                [purchase(f"u{number % 3}"), purchase("x", f"e{number % 2}")]
            )
        rows.append(partition.run(cut))
        entries.append(ledger_entries(partition))
    assert rows[0] == rows[1]
    assert entries[0] == entries[1]


def test_a_new_assignment_goes_on_where_the_rows_are():
    partition = Partition()
    partition.append([org_created(), purchase(event_id="e1")])
    partition.run()
    partition.stepper = partition.open()
    assert partition.stepper.next_offset == 2
    partition.append([purchase(event_id="e1"), purchase(event_id="e2")])
    partition.run()
    assert state_of(partition).points == 20


def test_a_partition_that_does_not_begin_with_a_genesis_parks():
    partition = Partition()
    partition.records[0] = Record(0, T0, None, encode_envelope([purchase()]))
    with pytest.raises(Parked, match="genesis"):
        partition.run()


def test_a_step_holds_about_four_thousand_messages():
    partition = Partition()
    partition.append([org_created()])
    for _ in range(45):
        partition.append([purchase(f"u{i}") for i in range(100)])
    step = partition.stepper.step(partition.records)
    assert step.row.number == 3_902


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


@pytest.mark.parametrize("records_max", [None, 1])
def test_a_key_used_again_after_a_day_is_kept_for_a_day(records_max):
    partition = Partition()
    partition.append([org_created(), update("A", "cmd_1", "k")])
    partition.run(records_max)
    partition.now_ms += DAY_MS + 1
    partition.append([purchase()])
    partition.append([update("B", "cmd_2", "k")])
    partition.run(records_max)
    partition.append([update("C", "cmd_3", "k")])
    partition.run(records_max)
    assert result_of(partition, "cmd_3").error.code == "IDEMPOTENCY_KEY_REUSED"
    assert state_of(partition).display_name == "B"


@pytest.mark.parametrize("records_max", [None, 1])
def test_a_batch_that_goes_on_after_a_day_is_tallied_anew(records_max):
    partition = Partition()
    partition.append([org_created(), purchase(batch="b")])
    partition.run(records_max)
    partition.now_ms += DAY_MS
    partition.append([purchase("bob")])
    partition.append([purchase(batch="b")])
    partition.run(records_max)
    tally = codec.tallies.decode(partition.store.get(keys.tally("acme", "b")))
    assert (tally.applied, tally.expires_at_ms) == (1, T0 + 2 * DAY_MS)


@pytest.mark.parametrize("field", ["tzdata_version", "semantics_version"])
def test_rows_of_a_version_that_is_not_carried_park(field):
    partition = Partition()
    partition.append([org_created()])
    partition.run()
    row = codec.partition_rows.decode(partition.store.get(keys.PARTITION))
    other = {"tzdata_version": "1999.1", "semantics_version": 99}[field]
    row = msgspec.structs.replace(row, **{field: other})
    batch = partition.store.batch()
    batch.put(keys.PARTITION, codec.partition_rows.encode(row))
    partition.store.write(batch)
    partition.stepper = partition.open()
    partition.append([purchase()])
    with pytest.raises(Parked, match="asks for") as parked:
        partition.run()
    assert not parked.value.skippable


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


def test_a_command_for_what_is_no_user_id_is_refused():
    partition = Partition()
    body = {"displayName": "A"}
    command = Command("acme", "a\0b", "cmd_1", "profile.update", None, body)
    partition.append([org_created(), command])
    partition.run()
    assert result_of(partition, "cmd_1").status == 400
    assert state_of(partition, "a\0b") is None


def test_tallies_stand_only_under_orgs_that_exist():
    partition = Partition()
    partition.append([purchase(org="nobody", batch="b"), purchase(batch="b")])
    partition.append([org_created(), purchase(batch="not a batch")])
    partition.run()
    rows = list(partition.store.scan(b"\x04", b"\x05"))
    assert rows == []


def test_a_message_of_very_many_entries_has_several_rows():
    partition = Partition()
    partition.append([org_created()])
    effects = [{"type": "award_points", "amount": 1}] * 10
    rows = [
        (
            "campaign",
            f"camp_{n}",
            campaign_row(effects=effects, campaign_id=f"camp_{n}"),
        )
        for n in range(25)
    ]
    partition.append([config_change(2, rows)])
    partition.append([purchase(event_id="e1")])
    partition.run()
    entries = stored_entries(partition)
    assert [entry.sequence for entry in entries] == list(range(len(entries), 0, -1))
    assert len(entries) == 250
    assert len(ledger_entries(partition)) == len(entries)
    prefix = keys.entries(keys.user_part("acme", "alice"))
    stored = list(partition.store.scan(prefix, keys.prefix_end(prefix)))
    assert len(stored) == -(-len(entries) // codec.ENTRIES_MAX)
