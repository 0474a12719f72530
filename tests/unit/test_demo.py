"""The demo's note of itself; tests/e2e/test_demo.py sends it to a running API."""

import pytest

from plaudit import demo
from plaudit.credentials import Credentials
from plaudit.errors import Failure
from plaudit.folder import DataFolder
from plaudit.settings import Settings


@pytest.fixture
def folder(tmp_path):
    folder = DataFolder(Settings(data_dir=tmp_path))
    Credentials("http://127.0.0.1:1", "demo", "k", "s", "sk", "t").write(
        folder.credentials()
    )
    return folder


def test_only_a_folder_that_asked_is_filled(folder):
    assert not demo.wants_demo(folder)
    demo.request_demo(folder)
    assert demo.wants_demo(folder)


def test_an_interrupted_demo_goes_on_from_the_day_on_which_it_began(
    folder, monkeypatch
):
    days = []

    def interrupted(_client, now):
        days.append(now)
        raise Failure("the API does not answer")

    monkeypatch.setattr(demo, "create_campaigns", interrupted)
    demo.request_demo(folder)
    for _ in range(2):
        with pytest.raises(Failure):
            demo.seed(folder)
        assert demo.wants_demo(folder)
    # A weekend campaign or an action of another day would not be the same one.
    written = folder.demo.read_bytes()
    folder.demo.write_bytes(written.replace(b"20", b"19", 1))
    with pytest.raises(Failure):
        demo.seed(folder)
    assert days[0] == days[1]
    assert days[2] == days[0].replace(year=days[0].year - 100)


def test_a_note_that_cannot_be_read_is_named(folder):
    folder.demo.write_bytes(b"{")
    with pytest.raises(Failure, match=r"demo\.json"):
        demo.wants_demo(folder)
