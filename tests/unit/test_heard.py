"""How old the brokers' word on a partition may be."""

from types import SimpleNamespace

from faust.types import TP

from streams.transports.heard import Heard

PLACE = TP("users", 0)


def begun(at_ms=1_000):
    clock = SimpleNamespace(ms=at_ms)
    return Heard({PLACE}, lambda: clock.ms), clock


def test_an_answer_holds_since_the_one_before_it():
    heard, clock = begun()
    for at_ms in (1_200, 1_400, 1_600):
        clock.ms = at_ms
        heard.answer(PLACE, at_ms)
    assert heard.silence_ms(PLACE) == 200


def test_the_first_answer_was_asked_for_after_the_assignment():
    heard, clock = begun()
    clock.ms = 1_300
    heard.answer(PLACE, 1_300)
    assert heard.silence_ms(PLACE) == 300


def test_an_answer_that_waited_while_the_process_was_paused_is_old():
    heard, clock = begun()
    heard.answer(PLACE, 1_000)
    clock.ms = 41_000
    heard.answer(PLACE, 41_000)
    assert heard.silence_ms(PLACE) == 40_000
    clock.ms = 41_200
    heard.answer(PLACE, 41_200)
    assert heard.silence_ms(PLACE) == 200


def test_the_same_answer_told_again_grows_older():
    heard, clock = begun()
    heard.answer(PLACE, 1_000)
    clock.ms = 1_200
    heard.answer(PLACE, 1_200)
    for at_ms in (2_000, 9_000):
        clock.ms = at_ms
        heard.answer(PLACE, 1_200)
        assert heard.silence_ms(PLACE) == at_ms - 1_000


def test_of_a_partition_that_is_not_assigned_nothing_is_waited_for():
    heard, clock = begun()
    clock.ms = 9_000
    assert heard.silence_ms(TP("users", 1)) == 0
