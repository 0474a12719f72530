"""What every `ReadView` does; each implementation's test file runs these cases."""

from decimal import Decimal

from rules.errors import Rejection
from rules.ledger import Entry
from rules.outcome import Notification, Result
from rules.state import Lot, UserState
from tables import codec, keys
from tables.codec import DedupeRow, Heartbeat, PartitionRow, Tally
from tables.views import UserView

PARTITIONS = 2


def entry_of(org, user, sequence):
    return Entry(
        entry_id=f"{org}-{user}-{sequence}",
        number=sequence,
        ordinal=0,
        org=org,
        user=user,
        sequence=sequence,
        kind="credit",
        currency="points",
        amount=10,
        balance_after=10 * sequence,
        item=None,
        reason="why",
        source="campaign",
        campaign_id="camp_1",
        rule_id=None,
        campaign_version=1,
        event_id=None,
        expires_at_ms=None,
        occurred_at_ms=1,
        created_at_ms=2,
    )


def notification_of(org, user, sequence):
    data = {"org": org, "user": user}
    return Notification(f"ntf-{sequence}", sequence, "reward", "t", "m", data, 3)


def lists_of(org, user, sequences):
    """Return the rows of a user's entries and notifications."""
    part = keys.user_part(org, user)
    rows = {}
    for sequence in sequences:
        entry = entry_of(org, user, sequence)
        rows[keys.entries_from(part, sequence)] = codec.entries.encode([entry])
        notification = notification_of(org, user, sequence)
        key = keys.notification(part, sequence)
        rows[key] = codec.notifications.encode(notification)
    return rows


def lots_of(org, user, lots):
    """Return the rows of a user's lots."""
    part = keys.user_part(org, user)
    return {
        keys.lot(part, lot.currency, lot.expires_at_ms, lot.sequence): (
            codec.lots.encode(lot)
        )
        for lot in lots
    }


def sequences(rows):
    return [row.sequence for row in rows]


class ViewContract:
    """Cases for one implementation: subclass with the fixtures `view` and `put`.

    `put(topic, partition, rows)` stores rows as their owner does and returns when the
    next call of `view` must see them. All partitions have state.
    """

    knows_seen_ids = True

    def test_users_come_in_order_with_gaps(self, view, put):
        states = {
            "alice": UserState(1, 2, points=5, custom_fields={"x": Decimal("0.10")}),
            "bob": UserState(3, 4, tier="gold", badges={"b": 7}),
        }
        put(
            "users",
            1,
            {keys.user("acme", u): codec.states.encode(s) for u, s in states.items()},
        )
        found = view.users(1, "acme", ["bob", "nobody", "alice", "bob"])
        bob = UserView("bob", states["bob"], [])
        assert found == [bob, None, UserView("alice", states["alice"], []), bob]
        assert str(found[2].state.custom_fields["x"]) == "0.10"
        assert view.users(0, "acme", ["alice"]) == [None]
        assert view.users(1, "other", ["alice"]) == [None]
        assert view.users(1, "acme", []) == []

    def test_lots_come_by_wallet_soonest_first(self, view, put):
        lots = [
            Lot("points", 500, 9, 1),
            Lot("points", 70_000, 2, 2),
            Lot("points", 70_000, 3, 4),
            Lot("xp", 10, 1, 8),
            Lot("coins", 20, 4, 16),
        ]
        state = UserState(1, 1, next_expiry_ms=10)
        rows = lots_of("acme", "al", reversed(lots))
        rows |= lots_of("acme", "alice", [Lot("points", 1, 1, 1)])
        rows[keys.user("acme", "al")] = codec.states.encode(state)
        put("users", 0, rows)
        assert view.users(0, "acme", ["al"]) == [UserView("al", state, lots)]

    def test_lists_are_newest_first_and_paged(self, view, put):
        put("users", 0, lists_of("acme", "alice", [1, 2, 3, 255, 256, 257]))
        for read in (view.entries, view.notifications):
            page = read(0, "acme", "alice", below=None, limit=4)
            assert sequences(page) == [257, 256, 255, 3]
            page = read(0, "acme", "alice", below=3, limit=4)
            assert sequences(page) == [2, 1]
            assert sequences(read(0, "acme", "alice", below=257, limit=1)) == [256]
            assert read(0, "acme", "alice", below=None, limit=0) == []
        assert view.entries(0, "acme", "alice", below=2, limit=9) == [
            entry_of("acme", "alice", 1)
        ]
        assert view.notifications(0, "acme", "alice", below=2, limit=9) == [
            notification_of("acme", "alice", 1)
        ]

    def test_a_page_may_begin_and_end_within_the_entries_of_a_message(self, view, put):
        part = keys.user_part("acme", "alice")
        rows = {
            keys.entries_from(part, run[0]): codec.entries.encode(
                [entry_of("acme", "alice", sequence) for sequence in run]
            )
            for run in ([1, 2, 3], [4], [5, 6, 7, 8], [9, 10])
        }
        put("users", 0, rows)
        for below in [None, *range(12)]:
            for limit in range(12):
                page = view.entries(0, "acme", "alice", below=below, limit=limit)
                newest = 10 if below is None else min(below - 1, 10)
                assert sequences(page) == list(range(newest, 0, -1))[:limit]

    def test_any_cursor_is_good(self, view, put):
        put("users", 0, lists_of("acme", "alice", [1, 2]))
        for below, expected in [
            (1, []),
            (0, []),
            (-5, []),
            (-(1 << 70), []),
            (1 << 63, [2, 1]),
            ((1 << 64) - 1, [2, 1]),
            (1 << 64, [2, 1]),
            (1 << 70, [2, 1]),
        ]:
            page = view.entries(0, "acme", "alice", below=below, limit=9)
            assert sequences(page) == expected, below

    def test_names_that_begin_alike_stay_apart(self, view, put):
        whos = [("a", "x"), ("a", "xy"), ("ab", "x"), ("a", "é"), ("ab", "")]
        rows = {}
        for place, (org, user) in enumerate(whos):
            state = UserState(place, 0, next_expiry_ms=1)
            rows[keys.user(org, user)] = codec.states.encode(state)
            rows |= lists_of(org, user, [1, place + 2])
            rows |= lots_of(org, user, [Lot("points", 1, 1, place + 1)])
        put("users", 0, rows)
        for place, (org, user) in enumerate(whos):
            [found] = view.users(0, org, [user])
            assert found.state.created_at_ms == place
            assert [lot.remaining for lot in found.lots] == [place + 1]
            entries = view.entries(0, org, user, below=None, limit=99)
            assert {(entry.org, entry.user) for entry in entries} == {(org, user)}
            assert sequences(entries) == [place + 2, 1]
            notes = view.notifications(0, org, user, below=None, limit=99)
            assert [note.data for note in notes] == [{"org": org, "user": user}] * 2

    def test_seen_ids_are_found_in_every_live_bucket(self, view, put):
        width, forever = keys.BUCKET_MS, (1 << 62) - 1
        clock_ms = 5 * width + 7
        row = PartitionRow("ab" * 16, 1, "", 1, clock_ms, "", 1, PARTITIONS, "x")
        rows = {
            keys.PARTITION: codec.partition_rows.encode(row),
            keys.DEDUPE: codec.dedupe_rows.encode(DedupeRow(width, kept=True)),
        }
        untils = {"now": clock_ms + 1, "next": 6 * width, "old": 4 * width}
        for event_id, until_ms in untils.items():
            key = keys.seen(until_ms // width, keys.event_hash("a", "u", event_id))
            rows[key] = codec.encode_until(until_ms)
        key = keys.seen(keys.FOREVER_BUCKET, keys.event_hash("a", "u", "kept"))
        rows[key] = codec.encode_until(forever)
        put("users", 0, rows)
        found = {
            event_id: view.seen_until(0, "a", "u", event_id)
            for event_id in ("now", "next", "old", "kept", "none")
        }
        expected = {"now": clock_ms + 1, "next": 6 * width, "kept": forever}
        if not self.knows_seen_ids:
            expected = dict.fromkeys(expected)
        assert found == expected | {"old": None, "none": None}
        assert view.seen_until(0, "a", "v", "now") is None
        assert view.seen_until(0, "b", "u", "now") is None
        assert view.seen_until(1, "a", "u", "now") is None

    def test_result_appears(self, view, put):
        assert view.result("users", 1, "cmd_1") is None
        result = Result("cmd_1", 409, None, Rejection("CONFLICT", "Taken", "name"))
        put("users", 1, {keys.result("cmd_1"): codec.results.encode(result)})
        assert view.result("users", 1, "cmd_1") == result
        assert view.result("users", 0, "cmd_1") is None
        assert view.result("orgs", 0, "cmd_1") is None
        assert view.result("users", 1, "cmd_") is None

    def test_tally_is_summed_over_partitions(self, view, put):
        assert view.tally("acme", "b1") is None
        key = keys.tally("acme", "b1")
        put("users", 0, {key: codec.tallies.encode(Tally(1, 2, 3, 4))})
        assert view.tally("acme", "b1") == Tally(1, 2, 3, 4)
        put("users", 1, {key: codec.tallies.encode(Tally(10, 20, 30, 40))})
        assert view.tally("acme", "b1") == Tally(11, 22, 33, 44)
        assert view.tally("acm", "b1") is None
        assert view.tally("acme", "b") is None

    def test_config_of_one_org_and_kind(self, view, put):
        assert view.config_version("acme") is None
        rows = {
            keys.config_version("acme"): codec.numbers.encode(3),
            keys.config_version("acme2"): codec.numbers.encode(9),
        }
        for org in ("acme", "acme2"):
            for kind, row_id in [
                ("rule", "r2"),
                ("rule", "r1"),
                ("rules", "r1"),
                ("campaign", "r1"),
            ]:
                value = {"at": [org, kind, row_id], "multiply": Decimal("1.10")}
                key = keys.config_row(org, kind, row_id)
                rows[key] = codec.config_rows.encode(value)
        put("orgs", 0, rows)
        assert view.config_version("acme") == 3
        assert view.config_version("acm") is None
        found = view.config_rows("acme", "rule")
        assert [row["at"] for row in found] == [
            ["acme", "rule", "r1"],
            ["acme", "rule", "r2"],
        ]
        assert str(found[0]["multiply"]) == "1.10"
        assert view.config_row("acme2", "rules", "r1")["at"] == ["acme2", "rules", "r1"]
        assert view.config_row("acme", "rule", "r") is None
        assert view.config_rows("acme", "segment") == []

    def test_position_heartbeat_and_counters(self, view, put):
        assert view.position("orgs", 0) is None
        assert view.heartbeat("orgs", 0) is None
        assert view.counters("orgs", 0) == {}
        position = PartitionRow("ab" * 16, 7, "cd", 9, 11, "ef", 1, 2, "2025b")
        heartbeat = Heartbeat(4, 5, 6, "a hole")
        put(
            "orgs",
            0,
            {
                keys.PARTITION: codec.partition_rows.encode(position),
                keys.HEARTBEAT: codec.heartbeats.encode(heartbeat),
                keys.COUNTERS: codec.counters.encode({"applied": 3}),
            },
        )
        assert view.position("orgs", 0) == position
        assert view.heartbeat("orgs", 0) == heartbeat
        assert view.counters("orgs", 0) == {"applied": 3}
        assert view.position("users", 0) is None

    def test_close_twice(self, view):
        view.close()
        view.close()
