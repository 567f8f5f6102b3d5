"""What went wrong, as the launcher tells it.

Errors of ours come as values (`handover`). What Beam and other libraries raise comes as the text of a traceback: a Ctrl-C that
hit Beam's worker in this process, a want of memory, and everything else, of which the last line is told.
"""

from __future__ import annotations

import re

from exporters_beam.components.secret import hide
from exporters_beam.errors import MORE_MEMORY, ExportError
from exporters_beam.handover import Failed, received

# No value of ours can stand for these: they are raised in Beam's own code, too, where no DoFn is, and want of memory may leave
# none to make a value of. So they are read from the text.
_INTERRUPTED = re.compile(r"^(?:builtins\.RuntimeError: )?KeyboardInterrupt\b", re.MULTILINE)
"""Beam's worker in this process makes a RuntimeError, whose text is a traceback, of a Ctrl-C that hits it."""


_NO_MEMORY = re.compile(r"(?:[\w.]+: )?(?:[\w.]+\.)?(?:Arrow)?MemoryError\b")


def interrupted(error: BaseException) -> bool:
    """Whether it is what Beam made of a Ctrl-C."""
    return received(error) is None and _INTERRUPTED.search(str(error)) is not None


def told(error: BaseException) -> ExportError:
    """What users are told of an error that a runner raised: our own where one was handed over, else what the text says."""
    found = received(error) or (Failed.of(error) if isinstance(error, ExportError) else None)
    if found is not None:
        return found.error()
    lines = [line.strip() for line in hide(str(error)).splitlines() if line.strip()]
    last, step = _without_step(lines[-1] if lines else type(error).__name__)
    if isinstance(error, MemoryError) or _NO_MEMORY.match(last):
        where = f" in the step {step}" if step else ""
        return ExportError(f"the export ran out of memory{where}; {MORE_MEMORY}")
    return ExportError(f"the export failed: {last}")


def _without_step(line: str) -> tuple[str, str]:
    """A line of Beam's without the step that it adds, and that step as the config names it."""
    found = _STEP.search(line)
    return (line[: found.start()], found[1].partition("/")[0]) if found else (line, "")


_STEP = re.compile(r" \[while running '([^']*)'\]$")
