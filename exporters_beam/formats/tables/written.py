"""What formats of columns share: their types, given or found in records, and the blocks in which they are staged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from exporters_beam.components.options import option
from exporters_beam.formats.tables import arrow, kept, types
from exporters_beam.formats.tables.conform import conform
from exporters_beam.formats.tables.given import given
from exporters_beam.records import Record


@dataclass(frozen=True, kw_only=True)
class ColumnFormat:
    """Options of formats whose files hold columns, and how their records are staged: as batches of Arrow."""

    schema: Mapping[str, Any] | None = option(
        "the columns: a JSON Schema with properties or an Avro schema with fields; found in the records if not given",
        type="dict",
        default=None,
    )
    unknown_fields: str = option(
        "a key that the schema lacks fails its record, or is dropped", default="fail", choices=("fail", "drop")
    )
    _given: types.Struct | None = field(init=False, repr=False, compare=False, default=None)

    @property
    def holds(self) -> str:
        """The format, or who reads it, as the modules of types know it: parquet, spark, orc."""
        raise NotImplementedError

    def __post_init__(self) -> None:
        if self.schema is not None:
            object.__setattr__(self, "_given", given(self.schema, self.holds))

    def check(self, struct: types.Struct) -> None:
        """Raises RecordError where files of the format cannot hold columns of these types."""

    def _checked(self, payload: bytes, schema: bytes) -> tuple[bytes, bytes]:
        """A block, and its types where they were found. Raises RecordError where the format cannot hold them."""
        if schema:
            self.check(kept.load(schema).staged)
        return payload, schema

    @property
    def finds_types(self) -> bool:
        """Whether columns and their types are found in the records."""
        return self._given is None

    def encode(self, records: Sequence[Record], source: bytes = b"") -> tuple[bytes, bytes]:
        """A block as a compressed Arrow batch, and its types where they were found in the records. `source` says which
        types columns had where they were read."""
        if self._given is not None:
            fitted = conform(records, self._given, self.unknown_fields == "drop")
            return arrow.stage(fitted, self._given, b""), b""
        return self._checked(*arrow.stage_found(records, kept.of_source(source, self.holds)))

    def encode_values(self, columns: Mapping[str, Sequence[object]], count: int) -> tuple[bytes, bytes]:
        """What `encode` gives for so many records that all have the same fields, given as columns. Raises where one is at
        fault."""
        return self._checked(*arrow.stage_values(columns, count, self._given, self.unknown_fields == "drop"))

    @property
    def needs(self) -> frozenset[str] | None:
        """The fields that files will have, others being dropped; None for all."""
        if self._given is None or self.unknown_fields != "drop":
            return None
        return frozenset(f.name for f in self._given.fields)

    def encode_columns(self, batch: Any, source: bytes = b"") -> tuple[bytes, bytes]:
        """What `encode` gives for the records of a batch; raises where only they can tell."""
        from exporters_beam.formats.tables.as_columns import encoded

        return self._checked(*encoded(batch, self._given, self.unknown_fields == "drop", kept.of_source(source, self.holds)))
