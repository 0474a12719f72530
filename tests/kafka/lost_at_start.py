"""The command line as it meets brokers that go away once its log is open.

python -m tests.kafka.lost_at_start worker --data-dir DATA_DIR
"""

import msgspec

from plaudit.cli import main
from streams.transports import kafka

_options = kafka.faust_options

if __name__ == "__main__":
    kafka.faust_options = lambda config: _options(
        msgspec.structs.replace(config, brokers="127.0.0.1:1")
    )
    main()
