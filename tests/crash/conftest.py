import shutil

import pytest

from tests.crash.snapshots import shared_folder, snapshot_to
from tests.crash.worker import Folder

ENVELOPES = 24


@pytest.fixture(scope="session")
def folded(tmp_path_factory):
    """A data folder with 2,400 folded actions; only ever copied."""
    made = Folder(tmp_path_factory.mktemp("folded") / "data")
    made.begin()
    made.fold()
    for number in range(ENVELOPES):
        made.purchases(number * 100, 100)
    made.fold()
    made.close()
    return made.path


@pytest.fixture
def folder(folded, tmp_path):
    """A copy of that folder."""
    shutil.copytree(folded, tmp_path / "data")
    made = Folder(tmp_path / "data")
    yield made
    made.close()


@pytest.fixture
def file_url(tmp_path, monkeypatch):
    """A shared folder that workers are told of as a storage of snapshots."""
    url = shared_folder(tmp_path)
    snapshot_to(url, monkeypatch)
    return url
