"""The first records of some files, and the deserializer that makes the most of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from exporters_beam.components import registry
from exporters_beam.components.options import build
from exporters_beam.engine.source import Source
from exporters_beam.errors import ConfigError, RecordError, SourceError
from exporters_beam.formats.parquet_footer import read as footer
from exporters_beam.records import Failure, Mark, Record, Unit
from exporters_beam.starting.looks import ASCII, CP1252, FORMATS, LATIN1, UTF8, Look, named_form

FILES = 20
"""So many files are opened."""

RECORDS = 5000
"""Records that are looked at in all files together."""

CHUNKS = 16
"""Chunks of 256 KiB or more that are read of a file."""


@dataclass
class Sample:
    """What a deserializer made of the first records of files."""

    deserializer: str
    options: dict[str, Any]
    records: list[Record] = field(default_factory=list)
    failed: int = 0
    wrong: str = ""
    """The first thing that was wrong."""
    broken: int = 0
    """Files that could not be read on."""
    whole: bool = True
    """Whether the files were read to their ends."""
    share: float = 0.0
    """The part of their bytes that was read, of files whose position tells it."""
    bytes: int = 0
    """The bytes of the files."""


@dataclass(frozen=True)
class _Watched(Source):
    """A source that keeps the streams it opens, whose positions tell how far it has read."""

    raws: list[BinaryIO] = field(default_factory=list, compare=False)

    def opened(self, unit: Unit) -> BinaryIO:
        raw = super().opened(unit)
        self.raws.append(raw)
        return raw


def watched(source: Source, name: str, options: dict[str, Any]) -> _Watched:
    """The source with this deserializer."""
    made = build(registry.load(registry.find("deserializer", name)), options, {})
    return _Watched(source.reader, source.decompressor, made, source.range_bytes, source.folder, source.names)


def sample_of(source: Source, units: Sequence[Unit], name: str, options: dict[str, Any]) -> Sample:
    """The first records of the units as this deserializer reads them. What is wrong with them is counted."""
    found = Sample(name, options)
    reading = watched(source, name, options)
    each = max(100, RECORDS // max(1, len(units)))
    read = 0.0
    for unit in units:
        try:
            read += _first_of(reading, unit, found, each) * max(0, unit.size)
        except (SourceError, RecordError, OSError) as error:
            found.broken += 1
            found.wrong = found.wrong or str(error)
        reading.raws.clear()
    found.bytes = sum(max(0, unit.size) for unit in units)
    found.share = read / found.bytes if found.bytes else 0.0
    return found


def _first_of(reading: _Watched, unit: Unit, found: Sample, most: int) -> float:
    """Adds the first records of a unit, and tells which part of it was read."""
    before, chunks = len(found.records), 0
    for _, chunk, _ in reading.events(unit, reading.span(unit)):
        if chunk is None or isinstance(chunk, Mark):
            continue
        chunks += 1
        for record in _records(reading, chunk):
            if isinstance(record, Failure):
                found.failed += 1
                found.wrong = found.wrong or f"{unit.name}: record {record.position[2] + 1}: {record.message}"
            else:
                found.records.append(record)
        if len(found.records) - before >= most or chunks >= CHUNKS:
            part = _part(reading, unit, len(found.records) - before)
            found.whole = found.whole and part == 1
            return part
    return 1.0


def _part(reading: _Watched, unit: Unit, records: int) -> float:
    """Which part of a unit was read, as its footer or the position in it tells; 0 where nothing does."""
    try:
        if reading.decoder.row_groups is None:
            return min(1.0, reading.raws[-1].tell() / unit.size) if unit.size > 0 else 0.0
        with reading.opened(unit) as raw:
            return min(1.0, records / max(1, footer(raw).rows))
    except (OSError, ValueError, SourceError):
        return 0.0


def _records(reading: Source, chunk: Any) -> Iterator[Any]:
    try:
        yield from reading.records(chunk)
    except Exception:
        yield from (record for _, record, _ in reading.decode_each(chunk))


def best_of(source: Source, units: Sequence[Unit], looks: Sequence[Look]) -> Sample:
    """The sample of the deserializer that reads all files, or the most of them. Raises SourceError where none reads any."""
    tried: list[Sample] = []
    for name, options in candidates(looks):
        with suppress(ConfigError):
            sample = sample_of(source, units, name, options)
            tried.append(sample)
            if not sample.broken and not sample.failed:
                break
    best = min(tried, key=lambda each: (each.broken, each.failed), default=None)
    if best is None:
        raise SourceError("there is no way to read these files")
    if best.wrong and len(best.records) < max(1, best.failed):
        raise SourceError(best.wrong)
    return best


def candidates(looks: Sequence[Look]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Deserializers with options, what is likely first. Raises SourceError where files are not alike."""
    seen = [look for look in looks if look.form]
    if not seen:
        yield _by_names(looks)
        return
    _refuse_mixture(seen)
    first = seen[0]
    if first.form == "xml":
        yield "xml", {} if first.item_name == "item" else {"item_name": first.item_name}
    elif first.form in ("json", "jsonlines"):
        forms = list(dict.fromkeys(look.form for look in seen))
        for form in [*sorted(forms, key=lambda form: form != "json"), *sorted({"json", "jsonlines"} - {*forms})]:
            yield form, {}
    elif first.form == "csv":
        yield from _of_rows(seen)
    else:
        yield first.form, {}


def _by_names(looks: Sequence[Look]) -> tuple[str, dict[str, Any]]:
    """Where all files are empty: what their names say. Raises SourceError."""
    names = {named_form(look.name) for look in looks} or {""}
    form = names.pop()
    if names or form not in FORMATS:
        what = looks[0].name if looks else "the input"
        raise SourceError(f"{what}: it is empty, and its name does not tell what would be in it; give a file that has records")
    return form, {"delimiter": "\t"} if form == "csv" and looks[0].name.lower().rstrip("gz.").endswith((".tsv", ".tab")) else {}


def _refuse_mixture(seen: Sequence[Look]) -> None:
    first = seen[0]
    for other in seen[1:]:
        if {first.form, other.form} == {"json", "jsonlines"}:
            continue  # The deserializer json reads objects one behind the other, too.
        if other.form != first.form:
            raise SourceError(
                f"the files are not of one format: {first.name} is {FORMATS[first.form]}, "
                f"{other.name} is {FORMATS[other.form]}; name those of one format by a pattern, as in --from 'in/*.csv'"
            )
        if other.item_name != first.item_name:
            raise SourceError(
                f"the files are not alike: records are <{first.item_name}> in {first.name} and <{other.item_name}> in "
                f"{other.name}; name those that are by a pattern"
            )
        if other.dialect and first.dialect and other.dialect.delimiter != first.dialect.delimiter:
            pair = (first.dialect.delimiter, other.dialect.delimiter)
            raise SourceError(
                f"the files are not alike: values stand between {pair[0]!r} in {first.name} and between {pair[1]!r} in "
                f"{other.name}; name those that are by a pattern"
            )
    sure = [look for look in seen if look.dialect and look.dialect.sure]
    for other in sure[1:]:
        if other.dialect and sure[0].dialect and other.dialect.header != sure[0].dialect.header:
            with_names, without = (sure[0], other) if sure[0].dialect.header else (other, sure[0])
            raise SourceError(
                f"the files are not alike: the first row of {with_names.name} has names, that of {without.name} has values; "
                "name those that are by a pattern"
            )
    told = [look for look in seen if look.encoding != ASCII]
    single = {CP1252, LATIN1}
    for other in told[1:]:
        if other.encoding != told[0].encoding and not {other.encoding, told[0].encoding} <= single and first.form == "csv":
            raise SourceError(
                f"the files are not of one encoding: {told[0].name} is {told[0].encoding}, {other.name} is {other.encoding}; "
                "convert them, or name those of one by a pattern"
            )


def _of_rows(seen: Sequence[Look]) -> Iterator[tuple[str, dict[str, Any]]]:
    first = next((look for look in seen if look.dialect and look.dialect.sure), seen[0])
    dialect = first.dialect
    assert dialect is not None
    encodings = {look.encoding for look in seen} - {ASCII} or {UTF8}
    encoding = LATIN1 if LATIN1 in encodings else sorted(encodings)[0]
    options: dict[str, Any] = {}
    if dialect.delimiter != ",":
        options["delimiter"] = dialect.delimiter
    if dialect.quotechar != '"':
        options["quotechar"] = dialect.quotechar
    if dialect.before:
        options["skip_lines"] = dialect.before
    if encoding != UTF8:
        options["encoding"] = encoding
    if not dialect.header:
        options["fields"] = list(dialect.names)
    elif len(set(dialect.names)) < len(dialect.names):
        options["duplicate_names"] = "last"
    for loose in (
        {},
        {"bare_quotes": "keep"},
        {"ragged": "null"},
        {"ragged": "keep"},
        {"ragged": "keep", "bare_quotes": "keep"},
        {"ragged": "keep", "quotechar": ""},
    ):
        yield "csv", {**options, **loose}
    if encoding == UTF8 and not any(look.mixed for look in seen):
        for guess in (CP1252, LATIN1):
            yield "csv", {**options, "encoding": guess}
