"""A process that appends to a log and prints what is acknowledged.

python log_process.py DATA_DIR TAG COUNT: lines ``offset value`` as they become durable.
"""

import sys
from pathlib import Path

from streams.log import Append
from streams.sqlite_log import SqliteLog
from streams.topics import USERS


def main() -> None:
    folder, tag, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    log = SqliteLog(folder)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for number in range(count):
        values = [b"%b-%d-%d" % (tag.encode(), number, place) for place in range(3)]
        offsets = log.append_many([Append(USERS, 0, None, value) for value in values])
        for offset, value in zip(offsets, values, strict=True):
            sys.stdout.write(f"{offset} {value.decode()}\n")
        sys.stdout.flush()
    log.close()


main()
