"""The transform `lookup`: what a table says of a record."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import os
import re
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any, BinaryIO, ClassVar

from exporters_beam.components import registry
from exporters_beam.components.options import build, option
from exporters_beam.components.schemes import is_url, known_schemes, storage_of
from exporters_beam.components.secret import hide, without_credentials
from exporters_beam.components.words import did_you_mean, in_json, kind_of
from exporters_beam.compressions.auto import Auto
from exporters_beam.config.schema import faults
from exporters_beam.decimals import text_of
from exporters_beam.errors import ConfigError, ExportError, Problem, RecordError, SourceError, shown
from exporters_beam.records import Key, Record
from exporters_beam.transforms.explode import FAIL, RECORD, fresh

LEFT, INNER, REQUIRED = ("left", "inner", "required")

FIRST, LAST = ("first", "last")

TABLE = "table"

FORMATS = {
    "avro": ("avro",),
    "csv": ("csv", "tsv"),
    "json": ("json",),
    "jsonlines": ("jl", "jsonl", "jsonlines", "ndjson"),
    "parquet": ("parquet", "pq"),
}
"""The formats of tables, each with what names of such files end in."""

MOST = 64 << 20
"""Bytes of a table, decompressed, unless more are allowed: every worker holds all of it."""


class Table:
    """The rows of a table by their keys, each with the values of the columns that records get."""

    __slots__ = ("__weakref__", "columns", "rows")

    def __init__(self, columns: tuple[str, ...], rows: dict[Any, tuple[Any, ...]]) -> None:
        self.columns, self.rows = columns, rows


_OPEN: weakref.WeakValueDictionary[tuple[Any, ...], Table] = weakref.WeakValueDictionary()
"""Tables that steps of this process use, by their content and how it is read, so that each is held once."""


@dataclass(frozen=True, kw_only=True)
class LookupTransform:
    """Add to each record what a table says of it: the columns of the row that has its key.

    The table is a file of CSV, JSON lines, JSON, Parquet or Avro, compressed or not, on this machine or at a URL of a storage
    (`s3://bucket/shops.csv.gz`), whose credentials stand in the environment. Its name says the format, unless `format` does.
    It is read when the export begins, and once by every worker, which has to reach it and finds out if it has changed since;
    so does `--resume`.

    `key` is a field, if the column is called the same, a list of such, or a mapping of fields to columns; fields may be paths
    with dots. Numbers are equal to numbers, 1 to 1.0, and texts to texts; since a table of CSV has only texts, numbers and
    booleans of records are compared with it as JSON writes them. Null and a missing field equal nothing. Two rows of one key
    are an error, unless `duplicates` says which counts.

    All other columns are added, or those that `columns` names, with `prefix` before their names; naming them lets an export
    decode less. A record without a match gets null in them and is counted as `unmatched`; `how: inner` drops it, `how:
    required` makes it an error. A field that the record has already is an error too, unless `on_conflict` says whose value
    stays.

    Example:
        transform:
          name: lookup
          options: {file: shops.csv, key: {shop.id: id}, columns: [country, currency], prefix: shop_}
    """

    kind: ClassVar[str] = "transform"

    file: str = option("path or URL of the table", example="shops.csv")
    matching: Any = option("the field and column that have to be equal: a name, several, or fields with their columns",
                           name="key", type="str|str_list|dict", example={"shop.id": "id"})  # fmt: skip
    format: str | None = option("the format; by default what the name of the file says", type="str", default=None,
                                choices=tuple(FORMATS))  # fmt: skip
    format_options: dict[str, Any] = option("options of the deserializer of that name", type="dict", default={},
                                            example={"delimiter": ";"})  # fmt: skip
    columns: tuple[str, ...] | None = option("columns that are added; by default all but those of the key", type="str_list",
                                             default=None, example=["country"])  # fmt: skip
    prefix: str = option("stands before the names of columns", default="", example="shop_")
    how: str = option("a record without a match: left keeps it with nulls, inner drops it, required makes it an error",
                      default=LEFT, choices=(LEFT, INNER, REQUIRED))  # fmt: skip
    duplicates: str = option("which of several rows with one key counts; fail: the table is wrong", default=FAIL,
                             choices=(FAIL, FIRST, LAST))  # fmt: skip
    on_conflict: str = option("whose value stays where a record has a field already; fail: the record is an error",
                              default=FAIL, choices=(FAIL, RECORD, TABLE))  # fmt: skip
    max_bytes: int = option("most bytes of the table, decompressed: every worker holds it in memory", type="int", default=MOST,
                            minimum=1)  # fmt: skip
    digest: str = field(default="", init=False, repr=False, compare=False)
    _pairs: tuple[tuple[str, Key, str], ...] = field(init=False, repr=False, compare=False, default=())
    _table: Any = field(init=False, repr=False, compare=False, default=None)
    _compare: Any = field(init=False, repr=False, compare=False, default=None)
    _nulls: Any = field(init=False, repr=False, compare=False, default=())
    _seen: Any = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_pairs", tuple((name, Key.of(name), column) for name, column in _pairs(self.matching)))
        object.__setattr__(self, "_seen", {"matched": 0, "unmatched": 0})
        if not self.file:
            raise ConfigError("file: name the table, a path or a URL")
        if "://" in self.file and not is_url(self.file):
            raise ConfigError(f"file: {self.file} is not a URL of a storage; known: {known_schemes()}")
        columns = self.columns
        if columns is not None and len(set(columns)) < len(columns):
            raise ConfigError(f"columns: {next(name for name in columns if columns.count(name) > 1)} is named twice")
        object.__setattr__(self, "_compare", _as_text if self._decoder()[0] == "csv" else _comparable)

    def _decoder(self) -> tuple[str, Any]:
        """The format of the table and its deserializer. Raises ConfigError."""
        name = os.path.basename(self.file.partition("?")[0]).lower()
        ending = re.sub(r"\.(gz|bz2|xz|zst|zip)\Z", "", name).rpartition(".")[2]
        form = self.format or next((form for form, endings in FORMATS.items() if ending in endings), None)
        if form is None:
            raise ConfigError(f"format: the name {name!r} does not say it; give one of {', '.join(FORMATS)}")
        component = registry.load(registry.find("deserializer", form))
        given = {"delimiter": "\t", **self.format_options} if ending == "tsv" and form == "csv" else self.format_options
        wrong = [Problem(("format_options", *way), told) for way, told in faults(component, given, {})]
        if wrong:
            raise ConfigError(*wrong)
        try:
            return form, build(component, given, {})
        except ConfigError as error:
            raise ConfigError(f"format_options: {error}") from None

    @property
    def reads(self) -> frozenset[str] | None:
        """The top-level fields that are looked at, where it adds columns that are known; else None."""
        added = self.adds
        return None if added is None else frozenset(added).union(*(key.reads for _, key, _ in self._pairs))

    @property
    def adds(self) -> tuple[str, ...] | None:
        """The fields that are added to every record, where the config names them."""
        if self.columns is None or self.how == INNER:
            return None
        return tuple(f"{self.prefix}{name}" for name in self.columns)

    @property
    def sought(self) -> tuple[tuple[str, Key], ...]:
        """What it looks for in records, by what the config calls it."""
        return tuple((name, key) for name, key, _ in self._pairs)

    def counted(self) -> dict[str, int]:
        """How many records have had a match, and how many have not, since it was asked last."""
        found = {name: n for name, n in self._seen.items() if n}
        self._seen.update(matched=0, unmatched=0)
        return found

    @property
    def beside(self) -> str:
        """What is read beside the records, as users know it."""
        return shown(without_credentials(self.file))

    def fixed(self) -> LookupTransform:
        """The same with its table as it is now: another one is refused later on. Raises ConfigError where it cannot be read."""
        try:
            raw = self._read()
            self._made(raw)
        except ConfigError:
            raise
        except (ExportError, OSError) as error:
            raise ConfigError(f"file: {self.beside}: {_why(error)}") from None
        found = replace(self, file=self.file if is_url(self.file) else os.path.abspath(self.file))  # as workers find it
        object.__setattr__(found, "digest", hashlib.sha256(raw).hexdigest())
        return found

    def setup(self) -> None:
        """Read the table. Raises SourceError where it is not the one with which the export began."""
        how = (
            self.digest,
            self.file,
            repr(self.matching),
            self.format,
            repr(self.format_options),
            self.columns,
            self.duplicates,
        )
        table = _OPEN.get(how) if self.digest else None
        if table is None:
            try:
                raw = self._read()
                if self.digest and hashlib.sha256(raw).hexdigest() != self.digest:
                    raise SourceError("it has changed since the export began; run the export again")
                table = self._made(raw)
            except (ExportError, OSError) as error:
                raise SourceError(f"lookup: {self.beside}: {_why(error)}") from None
            _OPEN[how] = table
        object.__setattr__(self, "_table", table)
        object.__setattr__(self, "_nulls", (None,) * len(table.columns))

    def _read(self) -> bytes:
        """The bytes of the file. Raises OSError, ConfigError."""
        with _opened(self.file) as stream:
            return _some(stream, self.max_bytes)

    def _made(self, raw: bytes) -> Table:
        """Raises ConfigError, SourceError, RecordError."""
        content = _some(Auto().open(_Named(raw, self.file)), self.max_bytes)
        rows = list(_rows(self._decoder()[1], io.BytesIO(content)))
        known = list(dict.fromkeys(name for _, row in rows for name in row))
        key = [column for _, _, column in self._pairs]
        for name, wanted in (*(("key", column) for column in key), *(("columns", column) for column in self.columns or ())):
            if rows and wanted not in known:
                raise ConfigError(f"{name}: {self.beside} has no column {wanted}{did_you_mean(wanted, known)}")
        columns = tuple(name for name in known if name not in key) if self.columns is None else self.columns
        found: dict[Any, tuple[int, tuple[Any, ...]]] = {}
        for number, row in rows:
            values = tuple(row.get(column) for column in key)
            if None in values:
                continue
            what = tuple(map(_comparable, values))
            if what in found and self.duplicates == FAIL:
                told = ", ".join(f"{column} {in_json(value, 60)}" for column, value in zip(key, values, strict=True))
                raise ConfigError(f"file: {self.beside}: rows {found[what][0]} and {number} are both of {told}; remove one, or "
                                  "say with duplicates which counts: first or last")  # fmt: skip
            if what not in found or self.duplicates == LAST:
                found[what] = number, tuple(row.get(name) for name in columns)
        return Table(tuple(f"{self.prefix}{name}" for name in columns), {what: row for what, (_, row) in found.items()})

    @property
    def map(self) -> Callable[[Record], Record]:
        """One record in, one out; not with `how: inner`, which has `flat_map`."""
        if self.how == INNER:
            raise AttributeError("how: inner gives no record or one")
        return self._joined

    @property
    def flat_map(self) -> Callable[[Record], Sequence[Record]]:
        """One record in, one or none out; with `how: inner` alone."""
        if self.how != INNER:
            raise AttributeError(f"how: {self.how} gives one record")
        return self._matched

    def _matched(self, record: Record) -> Sequence[Record]:
        row = self._row(record)
        if row is None:
            self._seen["unmatched"] += 1
            return ()
        found = self._with(record, row)
        self._seen["matched"] += 1
        return (found,)

    def _joined(self, record: Record) -> Record:
        row = self._row(record)
        if row is None and self.how == REQUIRED:
            told = ", ".join(f"{name} {in_json(key.value(record), 60)}" for name, key, _ in self._pairs)
            raise RecordError(f"{self.beside} has no row for {told}")
        found = self._with(record, self._nulls if row is None else row)
        self._seen["unmatched" if row is None else "matched"] += 1
        return found

    def _row(self, record: Record) -> tuple[Any, ...] | None:
        if not isinstance(record, Mapping):
            raise RecordError(f"the record is not a mapping but {kind_of(record)}; lookup needs fields")
        if self._table is None:
            self.setup()
        values = [key.value(record) for _, key, _ in self._pairs]
        if None in values:
            return None
        found: tuple[Any, ...] | None = self._table.rows.get(tuple(map(self._compare, values)))
        return found

    def _with(self, record: Record, row: Sequence[Any]) -> Record:
        columns = self._table.columns
        if self.on_conflict == FAIL:
            for name in columns:
                if name in record:
                    raise RecordError(f"the record has a field {name}, and so has the table; give prefix, or say with "
                                      "on_conflict whose stays: record or table")  # fmt: skip
        keeps = self.on_conflict == RECORD
        for name, value in zip(columns, row, strict=True):
            if not (keeps and name in record):
                record[name] = fresh(value)
        return record

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_table": None, "_nulls": ()}


class _Named(io.BytesIO):
    """Bytes with the name of the file that they are from, which says how it is compressed."""

    def __init__(self, raw: bytes, name: str) -> None:
        super().__init__(raw)
        self.name = name


def _opened(file: str) -> BinaryIO:
    """A file of this machine, or what stands at a URL of a storage. Raises OSError, ConfigError."""
    if not is_url(file):
        return open(file, "rb")
    module, _, name = str(storage_of(file.partition("://")[0])).partition(":")
    storage, place = getattr(importlib.import_module(module), name).of_url(file)
    found: BinaryIO = storage.open(storage.stat(place))
    return found


def _some(stream: BinaryIO, most: int) -> bytes:
    """All bytes of a stream. Raises ConfigError where there are more."""
    found = bytearray()
    while data := stream.read(min(1 << 20, most + 1 - len(found))):
        found += data
        if len(found) > most:
            raise ConfigError(f"max_bytes: the table has more than {most:,} bytes, and every worker holds all of it; allow "
                              "more, or make it smaller")  # fmt: skip
    return bytes(found)


def _rows(decoder: Any, stream: BinaryIO) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The rows of a table with their numbers, from 1. Raises SourceError."""
    before = 1
    for data, count, _ in decoder.chunks(stream):
        for number, row, _ in decoder.decode_each(data):
            if isinstance(row, Exception):
                raise SourceError(f"row {before + number}: {row}")
            yield before + number, row
        before += count


def _pairs(on: object) -> Iterator[tuple[str, str]]:
    """The fields of the option `key`, each with its column. Raises ConfigError."""
    pairs = on.items() if isinstance(on, Mapping) else [(name, name) for name in ((on,) if isinstance(on, str) else tuple(on))]  # type: ignore[arg-type]
    for name, column in pairs:
        if not isinstance(name, str) or not name or not isinstance(column, str) or not column:
            raise ConfigError(f"key: {in_json({name: column}, 100)} does not name a field and a column")
        yield name, column
    if not pairs:
        raise ConfigError("key: name the field and the column that have to be equal, {shop.id: id}")


def _comparable(value: object) -> Any:
    """A value as a part of a key: what is equal in JSON is equal, and nothing else."""
    if value.__class__ is str or value.__class__ is int:
        return value
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (Mapping, list, tuple)):
        return "nested", json.dumps(value, sort_keys=True, default=text_of)
    return value


def _as_text(value: object) -> Any:
    """The same for a table that has nothing but texts."""
    if value.__class__ is str:
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return text_of(value) if isinstance(value, (int, float, Decimal)) else _comparable(value)


def _why(error: Exception) -> str:
    """What went wrong, as the end of a sentence."""
    return hide((isinstance(error, OSError) and error.strerror) or str(error))
