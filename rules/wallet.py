"""Wallets: credits, debits, lots that expire, and the tier that credits reach.

For every user and currency: balance = sum of credits - sum of debits = the last entry's
`balance_after`, and balance >= 0. Units that expire soonest are spent first, those
without expiry last, the older first among equals (semantics.md section 11).
"""

from rules.ledger import BALANCE_MAX
from rules.state import Lot, User, UserState


def balance_of(state: UserState, currency: str) -> int:
    """Return a wallet's balance, whole units >= 0."""
    if currency == "points":
        return state.points
    return state.xp if currency == "xp" else state.coins


def _subtract(state: UserState, currency: str, amount: int) -> int:
    if currency == "points":
        state.points -= amount
        return state.points
    if currency == "xp":
        state.xp -= amount
        return state.xp
    state.coins -= amount
    return state.coins


def credit(
    user: User, currency: str, amount: int, expires_at_ms: int | None, sequence: int
) -> int | None:
    """Add units to a wallet and return its balance; None where it would pass the bound.

    Args:
      user: The user, mutated; untouched where None is returned.
      currency: ``points``, ``xp`` or ``coins``.
      amount: Whole units > 0.
      expires_at_ms: When the units expire, or None.
      sequence: The entry's sequence; names the lot.
    """
    state = user.state
    balance = balance_of(state, currency) + amount
    if balance > BALANCE_MAX:
        return None
    if currency == "points":
        state.points = balance
        state.lifetime_points += amount
    elif currency == "xp":
        state.xp = balance
        state.lifetime_xp += amount
    else:
        state.coins = balance
        state.lifetime_coins += amount
    if expires_at_ms is not None:
        user.rows.put_lot(Lot(currency, expires_at_ms, sequence, amount))
        if state.next_expiry_ms is None or expires_at_ms < state.next_expiry_ms:
            state.next_expiry_ms = expires_at_ms
    return balance


def debit(user: User, currency: str, amount: int) -> int:
    """Take units out of a wallet, soonest expiring first; return its balance.

    Args:
      user: The user, mutated.
      currency: The wallet.
      amount: Whole units, 0 < amount <= balance.
    """
    if user.state.next_expiry_ms is not None:
        left = amount
        for lot in list(user.rows.lots(currency)):
            taken = min(left, lot.remaining)
            user.rows.put_lot(
                Lot(currency, lot.expires_at_ms, lot.sequence, lot.remaining - taken)
            )
            left -= taken
            if left == 0:
                break
    return _subtract(user.state, currency, amount)


def due_lots(user: User, clock_ms: int) -> list[Lot]:
    """Return the lots of all wallets that are due, in (time, sequence) order."""
    state = user.state
    if state.next_expiry_ms is None or state.next_expiry_ms > clock_ms:
        return []
    due: list[Lot] = []
    for currency in ("points", "xp", "coins"):
        for lot in user.rows.lots(currency):
            if lot.expires_at_ms > clock_ms:
                break
            due.append(lot)
    due.sort(key=lambda lot: (lot.expires_at_ms, lot.sequence))
    return due


def expire(user: User, lot: Lot) -> int:
    """Remove a due lot and what remains of it; return the wallet's balance."""
    user.rows.put_lot(Lot(lot.currency, lot.expires_at_ms, lot.sequence, 0))
    return _subtract(user.state, lot.currency, lot.remaining)


def renew_next_expiry(user: User) -> None:
    """Set `next_expiry_ms` to the earliest lot that is left, or None."""
    firsts = [
        lots[0].expires_at_ms
        for currency in ("points", "xp", "coins")
        if (lots := user.rows.lots(currency))
    ]
    user.state.next_expiry_ms = min(firsts) if firsts else None
