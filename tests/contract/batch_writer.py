"""A process to be killed: writes numbered batches until it dies.

Batch n sets ROWS rows of its own and the row ``last``; its number is printed once
`write` has returned.

    python -m tests.contract.batch_writer FOLDER
"""

import sys
from itertools import count
from pathlib import Path

from tables.rocksdb import RocksStore

ROWS = 20
LAST = b"last"


def row_key(number, place):
    return b"row%08d-%02d" % (number, place)


def main():
    store = RocksStore(Path(sys.argv[1]))
    for number in count(1):
        batch = store.batch()
        for place in range(ROWS):
            batch.put(row_key(number, place), b"%d" % number * 50)
            batch.delete(row_key(number - 1, place))
        batch.put(LAST, b"%d" % number)
        store.write(batch)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
