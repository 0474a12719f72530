"""kill -9 at every named point between the machine's steps: nothing lost or doubled."""

import pytest

from streams.faults import AMID_EPOCH, POINTS
from streams.log import Append
from streams.topics import USERS
from tests.crash import campaigns
from tests.crash.worker import Folder

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path):
    made = Folder(tmp_path / "data")
    made.command("org.create", {"settings": {"name": "Acme"}})
    for campaign in (campaigns.POINTS, campaigns.COINS):
        made.command("campaign.create", campaign)
    yield made
    made.close()


@pytest.mark.parametrize("point", [point for point in POINTS if point != AMID_EPOCH])
def test_a_worker_killed_at(point, folder):
    folder.fold()
    for first in range(0, 1_000, 100):
        folder.purchases(first, 100)
    for partition in range(folder.partitions):
        # What no producer of ours would send.
        garbage = Append(USERS, partition, b"acme/nobody", b"\xff\xfe not a record")
        folder.log.append_many([garbage])
    folder.fold(fault=f"{point}:1")
    folder.purchases(1_000, 300)
    folder.fold(fault=f"{point}:2")
    folder.purchases(1_300, 300)
    folder.fold()
    folder.check_exactly_once()


@pytest.mark.parametrize("point", ["after_fold", "after_outputs", "after_write"])
def test_a_worker_killed_while_it_broadcasts_config(point, folder):
    folder.fold(fault=f"{point}:1")
    folder.purchases(0, 200)
    folder.fold()
    folder.purchases(200, 200)
    folder.fold()
    folder.check_exactly_once()
