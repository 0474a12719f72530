"""A user's rows in dicts: the `UserRows` of rules/state.py for tests of the fold."""

from rules.state import CapKey, Lot


class MemoryRows:
    """Rows of one user; what it forgets, a store may forget."""

    def __init__(self):
        self.seen = {}
        self.caps = {}
        self.wallet_lots = {}

    def seen_until(self, event_id: str) -> int | None:
        return self.seen.get(event_id)

    def mark_seen(self, event_id: str, until_ms: int) -> None:
        self.seen[event_id] = until_ms

    def cap(self, key: CapKey) -> int:
        return self.caps.get(key, 0)

    def set_cap(self, key: CapKey, value: int) -> None:
        self.caps[key] = value

    def drop_caps_before(self, day: int) -> None:
        for key in [key for key in self.caps if key.day < day]:
            del self.caps[key]

    def lots(self, currency: str) -> list[Lot]:
        mine = [lot for lot in self.wallet_lots.values() if lot.currency == currency]
        return sorted(mine, key=lambda lot: (lot.expires_at_ms, lot.sequence))

    def put_lot(self, lot: Lot) -> None:
        key = (lot.currency, lot.expires_at_ms, lot.sequence)
        if lot.remaining == 0:
            self.wallet_lots.pop(key, None)
        else:
            self.wallet_lots[key] = lot

    def copy(self) -> "MemoryRows":
        other = MemoryRows()
        other.seen = dict(self.seen)
        other.caps = dict(self.caps)
        other.wallet_lots = dict(self.wallet_lots)
        return other
