"""The stepper: what it folds, where it parks, and that its cuts do not matter."""

import msgspec
import pytest

from streams.log import Record
from streams.messages import encode_envelope
from streams.stepper import Parked
from tables import codec, keys
from tests.partition import (
    T0,
    TZDATA,
    Partition,
    campaign_row,
    config_change,
    counters_of,
    ledger_entries,
    org_created,
    purchase,
    state_of,
    stored_entries,
)

DAY_MS = 86_400_000
HORIZON_MS = 7 * DAY_MS


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
    with pytest.raises(Parked, match=r"is 6 minutes ahead .* by itself") as parked:
        partition.run()
    assert parked.value.offset == 3
    assert state_of(partition).points == 10


def test_an_unknown_record_version_parks():
    partition = Partition()
    partition.append_value(b"[2,[]]")
    with pytest.raises(Parked, match="newer Plaudit"):
        partition.run()


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
