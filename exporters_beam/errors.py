"""What can go wrong, as a tree::

    ExportError
    ├── ConfigError        the config is wrong; nothing was started          exit status 2
    ├── SourceError        the input cannot be read or decoded               exit status 1
    ├── RecordError        one record failed a step; goes to `failed`
    ├── DestinationError   the output cannot be staged, published or checked exit status 1
    │   └── Transient      it may go well the next time, and is tried again
    └── MissingExtra       an optional package is not installed              exit status 2

Every message is one sentence that names the place, the value and the remedy. No message holds a secret's value.
Retrying belongs to Beam and to the client libraries.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

MORE_MEMORY = "give the export more, or fewer worker processes (--workers)"
"""The remedy where there is not enough memory."""


class ExportError(Exception):
    """The root of everything this package raises on purpose. One that ends a run has its `report`."""

    report: Any = None


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a config: where, what, and what was probably meant.

    `path` is the way to the value, keys and indices in order: ("writer", "options", "filebase").
    `line` and `column` count from 1 and are 0 where the document has no text (a mapping given to the library). `idle` warns
    of what nothing uses.
    """

    path: tuple[str | int, ...]
    message: str
    line: int = 0
    column: int = 0
    file: str = ""
    idle: bool = False

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}: " if self.line else (f"{self.file}: " if self.file else "")
        where = dotted(self.path)
        return f"{place}{where}: {self.message}" if where else f"{place}{self.message}"


class ConfigError(ExportError, ValueError):
    """The config is wrong. `problems` lists every problem that was found, in document order.

    A component raises it from `__post_init__` with a text that begins with the option's name:
    ``raise ConfigError("input: give at least one file, folder or pattern")``; the loader adds file, line and path.
    """

    def __init__(self, *problems: Problem | str) -> None:
        self.problems = tuple(p if isinstance(p, Problem) else Problem((), p) for p in problems)
        super().__init__("\n".join(str(p) for p in self.problems))

    def __reduce__(self) -> Any:
        return (type(self), self.problems)


class MissingExtra(ConfigError):
    """A component needs a package that is not installed; the message says what to run."""

    def __init__(self, what: str, extra: str) -> None:
        self.what, self.extra = what, extra
        super().__init__(f'{what} needs a package that is not installed; run: pip install "exporters-beam[{extra}]"')

    def __reduce__(self) -> Any:
        return (type(self), (self.what, self.extra))


class SourceError(ExportError):
    """The input cannot be read or decoded: missing, truncated, wrong checksum, wrong compression."""


class RecordError(ExportError):
    """One record cannot be decoded, filtered, transformed, grouped or formatted. Its message needs no place:
    the step that catches it adds the step's name, the file and the record number."""


class DestinationError(ExportError):
    """The output cannot be staged, published or checked. The run stops and nothing half-written has a final name."""


class Transient(DestinationError):
    """A target did not answer, or asked to be left alone for a while: what was sent is sent again. `after` are the seconds
    that the target asked for, 0 where it named none."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after

    def __reduce__(self) -> Any:
        return (type(self), (str(self), self.after))


_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
"""Characters that end lines, turn the direction of writing, or tell a terminal what to do; and halves of pairs."""


def printable(text: str) -> str:
    """A message as one line that does nothing to a terminal: names of files may hold any character.

    >>> printable("a\\nb\\x1b[2J")
    'a\\\\nb\\\\x1b[2J'
    """
    return _UNSEEN.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


def dotted(path: tuple[str | int, ...]) -> str:
    """The path as users read it.

    >>> dotted(("exporter_options", "notifications", 0, "name"))
    'exporter_options.notifications[0].name'
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else str(part))
    return text


def shown(path: str) -> str:
    """A name as part of a message of one line: line ends, control characters and bytes that are not text are escaped.

    >>> print(shown("a\\nb.jl"), shown("für.jl"))
    a\\nb.jl für.jl
    """
    if path.isprintable():
        return path
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in path)
