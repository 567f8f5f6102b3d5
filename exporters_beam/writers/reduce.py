"""A fold over all records, in input order."""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from exporters_beam.components.options import option
from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.records import DeliveredFile, PlannedFile, Record
from exporters_beam.writers.options import WriterOptions

EACH = 10_000
"""Records after which the result so far is told, where somebody wants to know it."""


@dataclass(frozen=True, kw_only=True)
class ReduceWriter(WriterOptions):
    """Fold all records, in input order and on one worker, with a function of your own; the result is reported.

    `code` is Python source that defines `reduce_function(item, accumulator=None)`; what it returns is the accumulator
    of the next call, and at the end the result, which is logged and stands in the report as `result`. The code is run
    as it is: use configs that you trust.

    Example:
        writer:
          name: reduce
          options:
            code: |
              def reduce_function(item, accumulator=None):
                  return (accumulator or 0) + item["stock"]
    """

    code: str = option("Python source that defines reduce_function(item, accumulator=None)", type="str",
                       example="def reduce_function(item, accumulator=None):\n    return (accumulator or 0) + 1")  # fmt: skip
    source_path: str | None = option("file name to show in error messages", type="str", default=None)

    empty_result = None

    def __post_init__(self) -> None:
        try:
            found = compile(self.code, self.source_path or "<code>", "exec")
        except (SyntaxError, ValueError) as error:
            raise ConfigError(f"code: it is not Python: {error}") from None
        if "reduce_function" not in found.co_names:
            raise ConfigError("code: it has to define reduce_function(item, accumulator=None)")

    @property
    def staged_as(self) -> Pickled:
        return Pickled()

    def publish(self, file: PlannedFile, fill: Callable[[BinaryIO], None], scratch: str) -> DeliveredFile:
        return DeliveredFile(file.name, file.group, file.records, 0, "", self.folded(fill))

    def folded(self, fill: Callable[[BinaryIO], None], told: Callable[[Any], object] | None = None) -> Any:
        """What the function makes of all records; `told` is told of what it is after every `EACH` of them."""
        scope: dict[str, Any] = {"__name__": "reduce_code"}
        exec(compile(self.code, self.source_path or "<code>", "exec"), scope)
        function = scope.get("reduce_function")
        if not callable(function):
            raise ConfigError("code: it has to define reduce_function(item, accumulator=None)")
        fold = Fold(function, told)
        fill(cast(BinaryIO, fold))
        return fold.accumulator


@dataclass(frozen=True)
class Pickled:
    """Records as they are, each behind its length: what the writers that read records again stage."""

    extension = ""
    header = separator = footer = b""

    def format(self, record: Record) -> bytes:
        data = pickle.dumps(record, 5)
        return struct.pack("<I", len(data)) + data


class Fold:
    """Takes what `Pickled` wrote, in pieces of any size, and calls the function with each record."""

    def __init__(self, function: Callable[..., Any], told: Callable[[Any], object] | None = None) -> None:
        self._function, self._told, self._rest = function, told, b""
        self._number = 0
        self.accumulator: Any = None

    def write(self, data: bytes) -> int:
        rest, at = self._rest + data, 0
        while len(rest) - at >= 4:
            end = at + 4 + struct.unpack_from("<I", rest, at)[0]
            if end > len(rest):
                break
            self._number += 1
            try:
                self.accumulator = self._function(pickle.loads(rest[at + 4 : end]), self.accumulator)
            except Exception as error:
                raise RecordError(f"reduce_function failed at written record {self._number}: "
                                  f"{type(error).__name__}: {error}") from error  # fmt: skip
            if self._told is not None and self._number % EACH == 0:
                self._told(self.accumulator)
            at = end
        self._rest = rest[at:]
        return len(data)
