"""The command line with a shorter session: a worker that is killed is missed sooner.

python -m tests.torture.impatient worker --data-dir DATA_DIR
"""

from plaudit.cli import main
from streams.transports import kafka

SESSION_TIMEOUT_S = 3.0
BROKER_SETTINGS = {"group.min.session.timeout.ms": "1000"}

if __name__ == "__main__":
    kafka.SESSION_TIMEOUT_S = SESSION_TIMEOUT_S
    kafka.HEARTBEAT_S = 0.5
    main()
