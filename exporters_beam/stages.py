"""How records stand between the decoder and the encoder: the values of which a physical plan is made.

Each says what is decoded of a record and what goes on from there: records (`rows`), their lines of JSON (`lines`), columns of
a table (`columns`) or whole objects of a storage (`objects`). What does not go together cannot be said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

Fields = frozenset[str]
"""Top-level fields of records."""


@dataclass(frozen=True)
class Whole:
    """Every record is decoded whole."""

    representation: ClassVar[str] = "rows"


@dataclass(frozen=True)
class Sift:
    """`fields` are decoded before the first filter decides; what it keeps is decoded whole."""

    representation: ClassVar[str] = "rows"
    fields: Fields


@dataclass(frozen=True)
class Project:
    """Nothing but `fields` is decoded, since nothing else is ever looked at."""

    representation: ClassVar[str] = "rows"
    fields: Fields


@dataclass(frozen=True)
class HandOn:
    """Records that the first filter keeps go on as the lines they came as. `fields` are decoded for filter and grouper, None
    for all."""

    representation: ClassVar[str] = "lines"
    fields: Fields | None = None


@dataclass(frozen=True)
class Transcribe:
    """The decoder makes lines of JSON without making records."""

    representation: ClassVar[str] = "lines"


@dataclass(frozen=True)
class Extend:
    """Records keep their lines, and the fields that steps add, `added`, are written behind them. Before the first filter
    decides `fields` are decoded, and `later` of what it keeps, None for all."""

    representation: ClassVar[str] = "lines"
    added: tuple[str, ...]
    fields: Fields | None = None
    later: Fields | None = None


@dataclass(frozen=True)
class Columns:
    """Columns stay columns: `read` are read, None for all, and `judged` become Python values for the filter."""

    representation: ClassVar[str] = "columns"
    read: Fields | None
    judged: Fields


@dataclass(frozen=True)
class MakeColumns:
    """Columns are made of rows of text, and the transforms, which set fields, work on them."""

    representation: ClassVar[str] = "columns"


@dataclass(frozen=True)
class Copy:
    """Objects are copied as they are; nothing is decoded."""

    representation: ClassVar[str] = "objects"


Decoding = Whole | Sift | Project | HandOn | Transcribe | Extend | Columns | MakeColumns | Copy
