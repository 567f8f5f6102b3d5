"""The Flex Template's launcher: submits the export beside this file and does not wait for it."""

import sys
from pathlib import Path

from exporters_beam.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["template", "launch", str(Path(__file__).with_name("export.yaml")), *sys.argv[1:]]))
