"""Ledger entries and their ids.

An entry is one immutable line of a user's ledger. Its id is a hash of where it comes
from, so folding the log again yields the same id and not a second grant (semantics.md
section 3).
"""

import hashlib
from typing import Any

import msgspec

CURRENCIES = ("points", "xp", "coins")
BALANCE_MAX = 9_007_199_254_740_991


class Entry(msgspec.Struct, array_like=True, gc=False):
    """One line of a user's ledger.

    Attributes:
      entry_id: 32 hex digits; shown as ``txn_<id>``.
      number: Number of the message in its partition; with `ordinal` the entry's place.
      ordinal: Place among the entries of that message, from 0.
      org: Org id.
      user: User id.
      sequence: The user's entries so far, this one included, from 1.
      kind: ``credit``, ``debit``, ``badge`` or ``benefit``.
      currency: ``points``, ``xp`` or ``coins``; None for badges and benefits.
      amount: Whole units, > 0 for credits and debits, 0 otherwise.
      balance_after: The wallet after this entry; 0 for badges and benefits.
      item: Badge id or benefit id.
      reason: Operator's words, ``expired`` ...
      source: ``campaign``, ``expiry``, ``tier`` ... as the API shows it.
      campaign_id: Campaign that gave it.
      rule_id: Rule of an advanced campaign.
      campaign_version: That campaign's version when it was evaluated.
      event_id: The action's id, or None.
      expires_at_ms: When the credited units or the benefit expire.
      occurred_at_ms: When the action happened.
      created_at_ms: The partition's clock when it was folded.
    """

    entry_id: str
    number: int
    ordinal: int
    org: str
    user: str
    sequence: int
    kind: str
    currency: str | None
    amount: int
    balance_after: int
    item: str | None
    reason: str | None
    source: str
    campaign_id: str | None
    rule_id: str | None
    campaign_version: int | None
    event_id: str | None
    expires_at_ms: int | None
    occurred_at_ms: int
    created_at_ms: int


class IdSpace:
    """Ids of one partition of one log: (log id, topic, partition) -> stable hashes."""

    def __init__(self, log_id: str, topic: str, partition: int) -> None:
        """Prepare the hash of the constant part.

        Args:
          log_id: 32 hex digits of the genesis record.
          topic: Source topic.
          partition: Source partition.
        """
        self._base: Any = hashlib.blake2b(
            f"{log_id}/{topic}/{partition}/".encode(), digest_size=16
        )

    def new_id(self, number: int, ordinal: int) -> str:
        """Return the id (32 hex digits) of the ordinal-th thing of a message."""
        digest = self._base.copy()
        digest.update(b"%d/%d" % (number, ordinal))
        return str(digest.hexdigest())
