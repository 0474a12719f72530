"""The judge: what the log holds, folded by the oracle, against what Plaudit made of it.

It reads the log's bytes by itself and shares nothing with the fold but the codecs of
stored rows.
"""

import hashlib
import json
from decimal import Decimal

import msgspec

from streams.topics import LEDGER, USERS, partition_of
from tables import codec
from tests.crash.worker import Folder
from tests.oracle import Oracle, public
from tests.real_engine import profile_of
from tests.torture.reader import shown_by_oracle


def messages_of(record):
    """Return a record's messages as the oracle wants them, None for each bad one."""
    try:
        value = json.loads(record.value, parse_float=Decimal)
    except ValueError:
        return [None]
    if isinstance(value, list):
        return value[1]
    org, _slash, user = record.key.decode().partition("/")
    if value.get("userId") != user or "action" not in value:
        return [None]
    head = ["action", org, user, value.get("eventId"), value["action"], None]
    return [[*head, value.get("data", {}), {}]]


class Partition:
    """One partition of `users`: the oracle's fold of it, and every action in it."""

    def __init__(self, folder: Folder, number):
        self.folder = folder
        self.number = number
        self.oracle = Oracle()
        self.entries = []
        self.actions = []
        self.histories = {}
        self._versions = {}
        for record in folder.read_all(USERS, number):
            for message in messages_of(record):
                self._fold(record.stamp_ms, message)

    def _fold(self, stamp_ms, message):
        if message is None or not self._counts(message):
            self.oracle.clock = max(self.oracle.clock, stamp_ms)
            self.oracle.number += 1
            return
        outcome = self.oracle.fold(stamp_ms, message)
        self.entries += outcome["entries"]
        self._remember(message)
        if message[0] == "action":
            self.actions.append((message[2], message[3], outcome["fate"]))

    def _remember(self, message):
        """Keep what the message's user has to show, where it changed."""
        user = self.oracle.users.get((message[1], message[2]))
        if user is not None:
            history = self.histories.setdefault((message[1], message[2]), [])
            now = shown_by_oracle(user)
            if history[-1:] != [now]:
                history.append(now)

    def _counts(self, message):
        """Whether a message is one that the partition may fold, for the first time."""
        kind, org = message[:2]
        if kind == "config":
            # The channel is at least once: a version seen before is a no-op.
            known = self._versions.get(org, 0)
            assert message[2] <= known + 1
            self._versions[org] = max(known, message[2])
            return message[2] == known + 1
        if kind == "genesis":
            return True
        return partition_of(org, message[2], self.folder.partitions) == self.number

    def check(self):
        """Check users, entries and the ledger topic; return the number of entries."""
        rows = self.folder.rows(USERS, self.number)
        self._check_users(rows)
        self._check_entries(rows)
        self._check_ledger()
        return len(self.entries)

    def _check_users(self, rows):
        stored = {
            tuple(key[1:-1].decode().split("\0")): profile_of(codec.states.decode(row))
            for key, row in rows.items()
            if key[:1] == b"\x10"
        }
        wanted = {who: public(user) for who, user in self.oracle.users.items()}
        assert stored.keys() == wanted.keys()
        for who, profile in wanted.items():
            assert stored[who] == profile, who

    def _check_entries(self, rows):
        found = [
            msgspec.structs.asdict(entry)
            for key, row in rows.items()
            if key[:1] == b"\x11"
            for entry in codec.entries.decode(row)
        ]
        found.sort(key=lambda entry: (entry["number"], entry["ordinal"]))
        ids = [entry.pop("entry_id") for entry in found]
        assert found == self.entries
        assert ids == [self.entry_id(entry) for entry in self.entries]
        assert len(set(ids)) == len(ids)

    def entry_id(self, entry):
        """Return the id as semantics.md section 3 has it."""
        place = f"{entry['number']}/{entry['ordinal']}"
        text = f"{self.folder.log.log_id}/users/{self.number}/{place}"
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def _check_ledger(self):
        """Read the ledger as a consumer that keeps the greatest: gapless, in order."""
        wanted = [
            (entry["number"], entry["ordinal"], self.entry_id(entry))
            for entry in self.entries
        ]
        # An entry may come again, as itself, once what it came from is folded again.
        repeatable = set(wanted)
        seen = []
        for record in self.folder.read_all(LEDGER, self.number, 1):
            _version, header, entries = json.loads(record.value)
            assert (header["topic"], header["partition"]) == (USERS, self.number)
            for entry_id, number, ordinal, *_rest in entries:
                place = (number, ordinal, entry_id)
                if not seen or place[:2] > seen[-1][:2]:
                    # What comes for the first time is the very next.
                    assert place == wanted[len(seen)]
                    seen.append(place)
                else:
                    assert place in repeatable
        assert seen == wanted


def check(folder: Folder, accepted, reader):
    """Check everything; return what was found, in words.

    Args:
      folder: All is folded, no process runs.
      accepted: (user, id) of every action that was answered with 2xx.
      reader: Has read all the while.
    """
    partitions = [Partition(folder, number) for number in range(folder.partitions)]
    actions = [action for one in partitions for action in one.actions]
    in_log = {(user, event_id) for user, event_id, _fate in actions}
    missing = accepted - in_log
    assert not missing, f"accepted, but not in the log: {sorted(missing)[:10]}"
    applied = [
        (user, event_id) for user, event_id, fate in actions if fate != "refused"
    ]
    once = [(user, event_id) for user, event_id, fate in actions if fate == "applied"]
    assert len(once) == len(set(once)), "an action counts twice"
    assert set(once) == set(applied)
    entries = sum(one.check() for one in partitions)
    histories = {}
    for one in partitions:
        histories |= one.histories
    reader.check(histories)
    counted = sum(
        sum(user["counts"].values())
        for one in partitions
        for user in one.oracle.users.values()
    )
    assert counted == len(set(once))
    return (
        f"{len(actions):,} actions in the log, {len(once):,} counted, "
        f"{len(accepted):,} ids accepted, {entries:,} entries"
    )
