"""The transform `jq`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from exporters_beam.errors import ConfigError, MissingExtra, RecordError
from exporters_beam.options import option
from exporters_beam.records import Record


@dataclass(frozen=True, kw_only=True)
class JqTransform:
    """Put each record through a jq program; every object it gives is a record.

    None, one or several objects may come out. A text that holds a JSON object counts as one; any other result is an
    error of the record, as is an error in jq. Numbers pass through jq as it handles them: integers beyond 2^53 may
    lose digits.

    Example:
        transform:
          name: jq
          options: {jq_filter: '. + {twice: (.price * 2)}'}
    """

    kind: ClassVar[str] = "transform"

    jq_filter: str = option("a jq program", example="{id: .sku, total: (.price * .stock)}")
    _program: Any = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        try:
            self.setup()
        except MissingExtra:
            pass  # The launcher need not have jq; a worker that has not says so in setup.

    def setup(self) -> None:
        try:
            import jq
        except ImportError:
            raise MissingExtra("the transform jq", "jq") from None
        try:
            object.__setattr__(self, "_program", jq.compile(self.jq_filter))
        except ValueError as error:
            raise ConfigError(f"jq_filter: it is no jq program: {_line(str(error))}") from None

    def flat_map(self, record: Record) -> Iterator[Any]:
        if self._program is None:
            self.setup()
        try:
            text = json.dumps(record, default=_iso)
        except TypeError as error:
            raise RecordError(f"jq cannot read the record: {error}") from None
        try:
            results = self._program.input_text(text).all()
        except ValueError as error:
            raise RecordError(f"jq: {_line(str(error))}") from None
        for result in results:
            yield _record(result)

    def __getstate__(self) -> dict[str, Any]:
        return {"jq_filter": self.jq_filter, "_program": None}


def _iso(value: Any) -> str:
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    raise TypeError(f"{type(value).__name__} is no JSON")


def _line(text: str) -> str:
    return " ".join(text.split())[:200]


def _record(result: Any) -> Any:
    if isinstance(result, dict):
        return result
    if isinstance(result, str):
        try:
            parsed = json.loads(result)
        except ValueError:
            parsed = None
        if isinstance(parsed, dict):
            return parsed
    kind = {str: "a text", list: "an array", bool: "a boolean", type(None): "null"}.get(type(result), "a number")
    raise RecordError(f"the jq program gave {kind} ({json.dumps(result)[:80]}); it has to give objects")
