"""Snapshots of a worker's folder, as the command line takes and shows them."""

import json
import shutil

from tests.crash.worker import plaudit


def snapshot_to(url, monkeypatch):
    """Tell workers of a storage; each partition gets a snapshot every second."""
    monkeypatch.setenv("PLAUDIT_SNAPSHOTS_URL", url)
    monkeypatch.setenv("PLAUDIT_SNAPSHOT_EVERY_S", "1")


def shared_folder(tmp_path):
    """Make a folder for a storage and return its URL."""
    (tmp_path / "shared").mkdir()
    return f"file://{tmp_path}/shared"


def snapshots_of(folder):
    """Return the newest good snapshot of each partition, as the command shows them."""
    done = plaudit("snapshots", "list", "-d", folder.path, "--json")
    newest = {}
    for one in json.loads(done.stdout)["snapshots"]:
        if one["good"]:
            newest.setdefault((one["topic"], one["partition"]), one["offset"])
    return newest


def are_taken(folder):
    """Tell whether all that is in the log is in a snapshot."""
    newest = snapshots_of(folder)
    return all(
        newest.get(place) == folder.log.end_offset(*place) - 1
        for place in folder.places()
    )


def more(folder, first, count=400):
    """Append further purchases, an envelope of 100 at a time."""
    for number in range(first, first + count, 100):
        folder.purchases(number, 100)


def take(folder):
    """Take a snapshot of each partition, without a worker."""
    plaudit("snapshots", "take", "-d", folder.path)


def lose(folder):
    """Lose all tables, as with a disk."""
    shutil.rmtree(folder.path / "state")
