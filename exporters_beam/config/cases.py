"""The section `tests`: records that are given to the steps of an export, and what is expected of them.

Nothing is replaced inside a test: `${…}` in a record is a text. An export that is run does not look at its tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from exporters_beam.components.options import option
from exporters_beam.config.document import Document, Path
from exporters_beam.errors import Problem

TESTS = "tests"


@dataclass(frozen=True, kw_only=True)
class CaseOptions:
    """What a test may say."""

    name: str = option("what the test is called")
    given: Any = option("the records, or text that the config's deserializer decodes", type="dict_list|str")
    expect: Any = option("the records that come out, in order", type="dict_list", default=None)
    dropped: Any = option("how many records filters drop, in all or by step", type="int|dict", default=None, minimum=0)
    failed: Any = option("which records fail: step, a part of the error, the record; or how many",
                         type="int|dict_list", default=None, minimum=0)  # fmt: skip
    groups: Any = option("the records, or how many there are, by group or by file name", type="dict", default=None)
    formatted: str | None = option("what a file with all records holds", default=None)
    now: str | None = option("the time at which the export begins, as 2026-01-31T10:00:00", default=None)
    vars: Any = option("variables that replace those of the config", type="dict", default=None)
    env: Any = option("environment variables, also those of secrets", type="dict", default=None)
    writer: str | None = option("of several writers, the one whose own steps, grouper and formatter are applied", default=None)
    secrets: Any = option("values for other secrets: file:/path, gcp:NAME, aws:NAME", type="dict", default=None)


@dataclass(frozen=True, kw_only=True)
class ExpectedFailure:
    """A record that is expected to fail. What is not said is not judged."""

    step: str | None = option("the step at which it fails", default=None)
    error: str | None = option("a part of the error", default=None)
    record: Any = option("the record as it comes to the step, or its undecoded text", type="dict|list|str", default=None)


@dataclass(frozen=True)
class Case:
    """A test of a config. What is None is not judged."""

    name: str
    path: Path
    document: Document = field(repr=False)
    given: tuple[Mapping[str, Any], ...] | str
    expect: tuple[Mapping[str, Any], ...] | None = None
    dropped: int | Mapping[str, int] | None = None
    failed: int | tuple[ExpectedFailure, ...] | None = None
    groups: Mapping[str, int | tuple[Mapping[str, Any], ...]] | None = None
    writer: str | None = None
    formatted: str | None = None
    now: datetime | None = None
    vars: Mapping[str, Any] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)

    def place(self, *way: str | int) -> str:
        """Where it stands, or something in it: file and line, "" where the config has no text."""
        line, _ = self.document.place((*self.path, *way))
        return f"{self.document.file}:{line}" if line else self.document.file

    @property
    def steps(self) -> Iterator[tuple[Path, str]]:
        """The names of steps in it, each with the way to it."""
        if isinstance(self.dropped, Mapping):
            yield from ((("dropped", name), name) for name in self.dropped)
        for at, failure in enumerate(self.failed if isinstance(self.failed, tuple) else ()):
            if failure.step is not None:
                yield ("failed", at, "step"), failure.step

    @property
    def of_a_writer(self) -> Iterator[str]:
        """The keys in it that say something of what one writer delivers."""
        yield from ["groups"] if self.groups is not None else []
        yield from ["formatted"] if self.formatted is not None else []

    def problem(self, way: Path, message: str) -> Problem:
        """A problem inside the test, with its place."""
        return self.document.problem((*self.path, *way), message)
