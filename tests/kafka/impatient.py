"""The command line with a shorter bound on commits.

python -m tests.kafka.impatient worker --data-dir DATA_DIR
"""

from plaudit.cli import main
from streams.transports import kafka

COMMIT_TIMEOUT_S = 3.0

if __name__ == "__main__":
    kafka.COMMIT_TIMEOUT_S = COMMIT_TIMEOUT_S
    main()
