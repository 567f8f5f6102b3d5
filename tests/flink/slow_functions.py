"""A transform that takes its time, so that there is a middle in which something can be killed, and leaves a trace."""

import os
import time
from dataclasses import dataclass
from typing import Any, ClassVar

from exporters_beam.components.options import option

RECORDS = 250
"""Records of a unit, whose ids follow one another."""


@dataclass(frozen=True, kw_only=True)
class Slow:
    """Hand on every record after a while; write down which process begins and ends which unit."""

    kind: ClassVar[str] = "transform"

    trace: str = option("file that lines are appended to: unit, process, what, time", default="")

    def map(self, record: dict[str, Any]) -> dict[str, Any]:
        unit, number = divmod(record["id"], RECORDS)
        if number == 0:
            self._note(unit, "begins")
        time.sleep(0.004)
        if number == RECORDS - 1:
            self._note(unit, "ends")
        return record

    def _note(self, unit: int, what: str) -> None:
        if self.trace:
            line = f"{unit} {os.getpid()} {what} {time.time()}\n".encode()
            out = os.open(self.trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(out, line)  # At once and whole, also where two processes write.
            os.close(out)


def keep(record: dict[str, Any]) -> bool:
    return True


def keep_slowly(record: dict[str, Any]) -> bool:
    time.sleep(0.01)
    return True
