"""Formats that leave fields out: those whose values the names of folders tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO, ClassVar, cast

from exporters_beam.components.protocols import Format, TableFormat, TextFormat
from exporters_beam.components.traits import ComponentTraits, FormatTraits
from exporters_beam.records import Key, Record


@dataclass(frozen=True)
class _Without:
    """A format that gets each record without some of its fields."""

    form: Format
    fields: frozenset[str]
    kind: ClassVar[str] = "formatter"

    @cached_property
    def _traits(self) -> FormatTraits:
        return FormatTraits.of(self.form)

    def __getstate__(self) -> dict[str, Any]:
        return {"form": self.form, "fields": self.fields}

    @property
    def extension(self) -> str:
        return self.form.extension

    @property
    def setup(self) -> Callable[[], object] | None:
        """Makes what the format makes on a worker."""
        return ComponentTraits.of(self.form).setup

    @property
    def needs(self) -> frozenset[str] | None:
        """The fields that files will have."""
        return self._traits.needs

    @property
    def sought(self) -> tuple[tuple[str, Key], ...]:
        """The columns that the config names, by what it calls them."""
        return self._traits.sought

    def left(self, record: Any) -> Any:
        """The record without these fields; what is not a mapping is left to the format."""
        if not isinstance(record, Mapping):
            return record
        fields = self.fields
        return {name: value for name, value in record.items() if name not in fields}


class TextWithout(_Without):
    """A text format that leaves fields out."""

    @property
    def _text(self) -> TextFormat:
        return cast(TextFormat, self.form)

    @property
    def header(self) -> bytes:
        return self._text.header

    @property
    def separator(self) -> bytes:
        return self._text.separator

    @property
    def footer(self) -> bytes:
        return self._text.footer

    @property
    def empty(self) -> bytes | None:
        """A file without records, where it is not the header with the footer behind."""
        return self._traits.empty

    def format(self, record: Record) -> bytes:
        """One record as text. Raises RecordError."""
        return self._text.format(self.left(record))

    @property
    def format_all(self) -> Callable[[Sequence[Any]], list[bytes]] | None:
        """`format` for many records at once, where the format has that."""
        of_all = self._traits.format_all
        return None if of_all is None else lambda records: of_all([*map(self.left, records)])


class TableWithout(_Without):
    """A format of tables that leaves fields out."""

    @property
    def _table(self) -> TableFormat:
        return cast(TableFormat, self.form)

    @property
    def finds_types(self) -> bool:
        """Whether columns and their types are found in the records."""
        return self._traits.finds_types

    def encode(self, records: Sequence[Record], *source: bytes) -> tuple[bytes, bytes]:
        """A block of records, and its schema. Raises RecordError."""
        return self._table.encode([*map(self.left, records)], *source)

    def assemble(self, blocks: Iterable[tuple[bytes, Sequence[int] | None]], schemas: Sequence[bytes], out: BinaryIO) -> None:
        """Write one file. Raises RecordError."""
        self._table.assemble(blocks, schemas, out)


def without(form: Format, fields: frozenset[str]) -> Format:
    """The format, which leaves these fields out."""
    if not fields:
        return form
    return TableWithout(form, fields) if FormatTraits.of(form).table else TextWithout(form, fields)


def whole(form: Format) -> Format:
    """The format itself, of one that leaves fields out."""
    return form.form if isinstance(form, _Without) else form
