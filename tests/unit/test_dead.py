"""Dead letters as they are listed: real letters of a real fold, over a real log."""

import time

import msgspec
import pytest

from plaudit import dead
from plaudit.commands.dead import _text
from plaudit.dead import dead_letters
from rules.message import Action
from streams.log import Append
from streams.messages import encode_envelope
from streams.publish import publications
from streams.sqlite_log import SqliteLog
from streams.stepper import Stepper
from streams.topics import DEAD, DEAD_LETTERS, USERS
from tables.memory import MemoryStore

TZDATA = "2025.2"


@pytest.fixture
def log(tmp_path):
    SqliteLog.create(tmp_path, "ab" * 16, 1, tzdata_version=TZDATA)
    log = SqliteLog(tmp_path)
    yield log
    log.close()


def action(user, event_id=None, at_ms=None, **data):
    return Action("nobody", user, event_id, "buy", at_ms, data, {})


def fold(log, *records):
    """Store (key, value) records and fold everything; return what was published."""
    log.append_many([Append(USERS, 0, *record) for record in records])
    stepper = Stepper(
        MemoryStore(), USERS, 0, TZDATA, lambda: time.time_ns() // 1_000_000
    )
    published = []
    while found := log.read(USERS, 0, stepper.next_offset):
        step = stepper.step(found)
        for _point, appends in publications(step):
            published += appends
        stepper.store(step)
    log.append_many(published)
    return published


def test_no_letters(log):
    assert dead_letters(log, 10) == []


def test_letters_have_their_position_reason_and_message(log):
    good = action("al", "e1", 1_700_000_000_123, amount=1)
    envelope = encode_envelope([action("bo"), good])
    single = b'{"userId":"cy","action":"buy","data":{"amount":1.10},"colour":1}'
    fold(log, (None, envelope), (b"acme/cy", single), (None, b"\xff{"))
    first, second, third, fourth = dead_letters(log, 10)
    assert (first.position, second.position) == ("users/0@1", "users/0@1#1")
    assert second.code == "UNKNOWN_ORG"
    assert (second.org, second.user_id, second.event_id) == ("nobody", "al", "e1")
    assert second.original.startswith('["action","nobody","al","e1","buy"')
    assert msgspec.json.decode(second.action) == {
        "userId": "al",
        "action": "buy",
        "eventId": "e1",
        "timestamp": "2023-11-14T22:13:20.123Z",
        "data": {"amount": 1},
        "metadata": {},
    }
    assert "eventId" not in msgspec.json.decode(first.action)
    assert (third.position, third.key) == ("users/0@2", "acme/cy")
    assert (third.original, third.action) == (single.decode(), None)
    assert (fourth.code, fourth.original) == ("UNDECODABLE_RECORD", "\\xff{")


def test_the_newest_are_listed_and_each_once(log):
    messages = [action(f"u{i}") for i in range(30)]
    published = fold(log, (None, encode_envelope(messages)))
    # A worker that ended between two writes publishes a step again.
    log.append_many([one for one in published if one.topic == DEAD][-3:])
    assert log.end_offset(DEAD, DEAD_LETTERS) == 34
    users = [letter.user_id for letter in dead_letters(log, 100)]
    assert users == [f"u{i}" for i in range(30)]
    assert len(dead_letters(log, 5)) <= 5
    assert dead_letters(log, 5)[-1].user_id == "u29"


def test_what_is_shown_of_messages_is_bounded(log, monkeypatch):
    fold(log, (None, encode_envelope([action(f"u{i}", x="y" * 50) for i in range(9)])))
    sizes = [len(letter.original) for letter in dead_letters(log, 9)]
    monkeypatch.setattr(dead, "MESSAGE_BYTES_MAX", sum(sizes[-2:]))
    letters = dead_letters(log, 9)
    shown = [letter.original is not None for letter in letters]
    assert shown == [False] * 7 + [True] * 2
    assert [letter.action is not None for letter in letters] == shown


def test_a_message_that_is_gone_leaves_its_letter(log):
    (letter,) = [
        append
        for append in fold(log, (None, encode_envelope([action("al")])))
        if append.topic == DEAD
    ]
    value = letter.value.replace(b'"offset":1', b'"offset":9')
    log.append_many(
        [letter._replace(value=value.replace(b'"number":1', b'"number":9'))]
    )
    last = dead_letters(log, 1)[0]
    assert (last.position, last.original, last.action) == ("users/0@9", None, None)


def test_a_time_beyond_the_calendar_is_no_body(log):
    fold(log, (None, encode_envelope([action("al", "e", 1 << 62)])))
    (letter,) = dead_letters(log, 1)
    assert letter.action is None
    assert str(1 << 62) in letter.original


def test_what_producers_wrote_cannot_steer_a_terminal(log):
    fold(log, (b"acme/\x1b[2J", '{"userId":"\x1b\u202e\n'.encode()))
    (letter,) = dead_letters(log, 1)
    text = _text(letter)
    assert "\\x1b" in text
    assert all(line.isprintable() for line in text.splitlines())
    assert len(text.splitlines()) == 3
