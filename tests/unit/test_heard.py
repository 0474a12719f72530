"""How long ago rows were all that the log held."""

from types import SimpleNamespace

import pytest
from faust.types import TP

from streams.transports.heard import NOTES_MAX, Heard

PLACE = TP("users", 0)
OTHER = TP("users", 1)


class Listener:
    """A consumer's thread: it looks every 100 ms at what was answered last."""

    def __init__(self):
        self.clock = SimpleNamespace(ms=0)
        self.heard = Heard(lambda: self.clock.ms)
        self.answers = {}

    def look(self, at_ms, stamp=None, end=0):
        self.clock.ms = at_ms
        if stamp is not None:
            self.answers[PLACE] = stamp, end
        self.heard.look(self.answers)

    def age_ms(self, next_offset, at_ms=None):
        self.clock.ms = self.clock.ms if at_ms is None else at_ms
        return self.heard.age_ms(PLACE, next_offset)


@pytest.fixture
def one():
    """One that has heard three times that the partition ends at 7."""
    made = Listener()
    for number in range(4):
        made.look(100 * number, stamp=number, end=7)
    return made


def test_an_answer_holds_since_before_the_one_before_it_was_seen(one):
    # The third was asked for after the second came: after the look at 0 ms... and the
    # fourth after the look at 100 ms.
    assert one.age_ms(7) == 200


def test_rows_that_lack_records_grow_old_and_young_again(one):
    one.age_ms(7)
    one.look(400, stamp=4, end=9)
    one.look(500, stamp=5, end=9)
    assert one.age_ms(7, at_ms=60_000) == 59_900
    assert one.age_ms(8) == 59_900
    assert one.age_ms(9) == 60_000 - 300


def test_rows_that_are_behind_are_as_old_as_where_they_are():
    one = Listener()
    for number in range(10):
        one.look(100 * number, stamp=number, end=number)
    # 6 was the end by the answer that was seen at 600, asked for after 400.
    assert one.age_ms(6) == 900 - 400
    assert one.age_ms(9) == 900 - 700


def test_what_was_not_current_since_the_assignment_is_of_unknown_age(one):
    assert one.age_ms(6) is None
    assert one.heard.age_ms(OTHER, 100) is None
    assert Listener().age_ms(100) is None


def test_an_answer_that_waited_while_the_process_was_paused_is_old(one):
    # Asked for before the pause, read 40 s later.
    one.look(40_300, stamp=40_300, end=7)
    assert one.age_ms(7) == 40_300 - 200
    # The next one was asked for when that was read.
    one.look(40_400, stamp=40_400, end=7)
    assert one.age_ms(7) == 40_400 - 300
    one.look(40_500, stamp=40_500, end=7)
    assert one.age_ms(7) == 200


def test_the_same_answer_seen_again_grows_older(one):
    for at_ms in (400, 2_000, 9_000):
        one.look(at_ms)
        assert one.age_ms(7) == at_ms - 100


def test_notes_are_bounded_and_then_rows_count_as_older(one):
    for number in range(2 * NOTES_MAX):
        one.heard.note(OTHER, number, number)
    one.clock.ms = 2 * NOTES_MAX
    assert one.heard.age_ms(OTHER, 2 * NOTES_MAX) == NOTES_MAX + 1
    one.heard.note(OTHER, 2 * NOTES_MAX, 2 * NOTES_MAX)
    assert one.heard.age_ms(OTHER, 2 * NOTES_MAX) == 0
