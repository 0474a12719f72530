"""What an action may be: every bound at its edge."""

from decimal import Decimal

import msgspec
import pytest

from rules.action import (
    DERIVED_TYPES,
    ActionBody,
    check_action,
    field_rejection,
    to_action,
)
from rules.errors import Rejection
from rules.message import Action


def action(**changes):
    fields = {
        "org": "acme",
        "user": "alice",
        "event_id": "ord-1",
        "type": "purchase",
        "occurred_at_ms": None,
        "data": {"amount": Decimal("9.99")},
        "metadata": {},
    }
    return Action(**(fields | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"user": "u" * 128},
        {"user": "é" * 64},
        {"user": "a/b c\u2028"},
        {"event_id": None},
        {"event_id": "e" * 255},
        {"event_id": "a,b"},
        {"type": "t" * 128},
        {"type": "чек"},
        {"org": "A-z_9" * 12},
        {"batch": "b" * 64, "keep_id": True},
        {"data": {"text": "x" * (32 * 1024 - len('{"text":""}'))}},
        {"data": {}, "metadata": {"n": 10**29, "deep": [[[{"a": None}]]]}},
    ],
)
def test_within_bounds(changes):
    assert check_action(action(**changes)) is None


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"user": ""}, "userId"),
        ({"user": "u" * 129}, "userId"),
        ({"user": "é" * 65}, "userId"),
        ({"user": "a,b"}, "userId"),
        ({"user": "a\x00b"}, "userId"),
        ({"user": "a\x85b"}, "userId"),
        ({"user": "a\ud800"}, "userId"),
        ({"event_id": ""}, "eventId"),
        ({"event_id": "e" * 256}, "eventId"),
        ({"event_id": "é" * 128}, "eventId"),
        ({"event_id": "a\nb"}, "eventId"),
        ({"type": ""}, "action"),
        ({"type": "t" * 129}, "action"),
        ({"type": "a,b"}, "action"),
        ({"type": "a\x7fb"}, "action"),
        ({"org": ""}, None),
        ({"org": "a" * 65}, None),
        ({"org": "a/b"}, None),
        ({"org": "acme\n"}, None),
        ({"batch": ""}, "batchId"),
        ({"batch": "b" * 65}, "batchId"),
        ({"data": {"text": "x" * (32 * 1024 - len('{"text":""}') + 1)}}, "data"),
        ({"data": {"text": "é" * 16_400}}, "data"),
        ({"metadata": {"m": ["x" * 1_000] * 40}}, "metadata"),
        ({"data": {"n": 10**31}}, "data.n"),
        ({"data": {"a": [Decimal("1e-40")]}}, "data.a[0]"),
    ],
)
def test_beyond_bounds(changes, field):
    problem = check_action(action(**changes))
    assert isinstance(problem, Rejection)
    assert (problem.code, problem.field) == ("VALIDATION_ERROR", field)


def nested(depth):
    value = 1
    for _ in range(depth - 1):
        value = [value]
    return {"deep": value}


def test_depth_sixteen_is_the_last():
    assert check_action(action(data=nested(16))) is None
    assert check_action(action(data=nested(17))).code == "VALIDATION_ERROR"
    assert check_action(action(metadata=nested(17))).code == "VALIDATION_ERROR"


@pytest.mark.parametrize("name", sorted(DERIVED_TYPES))
def test_derived_types_are_refused(name):
    assert check_action(action(type=name)).field == "action"


def test_a_body_becomes_an_action():
    body = ActionBody(
        user_id="alice",
        action="purchase",
        event_id="ord-1",
        timestamp="2025-10-06T16:45:00.250Z",
        data={"amount": Decimal("9.990")},
    )
    made = to_action(body, "acme", keep_id=True, batch="b1")
    assert made == Action(
        "acme",
        "alice",
        "ord-1",
        "purchase",
        1_759_769_100_250,
        {"amount": Decimal("9.990")},
        {},
        True,
        "b1",
    )
    assert str(made.data["amount"]) == "9.990"


def test_a_date_is_midnight_utc():
    made = to_action(ActionBody(user_id="a", action="b", timestamp="2025-10-06"), "o")
    assert made.occurred_at_ms == 1_759_708_800_000


@pytest.mark.parametrize("timestamp", ["", "yesterday", "2025-13-01", "1759769100"])
def test_a_bad_timestamp_is_refused(timestamp):
    body = ActionBody(user_id="a", action="b", timestamp=timestamp)
    assert to_action(body, "acme").field == "timestamp"


def test_a_bad_body_is_refused_by_the_same_bounds():
    body = ActionBody(user_id="a,b", action="purchase")
    assert to_action(body, "acme").field == "userId"


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"{}", "userId"),
        (b'{"userId":1,"action":"a"}', "userId"),
        (b'{"userId":"a"}', "action"),
        (b'{"userId":"a","action":"b","extra":1}', "extra"),
        (b'{"userId":"a","action":"b","data":[]}', "data"),
        (b'{"userId":"a","action":"b","timestamp":5}', "timestamp"),
        (b"[]", None),
    ],
)
def test_field_rejection_names_the_field(raw, field):
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.json.decode(raw, type=ActionBody)
    problem = field_rejection(caught.value)
    assert (problem.code, problem.field) == ("VALIDATION_ERROR", field)
    assert problem.message
