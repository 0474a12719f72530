"""What a ledger topic holds, compared with what its actions earn."""

from collections.abc import Iterable, Sequence

import msgspec

from bench.idiomatic.rounds import Line, lines_of
from rules.message import Action


class Verdict(msgspec.Struct, frozen=True):
    """How a ledger differs from what its actions earn.

    Attributes:
      expected: Entries that the actions earn.
      lost: Of these, how many are missing.
      doubled: Entries that are there again: a second one counts one, a third two.
      unexpected: Entries that no action earns, or with another amount.
      wrong_balances: Users' currencies whose last entry says another balance than all
        that the user earns adds up to.
    """

    expected: int
    lost: int
    doubled: int
    unexpected: int
    wrong_balances: int


def judge(actions: Iterable[Action], found: Sequence[Line]) -> Verdict:
    """Compare a ledger with what actions earn, as the ordinary app decides.

    Args:
      actions: All that were sent, each once.
      found: The ledger, in the order of each user.
    """
    expected: dict[tuple[str, str], tuple[str, str, int]] = {}
    sums: dict[tuple[str, str], int] = {}
    for line in lines_of(actions):
        earned = (line.user, line.currency, line.amount)
        expected[line.event_id, line.campaign] = earned
        purse = (line.user, line.currency)
        sums[purse] = sums.get(purse, 0) + line.amount
    seen: set[tuple[str, str]] = set()
    balances: dict[tuple[str, str], int | None] = {}
    doubled = unexpected = 0
    for line in found:
        key = (line.event_id, line.campaign)
        if expected.get(key) != (line.user, line.currency, line.amount):
            unexpected += 1
        elif key in seen:
            doubled += 1
        else:
            seen.add(key)
        balances[line.user, line.currency] = line.balance
    return Verdict(
        expected=len(expected),
        lost=sum(1 for key in expected if key not in seen),
        doubled=doubled,
        unexpected=unexpected,
        wrong_balances=sum(
            1 for purse, total in sums.items() if balances.get(purse) != total
        ),
    )
