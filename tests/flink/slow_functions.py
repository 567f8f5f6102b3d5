"""A transform that takes its time, so that there is a middle in which something can be killed."""

import time
from typing import Any


def slowly(record: dict[str, Any]) -> dict[str, Any]:
    time.sleep(0.004)
    return record
