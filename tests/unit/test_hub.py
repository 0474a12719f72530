"""The hub: rows are checked against the log, and folded on where they are."""

import asyncio
import shutil

import msgspec
import pytest

from streams.checks import check_log, out_of_range
from streams.hub import Hub, HubConfig
from streams.log import Append, LogUnavailable
from streams.stepper import WrongLog
from streams.topics import GROUP, LEDGER, ORGS, USERS
from tables import codec, keys
from tables.errors import StoreClosed, StoreFailed
from tables.rocksdb import RocksStore
from tests.machines import Hubs, SpyLog, commit_zero, fill, make_log, points
from tests.partition import T0, TZDATA, org_created, purchase


def folded(log):
    """Fold an org and a purchase of a new log; return the hubs that did."""
    commit_zero(log)
    fill(log, [org_created(), purchase()])
    hubs = Hubs(log)
    asyncio.run(hubs.fold())
    return hubs


def test_a_hub_goes_on_where_the_rows_are(log):
    hubs = folded(log)
    fill(log, [purchase()])
    asyncio.run(hubs.fold(until_acked=[(USERS, 2)]))
    assert points(hubs.stores[USERS, 0]) == 20
    assert hubs.failures == []


def test_rows_beyond_the_end_of_the_log_stop_the_worker(log, tmp_path):
    hubs = folded(log)
    shorter = make_log(tmp_path / "cut")
    commit_zero(shorter)
    hubs.log = shorter
    with pytest.raises(WrongLog, match="lost its tail"):
        asyncio.run(hubs.fold())
    shorter.close()


def test_a_log_that_is_folded_while_it_is_looked_at_lost_nothing(log):
    hubs = folded(log)
    looker = SpyLog(log)
    asked = []

    def end_offset(topic, partition):
        end = log.end_offset(topic, partition)
        if topic == USERS and not asked:
            asked.append(end)
            fill(log, [purchase()])
            asyncio.run(hubs.fold(until_acked=[(USERS, 2)]))
        return end

    looker.end_offset = end_offset
    check_log(looker, GROUP, USERS, 0)
    assert asked == [2]


def test_a_record_that_changed_since_it_was_folded_stops_the_worker(log, tmp_path):
    hubs = folded(log)
    other = make_log(tmp_path / "other")
    commit_zero(other)
    fill(other, [org_created(), purchase("mallory")])
    hubs.log = other
    with pytest.raises(WrongLog, match="not the record that was folded"):
        asyncio.run(hubs.fold())
    other.close()


def test_no_rows_and_no_committed_offset_stop_the_worker(log):
    hubs = Hubs(log)
    hubs.log = SpyLog(log)
    hubs.log.committed = lambda *_place: None
    with pytest.raises(WrongLog, match="plaudit init"):
        asyncio.run(hubs.fold())


def test_lost_rows_are_rebuilt_from_the_log_without_publishing_again(log):
    commit_zero(log)
    fill(log, [org_created(), purchase()], [purchase()])
    hubs = Hubs(log)
    asyncio.run(hubs.fold())
    before = dict(hubs.stores[USERS, 0].scan(b"", b"\xff"))
    published = log.end_offset(LEDGER, 0)
    log.commit(GROUP, {(USERS, 0): 3})
    hubs.stores.clear()
    asyncio.run(hubs.fold())
    after = dict(hubs.stores[USERS, 0].scan(b"", b"\xff"))
    for rows in (before, after):
        rows.pop(keys.HEARTBEAT, None)
    assert after == before
    assert log.end_offset(LEDGER, 0) == published


def test_entries_published_twice_have_the_same_ids(log):
    commit_zero(log)
    fill(log, [org_created(), purchase()], [purchase()])
    asyncio.run(Hubs(log).fold())
    asyncio.run(Hubs(log).fold())
    ids = []
    for record in log.read(LEDGER, 0, 1):
        ids.append([entry[0] for entry in msgspec.json.decode(record.value)[2]])
    flat = [entry_id for run in ids for entry_id in run]
    assert len(flat) == 4
    assert len(set(flat)) == 2


def entry_ids(log):
    records = log.read(LEDGER, 0, 1)
    found = [msgspec.json.decode(record.value)[2] for record in records]
    return [entry[0] for entries in found for entry in entries]


def moved_past_two_purchases(log):
    """Return hubs over a log of which two purchases were passed over by hand."""
    commit_zero(log)
    fill(log, [org_created(), purchase()], [purchase()])
    hubs = Hubs(log)
    asyncio.run(hubs.fold())
    fill(log, [purchase()], [purchase()])
    log.commit(GROUP, {(USERS, 0): 5})
    return hubs


@pytest.mark.parametrize("keeps_rows", [True, False])
def test_a_group_moved_past_what_was_not_folded_stops_the_worker(log, keeps_rows):
    hubs = moved_past_two_purchases(log)
    before = entry_ids(log)
    if not keeps_rows:
        hubs.stores.clear()
    with pytest.raises(WrongLog, match=r"users/0: .* past 3, .* set it back to 3 "):
        asyncio.run(hubs.fold())
    row = hubs.stores[USERS, 0].get(keys.PARTITION)
    assert codec.partition_rows.decode(row).offset == 2
    hubs.log = SpyLog(log)
    hubs.log.committed = lambda _group, topic, _partition: 3 if topic == USERS else 0
    asyncio.run(hubs.fold())
    after = entry_ids(log)
    assert after[: len(before)] == before
    assert len(set(after)) == len(after) == 4


def test_what_made_no_entries_may_be_passed_over(log):
    hubs = folded(log)
    log.append_many([Append(USERS, 0, None, b"no message")])
    log.commit(GROUP, {(USERS, 0): 3})
    asyncio.run(hubs.fold())
    assert len(entry_ids(log)) == 1


def test_a_late_record_of_a_replaced_owner_hides_no_newer_step(log):
    hubs = folded(log)
    (late,) = log.read(LEDGER, 0, 1)
    fill(log, [purchase()])
    asyncio.run(hubs.fold())
    log.append_many([Append(LEDGER, 0, None, late.value)])
    log.commit(GROUP, {(USERS, 0): 3})
    before = entry_ids(log)
    hubs.stores.clear()
    asyncio.run(hubs.fold())
    assert entry_ids(log) == before


def test_a_late_record_and_a_moved_group(log):
    hubs = folded(log)
    (late,) = log.read(LEDGER, 0, 1)
    fill(log, [purchase()])
    asyncio.run(hubs.fold())
    log.append_many([Append(LEDGER, 0, None, late.value)])
    fill(log, [purchase()])
    log.commit(GROUP, {(USERS, 0): 4})
    hubs.stores.clear()
    with pytest.raises(WrongLog, match=r"past 3, .* set it back to 3 "):
        asyncio.run(hubs.fold())


def test_what_a_broker_does_not_know_may_be_known_again(log):
    fill(log, [org_created()])
    passing = out_of_range(log, USERS, 0, 2)
    assert isinstance(passing, LogUnavailable)
    gone = out_of_range(log, USERS, 0, 7)
    assert isinstance(gone, WrongLog)
    assert "offset 7 comes next, the log holds 0 to 2" in str(gone)


def test_rows_that_do_not_close_keep_no_others_open(log, tmp_path):
    commit_zero(log)
    stores = {}

    def open_store(topic, _partition):
        stores[topic] = RocksStore(tmp_path / topic)
        return stores[topic]

    async def scenario():
        hub = Hub(HubConfig(GROUP, TZDATA), log, open_store, lambda: T0)
        await hub.assign([(USERS, 0), (ORGS, 0)])
        batch = stores[USERS].batch()
        batch.put(b"k", b"v")
        stores[USERS].write(batch)
        shutil.rmtree(tmp_path / USERS)
        with pytest.raises(StoreFailed, match="No such file"):
            await hub.revoke([(USERS, 0), (ORGS, 0)])
        assert hub.next_offset(ORGS, 0) is None
        await hub.stop()

    asyncio.run(scenario())
    with pytest.raises(StoreClosed):
        stores[ORGS].get(b"k")
