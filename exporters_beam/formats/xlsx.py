"""Workbooks of Excel (.xlsx): one sheet, a row a record."""

from __future__ import annotations

import io
import math
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any, BinaryIO, ClassVar

import orjson

from exporters_beam.components.options import option
from exporters_beam.components.words import did_you_mean, one_line
from exporters_beam.errors import ConfigError, MissingExtra, RecordError, SourceError
from exporters_beam.formats.csv_cells import cell
from exporters_beam.formats.limits import cut
from exporters_beam.records import Key, Record

MOST_ROWS, MOST_COLUMNS, MOST_CHARACTERS, MOST_DIGITS = 1_048_576, 16_384, 32_767, 15
"""What a sheet, a row, a cell with text and a number can have; Excel cuts what is more without a word."""

CHUNK_ROWS = 1000

_FIRST_DAY, _ORIGIN = date(1900, 3, 1), date(1899, 12, 30)
"""Excel believes that 1900 was a leap year: from March on days count from this one."""

_EXTRA = "excel"
_DATE, _DATETIME, _TIME = "date", "datetime", "time"
_Row = list[Any]


@dataclass(frozen=True, kw_only=True)
class XlsxFormat:
    """Write workbooks of Excel with one sheet: a row a record, with the columns that `fields` names.

    Texts, numbers and booleans become cells of these types, dates and times cells with a format; a time with a zone is
    written in UTC, and all times to the millisecond. Null and what is missing are empty cells. Lists and mappings are
    written as JSON, bytes as base64 text. A text that begins with = stays a text and is no formula. Fields that are not
    columns are left out.

    Excel would change or cut some values without a word. They are the record's error: integers and decimals of more than 15
    digits, texts of more than 32,767 characters, NaN and infinity, dates before 1900-03-01. Floating point numbers are
    written with 16 digits. A sheet has 1,048,576 rows, that of the names among them: a file that needs more fails the export;
    `items_per_buffer_write` of the writer makes files smaller.

    Equal records give equal bytes. Files are written to a temporary file first, which takes little memory.

    Example:
        exporter_options:
          formatter:
            name: xlsx
            options:
              fields: [name, price, updated]
              sheet: Prices
    """

    kind: ClassVar[str] = "formatter"
    extension: ClassVar[str] = "xlsx"

    fields: tuple[str, ...] = option("columns, in this order", type="str_list", example=["name", "price"])
    sheet: str = option("the name of the sheet", default="Sheet1", example="Prices")
    show_titles: bool = option("whether the sheet begins with a row of names", type="bool", default=True)
    bold_titles: bool = option("whether these names are bold", type="bool", default=True)
    date_format: str = option("how Excel shows dates", default="yyyy-mm-dd", example="dd.mm.yyyy")
    datetime_format: str = option("how Excel shows dates with a time", default="yyyy-mm-dd hh:mm:ss")

    def __post_init__(self) -> None:
        if not self.fields:
            raise ConfigError("fields: give the columns")
        if len(self.fields) > MOST_COLUMNS:
            raise ConfigError(f"fields: a sheet of Excel has {MOST_COLUMNS:,} columns, and these are {len(self.fields):,}")
        seen: set[str] = set()
        for name in self.fields:
            if name in seen:
                raise ConfigError(f"fields: two columns are called {name!r}; a sheet has one of each name")
            seen.add(name)
            if (why := _unfit(name)) is not None:
                raise ConfigError(f"fields: the name {cut(name)} {why}")
        named = 0 < len(self.sheet) <= 31 and self.sheet.isprintable() and self.sheet.lower() != "history"
        if not named or set(self.sheet) & set("[]:*?/\\") or "'" in (self.sheet[0], self.sheet[-1]):
            raise ConfigError(
                f"sheet: {cut(self.sheet)!r} cannot be the name of a sheet: it has 1 to 31 characters, none of []:*?/\\ and no "
                "apostrophe at its ends, and is not History"
            )
        for name in ("date_format", "datetime_format"):
            if not getattr(self, name):
                raise ConfigError(f'{name}: it is empty; give a format of Excel such as "yyyy-mm-dd"')

    def setup(self) -> None:
        _writer()

    @property
    def needs(self) -> frozenset[str] | None:
        """The fields that files will have."""
        return frozenset(self.fields)

    @property
    def sought(self) -> tuple[tuple[str, Key], ...]:
        """The columns that the config names, by what it calls them."""
        return tuple((name, Key.of(name, "")) for name in self.fields)

    @property
    def reads_back(self) -> XlsxDeserializer:
        """What reads the files again."""
        return XlsxDeserializer(sheet=self.sheet, fields=() if self.show_titles else self.fields, empty_rows="keep")

    def encode(self, records: Sequence[Record]) -> tuple[bytes, bytes]:
        """A block: its rows as JSON. Raises RecordError where Excel cannot hold a value."""
        rows = []
        for record in records:
            if not isinstance(record, dict):
                raise RecordError(f"a sheet cannot hold {cut(record)}, which is not a mapping")
            rows.append([_cell(record.get(name), name) for name in self.fields])
        return orjson.dumps(rows), b""

    def assemble(self, blocks: Iterable[tuple[bytes, Sequence[int] | None]], schemas: Sequence[bytes], out: BinaryIO) -> None:
        """Write one file, a row in memory at a time. Raises RecordError where a sheet cannot hold so many."""
        with tempfile.TemporaryFile() as file:
            book = _writer()(file, {"constant_memory": True})
            try:
                self._write(book, blocks)
            finally:
                book.close()
            file.seek(0)
            shutil.copyfileobj(file, out, 1 << 20)

    def _write(self, book: Any, blocks: Iterable[tuple[bytes, Sequence[int] | None]]) -> None:
        book.set_properties({"created": datetime(2000, 1, 1)})
        sheet = book.add_worksheet(self.sheet)
        formats = {
            _DATE: book.add_format({"num_format": self.date_format}),
            _DATETIME: book.add_format({"num_format": self.datetime_format}),
            _TIME: book.add_format({"num_format": "hh:mm:ss"}),
        }
        number = 0
        if self.show_titles:
            bold = book.add_format({"bold": True}) if self.bold_titles else None
            for column, name in enumerate(self.fields):
                sheet.write_string(0, column, name, bold)
            number = 1
        for payload, indices in blocks:
            rows = orjson.loads(payload)
            for row in rows if indices is None else map(rows.__getitem__, indices):
                if number >= MOST_ROWS:
                    raise RecordError(
                        f"a sheet of Excel has {MOST_ROWS:,} rows, and the file needs more; set items_per_buffer_write of the "
                        f"writer to {MOST_ROWS - 1:,} or less"
                    )
                if not any(value is not None for value in row):
                    sheet.write_string(number, 0, "")  # A row without cells at the end would be none.
                _write_row(sheet, number, row, formats)
                number += 1


def _write_row(sheet: Any, number: int, row: _Row, formats: dict[str, Any]) -> None:
    for column, value in enumerate(row):
        if value is None:
            continue
        if isinstance(value, str):
            sheet.write_string(number, column, value)
        elif isinstance(value, bool):
            sheet.write_boolean(number, column, value)
        elif isinstance(value, list):
            sheet.write_number(number, column, value[0], formats[value[1]])
        else:
            sheet.write_number(number, column, value)


def _writer() -> Any:
    try:
        from xlsxwriter import Workbook
    except ImportError:
        raise MissingExtra("the formatter xlsx", _EXTRA) from None
    return Workbook


def _cell(value: object, name: str) -> object:
    """A value as its block holds it: null, a boolean, a number, a text, or a number with the format of its cell."""
    if isinstance(value, Enum):
        return _cell(value.value, name)
    if isinstance(value, datetime):
        moment = value.astimezone(timezone.utc).replace(tzinfo=None) if value.tzinfo else value
        return [_days(moment.date(), name) + _fraction(moment.time()), _DATETIME]
    if isinstance(value, date):
        return [_days(value, name), _DATE]
    if isinstance(value, time) and value.tzinfo is None:
        return [_fraction(value), _TIME]
    simple = cell(value, name)
    why = None
    if isinstance(simple, str):
        why = _unfit(simple)
    elif isinstance(simple, float) and not math.isfinite(simple):
        why = "is no number for Excel"
    elif isinstance(simple, (int, Decimal)) and not isinstance(simple, bool):
        if isinstance(simple, Decimal):
            digits = len("".join(map(str, simple.as_tuple().digits)).strip("0")) if simple.is_finite() else MOST_DIGITS + 1
            simple = float(simple) if digits <= MOST_DIGITS else simple
        else:
            digits = MOST_DIGITS + 1 if abs(simple) >= 10**300 else len(str(abs(simple)).rstrip("0"))
            simple = simple if abs(simple) < 1 << 53 or digits > MOST_DIGITS else float(simple)
        if digits > MOST_DIGITS or (isinstance(simple, float) and not math.isfinite(simple)):
            why = f"has more than {MOST_DIGITS} digits, which Excel cuts; make it a text (types of the transform fields)"
    if why is not None:
        raise RecordError(f'in the column "{cut(name)}": {cut(str(simple))} {why}')
    return simple


def _unfit(text: str) -> str | None:
    """Why a cell cannot hold a text, None where it can."""
    if not text.isascii():
        if any("\ud800" <= char <= "\udfff" or char in "\ufffe\uffff" for char in text):
            return "holds a character that XML does not allow"
        length = len(text) + sum(char > "\uffff" for char in text)
    else:
        length = len(text)
    if length > MOST_CHARACTERS:
        return f"has {length:,} characters, and a cell of Excel {MOST_CHARACTERS:,}; shorten it, or leave the field out"
    return None


def _days(day: date, name: str) -> int:
    if day < _FIRST_DAY:
        raise RecordError(
            f'in the column "{cut(name)}": Excel counts days wrongly before 1900-03-01, and this is {day.isoformat()}; '
            "make it a text (types of the transform fields)"
        )
    return (day - _ORIGIN).days


def _fraction(moment: time) -> float:
    """A time as a part of the day."""
    milliseconds = ((moment.hour * 60 + moment.minute) * 60 + moment.second) * 1000 + moment.microsecond // 1000
    return milliseconds / 86_400_000


@dataclass(frozen=True, kw_only=True)
class XlsxDeserializer:
    """Read a sheet of workbooks of Excel (.xlsx, also .xlsm, .xlsb, .xls and OpenDocument .ods): a row is a record.

    The first row that has values names the columns, unless `fields` names them. Cells give texts, booleans, numbers (7.0 is
    7, as Excel shows it), dates, datetimes and times; empty cells and empty texts are null, durations texts such as
    `26:00:00`. Of formulas the value counts that the workbook holds. Empty rows are passed over.

    A workbook that is damaged or has a password, a sheet that is not there, and a name that two columns have fail the file. A
    row with a value in a column without a name fails its record. Numbers in messages count records behind the names.
    A workbook is in memory as a whole while it is read. One whose name does not end as above needs `decompressor: none`, since
    it is taken for an archive otherwise.

    Example:
        deserializer:
          name: xlsx
          options: {sheet: Prices, skip_rows: 2}
    """

    kind: ClassVar[str] = "deserializer"

    sheet: str = option("the name of the sheet; the first one if not given", default="", example="Prices")
    fields: tuple[str, ...] = option("names of the columns, where the sheet has no row of names", type="str_list", default=())
    skip_rows: int = option("rows to pass over at the beginning of the sheet", type="int", default=0, minimum=0)
    empty_rows: str = option("rows without values: passed over, or records of nulls", default="skip", choices=("skip", "keep"))
    max_unpacked_bytes: int = option(
        "bytes that a workbook may have when it is unpacked; more is an error", type="int", default=1 << 30, minimum=1
    )

    def __post_init__(self) -> None:
        if (twice := _twice(self.fields)) is not None:
            raise ConfigError(f"fields: two columns are called {twice!r}; give each a name of its own")

    def setup(self) -> None:
        _calamine()

    def chunks(self, stream: BinaryIO) -> Iterator[tuple[Any, int, int]]:
        data = self._read(stream)
        if not data:
            return
        header = self.fields
        waiting: list[_Row] = []
        rows = self._rows(data)
        share = len(data) / max(1, len(rows))
        for row in rows:
            if not header:
                header = _names(row)
            elif self.empty_rows == "keep" or any(value is not None for value in row):
                waiting.append(row)
            if len(waiting) >= CHUNK_ROWS:
                yield (header, waiting), len(waiting), 1 + int(share * len(waiting))
                waiting = []
        if waiting:
            yield (header, waiting), len(waiting), 1 + int(share * len(waiting))

    def decode(self, data: tuple[tuple[str, ...], list[_Row]]) -> list[Record]:
        header, rows = data
        return [_record(header, row) for row in rows]

    def decode_each(self, data: tuple[tuple[str, ...], list[_Row]]) -> Iterator[tuple[int, Record | Exception, object]]:
        header, rows = data
        for number, row in enumerate(rows):
            try:
                yield number, _record(header, row), row
            except RecordError as error:
                yield number, error, row

    def _read(self, stream: BinaryIO) -> bytes:
        pieces, size = [], 0
        while piece := stream.read(1 << 20):
            pieces.append(piece)
            size += len(piece)
            if size > self.max_unpacked_bytes:
                raise self._large(size)
        data = b"".join(pieces)
        if data.startswith(b"PK"):
            try:
                with zipfile.ZipFile(io.BytesIO(data)) as packed:
                    size = sum(each.file_size for each in packed.infolist())
            except (zipfile.BadZipFile, ValueError, OSError) as error:
                raise SourceError(f"it is no workbook of Excel: {one_line(str(error), 200)}") from None
            if size > self.max_unpacked_bytes:
                raise self._large(size)
        return data

    def _large(self, size: int) -> SourceError:
        return SourceError(
            f"the workbook has {size:,} bytes and more when it is unpacked; where that is right, raise max_unpacked_bytes"
        )

    def _rows(self, data: bytes) -> list[_Row]:
        """The rows of the sheet from its beginning, without what `skip_rows` passes over."""
        try:
            book = _calamine().from_filelike(io.BytesIO(data))
            names = book.sheet_names
            if self.sheet and self.sheet not in names:
                raise SourceError(f"the workbook has no sheet called {self.sheet!r}{did_you_mean(self.sheet, sorted(names))}")
            if not names:
                raise SourceError("the workbook has no sheets")
            found = book.get_sheet_by_name(self.sheet or names[0])
            rows = found.to_python(skip_empty_area=False)
        except (SourceError, MissingExtra, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # The library tells some faults of a file as a panic.
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            raise SourceError(f"it is no workbook that can be read: {one_line(str(error), 200)}") from None
        return [[_value(value) for value in row] for row in rows[self.skip_rows :]]


def _calamine() -> Any:
    try:
        from python_calamine import CalamineWorkbook
    except ImportError:
        raise MissingExtra("the deserializer xlsx", _EXTRA) from None
    return CalamineWorkbook


def _value(value: Any) -> Any:
    if value == "":
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    if isinstance(value, timedelta):
        seconds, sign = round(abs(value.total_seconds())), "-" if value < timedelta() else ""
        return f"{sign}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return value


def _names(row: _Row) -> tuple[str, ...]:
    """The names of columns, "" for those without one; none where the row is empty."""
    if all(value is None for value in row):
        return ()
    names = tuple("" if value is None else str(value) for value in row)
    if (twice := _twice(filter(None, names))) is not None:
        raise SourceError(
            f"the sheet has two columns called {cut(twice)}, and records can hold one of them; name the columns with fields "
            "and pass over the names with skip_rows"
        )
    return names


def _record(header: tuple[str, ...], row: _Row) -> Record:
    record = dict.fromkeys(filter(None, header))
    for n, value in enumerate(row):
        name = header[n] if n < len(header) else ""
        if name:
            record[name] = value
        elif value is not None:
            raise RecordError(
                f"the row has {cut(repr(value))} in the column {_letters(n)}, which has no name; name the columns with fields"
            )
    return record


def _letters(column: int) -> str:
    """What Excel calls a column."""
    text = ""
    while column >= 0:
        text = chr(65 + column % 26) + text
        column = column // 26 - 1
    return text


def _twice(names: Iterable[str]) -> str | None:
    seen: set[str] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)  # type: ignore[func-returns-value]
