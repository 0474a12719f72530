"""What a user, an entry, a seen id and an action weigh: bytes, for docs/sizing.md.

One partition is folded in this process over a real RocksDB: everybody acts once, then
more actions follow, drawn as everywhere in the bench. Then every kind of row is copied
into a database of its own, flushed and compacted: what that folder weighs, by its rows,
is what a row costs on disk, compression, indexes and filters included.

    python -m bench.sizes --users 50000 --actions 200000
"""

import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from bench import workload
from bench.report import RESULTS, table, write_json
from bench.rules import config_of
from rules.config import OrgSettings, row_to_json
from rules.message import ConfigChange, Genesis, Message, Source
from streams.log import Record
from streams.messages import encode_envelope
from streams.publish import publications
from streams.stepper import Stepper
from streams.topics import LEDGER, USERS
from tables import codec, keys
from tables.clock import wall_clock_ms
from tables.rocks_options import SharedResources
from tables.rocksdb import RocksStore
from tables.users import UserTable

LOG_ID: Final = "0123456789abcdef" * 2
STATE: Final = 0x10
ENTRIES: Final = 0x11
ROWS_PER_BATCH: Final = 10_000


class Kind(msgspec.Struct, frozen=True):
    """Rows of one kind.

    Attributes:
      rows: How many.
      bytes_per_row: Key and value as they are.
      disk_bytes_per_row: In a compacted database that holds nothing else.
    """

    rows: int
    bytes_per_row: float
    disk_bytes_per_row: float


class Weights(msgspec.Struct, frozen=True):
    """What was folded, and what it weighs.

    Attributes:
      users, actions, entries: Folded; everybody's first action included.
      seconds: It took.
      kinds: Of rows, by name.
      entry_bytes: One of a row of ledger entries, its share of the key included.
      log_bytes_per_action: In envelopes of 100.
      ledger_bytes_per_action: In the topic `ledger`.
      state_bytes_max: The largest user's state.
      cached_bytes_per_user: In memory, of a user that a worker keeps decoded.
      database_bytes: All rows in one database, as the folder stood, flushed.
    """

    users: int
    actions: int
    entries: int
    seconds: float
    kinds: dict[str, Kind]
    entry_bytes: float
    log_bytes_per_action: float
    ledger_bytes_per_action: float
    state_bytes_max: int
    cached_bytes_per_user: float
    database_bytes: int


def measure(folder: Path, users: int, actions: int) -> Weights:
    """Fold and weigh, in an empty folder."""
    began = time.monotonic()
    store = RocksStore(folder / "all", SharedResources())
    log_bytes, ledger_bytes = _fold(store, users, actions)
    store._database.flush()
    database_bytes = _weight(folder / "all")
    kinds = {}
    for kind, name in keys.KINDS.items():
        found = _kind(store, kind, folder / f"{kind:02x}")
        if found is not None:
            kinds[name] = found
    entries = sum(len(codec.entries.decode(row)) for _, row in _rows(store, ENTRIES))
    state_bytes_max = max(len(value) for _, value in _rows(store, STATE))
    cached_bytes = _cached_bytes(store, users)
    store.close()
    total = users + actions
    entry_rows = kinds[keys.KINDS[ENTRIES]]
    return Weights(
        users=users,
        actions=total,
        entries=entries,
        seconds=round(time.monotonic() - began, 1),
        kinds=kinds,
        entry_bytes=entry_rows.rows * entry_rows.bytes_per_row / entries,
        log_bytes_per_action=log_bytes / total,
        ledger_bytes_per_action=ledger_bytes / total,
        state_bytes_max=state_bytes_max,
        cached_bytes_per_user=cached_bytes / users,
        database_bytes=database_bytes,
    )


def _config() -> Iterator[Message]:
    """Yield what a partition's log begins with: genesis, and the bench's org."""
    tzdata = version("tzdata")
    yield Genesis(LOG_ID, 1, 1, tzdata)
    config = config_of(workload.campaigns(workload.CAMPAIGNS))
    rows: list[Any] = [("settings", "settings", row_to_json(OrgSettings()))]
    rows += [
        ("campaign", name, row_to_json(campaign))
        for name, campaign in config.campaigns.items()
    ]
    yield ConfigChange(workload.ORG, 1, rows, Source("orgs", 0, 1, 0))


def _fold(store: RocksStore, users: int, actions: int) -> tuple[int, int]:
    """Fold the workload; return the bytes of its records in `users` and `ledger`."""
    values = [encode_envelope([message]) for message in _config()]
    first = len(values)
    for acts in (
        workload.first_visits(users, first=actions),
        workload.actions(actions, users),
    ):
        values += [one.value for one in workload.envelopes(acts, 1)]
    stepper = Stepper(store, USERS, 0, version("tzdata"), wall_clock_ms)
    now_ms = wall_clock_ms()
    records = [
        Record(offset, now_ms, None, value) for offset, value in enumerate(values)
    ]
    ledger_bytes = 0
    while stepper.next_offset < len(records):
        # As many as a worker's step holds at most.
        begin = stepper.next_offset
        step = stepper.step(records[begin : begin + 10])
        for _point, appends in publications(step):
            ledger_bytes += sum(
                len(one.value) for one in appends if one.topic == LEDGER
            )
        stepper.store(step)
    return sum(map(len, values[first:])), ledger_bytes


def _cached_bytes(store: RocksStore, users: int) -> int:
    """Return what all users weigh in memory, decoded."""
    tracemalloc.start()
    table = UserTable(store, users)
    for number in range(users):
        table.get(workload.ORG, workload.user_id(number))
    found, _peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return found


def _rows(store: RocksStore, kind: int) -> Iterator[tuple[bytes, bytes]]:
    prefix = bytes([kind])
    return store.scan(prefix, keys.prefix_end(prefix))


def _kind(store: RocksStore, kind: int, path: Path) -> Kind | None:
    """Copy all rows of a kind into a database of their own, and weigh it."""
    alone = RocksStore(path, SharedResources())
    rows = weight = 0
    batch = alone.batch()
    for rows, (key, value) in enumerate(_rows(store, kind), 1):
        batch.put(key, value)
        weight += len(key) + len(value)
        if rows % ROWS_PER_BATCH == 0:
            alone.write(batch)
            batch = alone.batch()
    alone.write(batch)
    alone._database.flush()
    alone._database.compact_range(None, None)
    disk = _weight(path)
    alone.close()
    return Kind(rows, weight / rows, disk / rows) if rows else None


def _weight(path: Path) -> int:
    """Return the bytes of a database's tables; logs and manifests are left out."""
    return sum(file.stat().st_size for file in path.glob("*.sst"))


@click.command()
@click.option("--users", default=50_000, show_default=True)
@click.option("--actions", default=200_000, show_default=True, help="After the first.")
def main(users: int, actions: int) -> None:
    """Weigh what a partition keeps, and write bench/results/sizes.json."""
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), users, actions)
    write_json(RESULTS / "sizes.json", found)
    rows = [("rows", "number", "bytes", "bytes on disk")]
    rows += [
        (
            name,
            f"{one.rows:,}",
            f"{one.bytes_per_row:.0f}",
            f"{one.disk_bytes_per_row:.0f}",
        )
        for name, one in found.kinds.items()
    ]
    click.echo(table(rows))
    for field in msgspec.structs.fields(Weights):
        if field.name != "kinds":
            click.echo(f"{field.name}: {getattr(found, field.name):,.1f}")


if __name__ == "__main__":
    main()
