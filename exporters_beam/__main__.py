"""`python -m exporters_beam`, and the command `exporters-beam`."""

import sys

from exporters_beam.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
