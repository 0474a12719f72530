"""Records that cannot be folded: dead letters, and partitions that park."""

import json

import pytest

from streams.log import Append
from streams.sqlite_log import SqliteLog
from streams.topics import partition_of
from tests.e2e.running import Running, command, eventually

pytestmark = pytest.mark.slow


def test_dead_letters_are_listed_mended_and_sent_again(tmp_path):
    with Running(tmp_path) as process:
        process.create_campaign()
        bad = b'{"userId":"alice","action":"visit","eventId":"v1","colour":"red"}'
        partition = partition_of("demo", "alice", 4)
        log = SqliteLog(tmp_path)
        try:
            (offset,) = log.append_many(
                [Append("users", partition, b"demo/alice", bad)]
            )
        finally:
            log.close()
        listing = ("dead", "list", "-d", tmp_path)

        def listed():
            done = command(*listing, "--json", "--limit", 5)
            return json.loads(done.stdout)["letters"]

        (letter,) = eventually(listed)
        assert letter["position"] == f"users/{partition}@{offset}"
        assert (letter["code"], letter["field"]) == ("VALIDATION_ERROR", "colour")
        assert letter["original"] == bad.decode()
        assert letter["position"] in command(*listing).stdout
        mended = tmp_path / "mended.jsonl"
        mended.write_text(letter["original"])
        command(
            *("load", mended, "-d", tmp_path, "--user", "userId", "--id", "eventId"),
            *("--action", "visit"),
        )
        assert process.points("alice", f"users-{partition}-{offset + 1}") == 10


def test_only_a_parked_record_can_be_skipped(running):
    for place, code in (("users/0@1", 1), ("users/9@1", 2), ("ledger/0@1", 2)):
        done = command("skip", place, "-d", running.data_dir, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1)
    for place in ("users/0@0", "orgs/0@00"):
        done = command("skip", place, "-d", running.data_dir, check=False)
        assert (done.returncode, "genesis" in done.stderr) == (2, True)


def test_a_parked_partition_goes_on_after_a_skip(tmp_path):
    with Running(tmp_path) as process:
        process.create_campaign()
        partition, offset = parked_at(process)
        position = process.visit("alice", "v1")
        place = f"users/{partition}@{offset}"
        done = command("status", "-d", tmp_path, check=False)
        assert (done.returncode, f"plaudit skip {place}" in done.stdout) == (1, True)
        early = command(
            "skip", f"users/{partition}@{offset - 1}", "-d", tmp_path, check=False
        )
        assert (early.returncode, f"parked at {offset}" in early.stderr) == (1, True)
        command("skip", place, "-d", tmp_path, "--reason", "from the future")
        assert process.points("alice", position) == 10
        assert eventually(lambda: healthy(tmp_path))
    with Running(tmp_path) as process:
        assert process.points("alice", position) == 10


def healthy(data_dir):
    return command("status", "-d", data_dir, check=False).returncode == 0


def parked_at(process):
    """Park the partition of alice with a record of a version from the future."""
    log = SqliteLog(process.data_dir)
    try:
        partition = partition_of("demo", "alice", 4)
        record = Append("users", partition, None, b"[99,[]]")
        (offset,) = log.append_many([record])
    finally:
        log.close()

    def parked():
        done = command("status", "-d", process.data_dir, "--json", check=False)
        places = json.loads(done.stdout)["partitions"]
        return [p for p in places if p["state"] == "parked"]

    (place,) = eventually(parked)
    assert (place["partition"], place["parkedOffset"]) == (partition, offset)
    return partition, offset
