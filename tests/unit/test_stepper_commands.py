"""Commands and batches in a step: answers, idempotency keys, tallies."""

import pytest

from rules.message import Command
from tables import codec, keys
from tests.partition import T0, Partition, org_created, purchase, result_of, state_of

DAY_MS = 86_400_000


def update(display_name, command_id="cmd_1", key=None):
    body = {"displayName": display_name}
    return Command(
        "acme", "alice", command_id, "profile.update", None, body, key, "alice"
    )


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
