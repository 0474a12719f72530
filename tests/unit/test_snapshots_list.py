"""How `plaudit snapshots list` shows what a manifest holds."""

import pytest

from plaudit.commands.snapshots import text_of
from plaudit.snapshotting import Listed


@pytest.mark.parametrize(
    ("created_ms", "shown"),
    [
        (1_700_000_000_123, "2023-11-14 22:13:20Z"),
        (10**17, "100000000000000000 ms"),
        (2**64 - 1, "18446744073709551615 ms"),
        (-(10**17), "-100000000000000000 ms"),
    ],
)
def test_a_time_that_no_calendar_has_is_shown_as_it_stands(created_ms, shown):
    one = Listed(
        topic="users",
        partition=0,
        name="x",
        good=True,
        offset=7,
        messages=8,
        created_ms=created_ms,
        size=9,
    )
    assert shown in text_of([one])
