"""`python -m exporters_beam.worker_pool`: a pool of workers for Flink."""

import sys

from exporters_beam.runners.flink_pool import main

if __name__ == "__main__":
    sys.exit(main())
