"""A process that dies by `kill -9` in the middle of an upload.

python -m tests.contract.killed_upload URL ENDPOINT LOG_ID CHECKPOINT SHARE
"""

import os
import signal
import sys
from pathlib import Path

from tables import codec, keys
from tables.clock import wall_clock_ms
from tables.objects import Objects
from tables.rocksdb import RocksStore
from tables.snapshots import Snapshots

PLACE = ("users", 1)


def main():
    url, endpoint, log_id, checkpoint, share = sys.argv[1:]
    folder = Path(checkpoint)
    row = read_row(folder)
    snapshots = Snapshots(Objects(url, endpoint), log_id, wall_clock_ms)

    def die(_done, done_share):
        if done_share >= float(share):
            os.kill(os.getpid(), signal.SIGKILL)

    snapshots.upload(PLACE, row, folder, die)


def read_row(folder):
    """Return the partition row of a checkpoint, from a checkpoint of it."""
    copy = folder.with_name(f"{folder.name}-read")
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    store = RocksStore(copy)
    try:
        return codec.partition_rows.decode(store.get(keys.PARTITION))
    finally:
        store.close()


if __name__ == "__main__":
    main()
