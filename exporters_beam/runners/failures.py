"""What went wrong on a worker, as the launcher tells it."""

from __future__ import annotations

import re

from exporters_beam.components.secret import hide
from exporters_beam.errors import MORE_MEMORY, ConfigError, DestinationError, ExportError, SourceError

_OURS = re.compile(r"^(?:builtins\.RuntimeError: )?(?:exporters_beam\.)?(?:[\w.]+\.)?"
                   r"(SourceError|RecordError|DestinationError|ConfigError|MissingExtra|FailedRecord|TooManyFailed): "
                   r"(.*?)(?: \[while running '[^']*'\])?$", re.MULTILINE)  # fmt: skip


_INTERRUPTED = re.compile(r"^(?:builtins\.RuntimeError: )?KeyboardInterrupt\b", re.MULTILINE)
"""Beam's worker in this process makes a RuntimeError, whose text is a traceback, of a Ctrl-C that hits it."""


_NO_MEMORY = re.compile(r"(?:[\w.]+: )?(?:[\w.]+\.)?(?:Arrow)?MemoryError\b")


def interrupted(error: BaseException) -> bool:
    """Whether it is what Beam made of a Ctrl-C."""
    return _INTERRUPTED.search(str(error)) is not None


def told(error: BaseException) -> ExportError:
    """The error of this package inside what a runner raised: runners give the text of the worker's traceback."""
    message = hide(str(error))
    found = _OURS.findall(f"{type(error).__module__}.{type(error).__name__}: {message}")
    if found:
        kind, text = found[-1]
        kinds = {"DestinationError": DestinationError, "ConfigError": ConfigError, "MissingExtra": ConfigError}
        return kinds.get(kind, SourceError)(text)
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()]
    text = re.sub(r" \[while running '[^']*'\]$", "", lines[-1]) if lines else type(error).__name__
    if isinstance(error, MemoryError) or _NO_MEMORY.match(text):
        step = re.search(r" \[while running '([^'/]*)", lines[-1]) if lines else None
        where = f" in the step {step[1]}" if step else ""
        return ExportError(f"the export ran out of memory{where}; {MORE_MEMORY}")
    return ExportError(f"the export failed: {text}")
