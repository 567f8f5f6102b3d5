"""`new_only`, `after` and `follow`: an export that reads only what has come since it ran before, and what becomes of what
it has read."""

from __future__ import annotations

import re
from dataclasses import dataclass

from exporters_beam.components.options import option
from exporters_beam.components.words import in_json
from exporters_beam.errors import ConfigError

FAIL, READ, IGNORE = CHANGED = ("fail", "read", "ignore")
"""What becomes of a file that was read before and has changed since."""

KEEP, DELETE = "keep", "delete"
"""What becomes of what was read, beside `archive`."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def duration(name: str, given: str | float) -> float:
    """A time in seconds, of a number or a text with a unit. Raises ConfigError, which begins with the option's name.

    >>> duration("settled", "90s"), duration("settled", "1.5h"), duration("settled", 5)
    (90.0, 5400.0, 5.0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?\s*", str(given))
    if match is None:
        raise ConfigError(f"{name}: {in_json(given, 40)} is not a time; write 30s, 5m, 12h or 1d")
    return float(match[1]) * _UNITS[match[2] or "s"]


@dataclass(frozen=True, kw_only=True)
class NewOnly:
    """Each run reads what is new since the run before: the section `new_only`, or `new_only: true`.

    What was read is known by the manifests of the runs before, and by nothing beside them. A file is known by its name, its
    size and what proves its content.
    """

    changed: str = option("what becomes of a file that was read before and has changed since: the export fails, reads it again "
                          "as a whole, or leaves it alone with a warning", default=FAIL, choices=CHANGED)  # fmt: skip
    settled: str | float = option("for how long a file must not have changed before it is read, so that one that is still "
                                  "being written is waited for", type="str|number", default="0s", example="60s")  # fmt: skip

    def __post_init__(self) -> None:
        duration("settled", self.settled)

    @property
    def settled_seconds(self) -> float:
        return duration("settled", self.settled)


@dataclass(frozen=True, kw_only=True)
class After:
    """What becomes of what was read when it is delivered and the manifest stands: the section `after`, which says `keep`,
    `delete`, or names a folder."""

    archive: str = option("the folder, or the prefix in the same bucket, to which what was read is moved, with % dates and "
                          "{batch}",
                          example="done/%Y-%m-%d/")  # fmt: skip

    def __post_init__(self) -> None:
        if not self.archive.strip("/"):
            raise ConfigError("archive: give the name of a folder")


@dataclass(frozen=True, kw_only=True)
class Follow:
    """How batches follow on each other in one process: the section `follow`, for `exporters-beam run --follow`."""

    every: str | float = option("how often to look for what is new", type="str|number", default="60s", example="10s")
    max_records: int | None = option("so many messages at most in a batch, of readers that know how many there are", type="int",
                                     default=None, minimum=1)  # fmt: skip
    max_bytes: int | None = option("so many bytes of files at most in a batch, as they are stored; a larger file is one alone",
                                   type="int", default=None, minimum=1)  # fmt: skip
    health: str | None = option("a file of JSON that is written anew after each look: state, last batch, failures", type="str",
                                default=None, example="/run/export.health.json")  # fmt: skip

    def __post_init__(self) -> None:
        if duration("every", self.every) <= 0:
            raise ConfigError("every: give a time that is more than nothing")

    @property
    def every_seconds(self) -> float:
        return duration("every", self.every)
