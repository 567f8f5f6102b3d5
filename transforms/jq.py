"""The transform `jq`."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import orjson

from exporters_beam.components.options import option
from exporters_beam.components.words import kind_of, shortened
from exporters_beam.errors import ConfigError, MissingExtra, RecordError
from exporters_beam.formats.json_text import JsonFormat
from exporters_beam.records import Record

_BEFORE, _AFTER = "{} as $ENV | def env: $ENV; ", "\n| tojson"
"""What stands around the program. Results leave jq as text, which keeps the digits of numbers that it did not change;
the environment of the worker stays out of reach."""

_write: Callable[[Any], bytes] = JsonFormat().format
_long_number = re.compile(r"\d{19}").search


@dataclass(frozen=True, kw_only=True)
class JqTransform:
    """Put each record through a jq program; every object it gives is a record, in its order.

    None, one or several objects may come out. A text that holds a JSON object counts as one; any other result is an
    error of the record, as is an error in jq. Numbers that the program passes on keep their digits, but jq does not tell
    2e16 from an integer. What it calculates with are doubles: integers beyond 2^53 lose digits, and 2.0 becomes 2.
    Dates come out as ISO 8601 text, decimals as numbers. NaN, infinities and lone surrogates are errors. `env` is empty,
    `import` and `include` are not allowed, and a program that never ends hangs the export.

    Example:
        transform:
          name: jq
          options: {jq_filter: '. + {twice: (.price * 2)}'}
    """

    kind: ClassVar[str] = "transform"

    jq_filter: str = option("a jq program", example="{id: .sku, total: (.price * .stock)}")
    _program: Any = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        with contextlib.suppress(MissingExtra):  # the launcher need not have jq; a worker without it says so in setup
            self.setup()

    def setup(self) -> None:
        try:
            import jq
        except ImportError:
            raise MissingExtra("the transform jq", "jq") from None
        try:
            jq.compile(self.jq_filter)  # by itself first, for the message and because it has to be a whole program
        except ValueError as error:
            raise ConfigError(f"jq_filter: it is not a jq program: {_line(error)}") from None
        try:
            object.__setattr__(self, "_program", jq.compile(f"{_BEFORE}{self.jq_filter}{_AFTER}"))
        except ValueError:
            raise ConfigError("jq_filter: import and include are not allowed; write the functions out") from None

    def flat_map(self, record: Record) -> list[Any]:
        if self._program is None:
            self.setup()
        try:
            text = _write(record).decode()
        except RecordError as error:
            raise RecordError(f"jq cannot read the record: {str(error).partition(';')[0]}") from None
        try:
            results = self._program.input_text(text).all()
        except ValueError as error:
            raise RecordError(f"jq: {_line(error)}") from None
        return [_record(result) for result in results]

    def __getstate__(self) -> dict[str, Any]:
        return {"jq_filter": self.jq_filter, "_program": None}


def _line(error: ValueError) -> str:
    """jq's complaint, which may have several lines, as one."""
    text = " ".join(line for line in str(error).split() if line != "^").removeprefix("jq: error: ")
    text = text.removesuffix("jq: 1 compile error").rstrip()
    return shortened(text, 200)


def _record(text: str) -> Any:
    result = _parsed(text)
    if isinstance(result, dict):
        return result
    if isinstance(result, str):
        with contextlib.suppress(ValueError):
            inner = _parsed(result)
            if isinstance(inner, dict):
                return inner
    raise RecordError(f"the jq program gave {kind_of(result)}, {shortened(text, 200)}; it has to give objects")


def _parsed(text: str) -> Any:
    return json.loads(text) if _long_number(text) else orjson.loads(text)
