import errno
import os

import pytest

from tables.epoch import (
    REMOVE_ATTEMPTS_MAX,
    adopt,
    drop_old,
    is_restored,
    new_draft,
    new_epoch,
    open_current,
    open_draft,
    state_folder,
    swap,
)
from tables.errors import StoreCorrupt


@pytest.fixture
def folder(tmp_path):
    return state_folder(tmp_path, "users", 3)


def test_folder_names_topic_and_partition(tmp_path):
    assert state_folder(tmp_path, "users", 3) == tmp_path / "state" / "users-3"


def test_nothing_is_in_force_before_the_first_swap(folder):
    assert open_current(folder) is None
    epoch = new_epoch(folder)
    assert open_current(folder) is None
    swap(folder, epoch)
    assert open_current(folder) == epoch
    assert (folder / "CURRENT").read_text() == "epoch-00000001\n"


def test_epochs_count_up_past_those_never_swapped_in(folder):
    first, second = new_epoch(folder), new_epoch(folder)
    swap(folder, first)
    third = new_epoch(folder)
    assert [first.name, second.name, third.name] == [
        "epoch-00000001",
        "epoch-00000002",
        "epoch-00000003",
    ]
    assert open_current(folder) == first


def test_swap_replaces(folder):
    first, second = new_epoch(folder), new_epoch(folder)
    swap(folder, first)
    swap(folder, second)
    assert open_current(folder) == second
    assert sorted(path.name for path in folder.iterdir()) == [
        "CURRENT",
        "epoch-00000001",
        "epoch-00000002",
    ]


def test_swap_after_a_crash_in_the_middle_of_one(folder):
    epoch = new_epoch(folder)
    (folder / "CURRENT.new").write_text("epo")
    assert open_current(folder) is None
    swap(folder, epoch)
    assert open_current(folder) == epoch


def test_drop_old_keeps_what_is_in_force(folder):
    first, second, third = (new_epoch(folder) for _ in range(3))
    (first / "rows").write_text("old")
    swap(folder, second)
    assert drop_old(folder) == [first.name, third.name]
    assert open_current(folder) == second
    assert not first.exists()
    assert drop_old(folder) == []


class Intruder:
    """Puts a file where all else has just been deleted, so many times."""

    def __init__(self, monkeypatch, times):
        self.times = times
        self._rmdir = os.rmdir
        monkeypatch.setattr(os, "rmdir", self)

    def __call__(self, path, **options):
        if self.times:
            self.times -= 1
            raise OSError(errno.ENOTEMPTY, "Directory not empty")
        self._rmdir(path, **options)


def test_a_reader_that_opens_an_epoch_while_it_is_dropped_is_no_fault(
    folder, monkeypatch
):
    first, second = new_epoch(folder), new_epoch(folder)
    (first / "000001.log").touch()
    swap(folder, second)
    intruder = Intruder(monkeypatch, 3)
    assert drop_old(folder) == [first.name]
    assert intruder.times == 0
    assert not first.exists()


def test_an_epoch_that_cannot_be_dropped_is_an_error(folder, monkeypatch):
    _first, second = new_epoch(folder), new_epoch(folder)
    swap(folder, second)
    Intruder(monkeypatch, REMOVE_ATTEMPTS_MAX)
    with pytest.raises(OSError, match="not empty"):
        drop_old(folder)


def test_drop_old_deletes_nothing_where_nothing_is_in_force(folder):
    assert drop_old(folder) == []
    epoch = new_epoch(folder)
    assert drop_old(folder) == []
    assert epoch.is_dir()


def test_drop_old_leaves_what_is_no_epoch(folder):
    swap(folder, new_epoch(folder))
    stranger = folder / "epoch-1.bak"
    stranger.mkdir()
    assert drop_old(folder) == []
    assert stranger.is_dir()


@pytest.mark.parametrize(
    "content", ["", "epoch-1", "../users-4", "epoch-00000001/..", "é"]
)
def test_current_that_names_no_epoch_is_corrupt(folder, content):
    swap(folder, new_epoch(folder))
    (folder / "CURRENT").write_text(content)
    with pytest.raises(StoreCorrupt):
        open_current(folder)
    with pytest.raises(StoreCorrupt):
        drop_old(folder)


def test_an_epoch_that_is_lost_is_made_again_under_another_name(folder):
    lost = new_epoch(folder)
    swap(folder, lost)
    lost.rmdir()
    assert open_current(folder) is None
    assert drop_old(folder) == []
    # Under the same name it would be in force before it is filled.
    drafts = [new_draft(folder), new_draft(folder)]
    assert lost not in drafts
    assert open_current(folder) is None
    assert open_draft(folder) == drafts[-1]
    swap(folder, drafts[-1])
    assert open_current(folder) == drafts[-1]


def test_swap_refuses_a_folder_of_another_partition(tmp_path, folder):
    new_epoch(folder)
    other = new_epoch(state_folder(tmp_path, "users", 4))
    for path in (other, folder / "elsewhere"):
        with pytest.raises(ValueError, match="no epoch"):
            swap(folder, path)


def test_swap_refuses_an_epoch_that_is_gone(folder):
    swap(folder, new_epoch(folder))
    with pytest.raises(FileNotFoundError):
        swap(folder, folder / "epoch-00000009")
    assert open_current(folder) is not None


def test_a_draft_is_found_again_until_it_is_swapped_in(folder):
    assert open_draft(folder) is None
    swap(folder, new_epoch(folder))
    draft = new_draft(folder)
    assert open_draft(folder) == draft
    assert open_current(folder) != draft
    swap(folder, draft)
    assert open_current(folder) == draft
    assert open_draft(folder) is None
    assert drop_old(folder) == ["epoch-00000001"]


def test_a_new_draft_takes_the_place_of_one_given_up(folder):
    given_up = new_draft(folder)
    draft = new_draft(folder)
    assert open_draft(folder) == draft
    assert not given_up.exists()


def test_a_crash_between_swap_and_the_end_of_the_draft(folder):
    draft = new_draft(folder)
    swap(folder, draft)
    (folder / "DRAFT").write_text(f"{draft.name}\n")
    assert open_draft(folder) is None
    assert new_draft(folder) != draft
    assert open_current(folder) == draft


@pytest.mark.parametrize("content", ["", "epoch-1", "epoch-00000007", "../users-4"])
def test_a_draft_that_is_not_there_is_none(folder, content):
    new_epoch(folder)
    (folder / "DRAFT").write_text(content)
    assert open_draft(folder) is None


def test_what_is_restored_is_a_draft_in_place_of_all_epochs(folder):
    swap(folder, new_epoch(folder))
    draft = new_draft(folder)
    restored = folder / "restoring"
    restored.mkdir()
    (restored / "file").write_text("rows")
    adopted = adopt(folder, restored)
    assert adopted.name == "epoch-00000003"
    assert (adopted / "file").read_text() == "rows"
    assert open_draft(folder) == adopted
    assert open_current(folder) is None
    assert not draft.exists()
    assert is_restored(folder, adopted)
    names = {path.name for path in folder.iterdir()}
    assert names == {"DRAFT", "RESTORED", adopted.name}
    swap(folder, adopted)
    assert open_current(folder) == adopted
    assert {path.name for path in folder.iterdir()} == {"CURRENT", adopted.name}
    assert not is_restored(folder, new_draft(folder))
