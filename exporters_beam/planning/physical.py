"""The physical plan: how records stand on their way, and which rules made it so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from exporters_beam.planning.logical import Logical
from exporters_beam.stages import Decoding


@dataclass(frozen=True)
class Physical:
    """How records are decoded; `skips`: parts of a table are not read where statistics say that the filter drops all;
    `stages`: records that wait for a step that has to see all of them are staged, and not shuffled; `together`: workers get
    small files several at a time."""

    decoding: Decoding
    skips: bool = False
    stages: bool = False
    together: bool = False
    trace: tuple[Applied, ...] = field(default=(), compare=False)


class Applied(NamedTuple):
    """What became of a rule: whether the plan was rewritten, and why, or why not."""

    rule: str
    rewritten: bool
    why: str


class Rewritten(NamedTuple):
    plan: Physical
    why: str


class Declined(NamedTuple):
    why: str


class Rule(Protocol):
    """A rule makes an export faster and changes nothing that is delivered, counted or told."""

    @property
    def name(self) -> str: ...

    def __call__(self, logical: Logical, plan: Physical) -> Rewritten | Declined: ...


def named(fields: frozenset[str]) -> str:
    """Fields in a sentence, with its verb.

    >>> named(frozenset()), named(frozenset("a")), named(frozenset("ab"))
    ('nothing is', 'only a is', 'only a, b are')
    """
    if not fields:
        return "nothing is"
    return f"only {', '.join(sorted(fields))} {'is' if len(fields) == 1 else 'are'}"
