"""A subclass that does something else than its base delivers that, with and without pushdown."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import exporters_beam
from exporters_beam.components import registry
from exporters_beam.components.traits import DESCRIBES
from exporters_beam.compressions.auto import Auto
from exporters_beam.compressions.none import Plain
from exporters_beam.compressions.zip import Zip
from exporters_beam.config.spec import load
from exporters_beam.engine.source import Source
from exporters_beam.errors import RecordError
from exporters_beam.formats.csv import CsvDeserializer, CsvFormat
from exporters_beam.formats.json_lines import JsonLinesDeserializer
from exporters_beam.formats.json_text import JsonFormat
from exporters_beam.formats.parquet import ParquetDeserializer, ParquetFormat
from exporters_beam.planning.plan import make
from exporters_beam.readers.fs import FsReader
from exporters_beam.records import Chunk
from exporters_beam.storages.s3 import S3Reader, S3Writer
from exporters_beam.transforms.filters import JsonSchemaFilter, KeyValueFilter, KeyValueRegexFilter, PythonexpFilter
from exporters_beam.transforms.groupers import FileKeyGrouper, PythonExpGrouper
from exporters_beam.transforms.mappers import NoTransform, PythonexpTransform

from beamless import outcome


class Unless:
    """What several filters do besides: drop the records that `b` names."""

    def keep(self, record: Any) -> Any:
        return super().keep(record) and record.get("b") != "no"  # type: ignore[misc]


@dataclass(frozen=True, kw_only=True)
class Equal(Unless, KeyValueFilter):
    """Key value."""


@dataclass(frozen=True, kw_only=True)
class Regex(KeyValueRegexFilter):
    """Regex."""

    def keep(self, record: Any) -> Any:
        record["b"] = "seen"
        return super().keep(record)


@dataclass(frozen=True, kw_only=True)
class Expression(Unless, PythonexpFilter):
    """Expression."""


@dataclass(frozen=True, kw_only=True)
class Contract(Unless, JsonSchemaFilter):
    """Contract."""


@dataclass(frozen=True, kw_only=True)
class Never(Equal):
    """Below a subclass."""

    def keep(self, record: Any) -> Any:
        return not super().keep(record)


@dataclass(frozen=True, kw_only=True)
class Told(KeyValueFilter):
    """One that says anew what it reads."""

    reads = frozenset(("a", "b"))

    def keep(self, record: Any) -> Any:
        return super().keep(record) and record.get("b") == "x"


@dataclass(frozen=True, kw_only=True)
class Adding(PythonexpTransform):
    """Adding."""

    def map(self, record: Any) -> Any:
        record = super().map(record)
        return {**record, "b": str(record["b"]).upper(), "c": 1}


@dataclass(frozen=True, kw_only=True)
class Nothing(NoTransform):
    """Nothing."""

    def map(self, record: Any) -> Any:
        return {"d": record["b"]}


@dataclass(frozen=True, kw_only=True)
class ByTwo(FileKeyGrouper):
    """By two."""

    def key(self, record: Any) -> tuple[str, ...]:
        return (f"{super().key(record)[0]}-{record['b']}",)


@dataclass(frozen=True, kw_only=True)
class ByMore(PythonExpGrouper):
    """By more."""

    def key(self, record: Any) -> tuple[str, ...]:
        return (f"{super().key(record)[0]}-{record.pop('b')}",)


@dataclass(frozen=True, kw_only=True)
class Lines(JsonLinesDeserializer):
    """Lines."""

    def decode(self, data: Any) -> Any:
        return [{**record, "e": len(record)} for record in super().decode(data)]

    def decode_each(self, data: Any) -> Any:
        for number, record, raw in super().decode_each(data):
            yield number, record if isinstance(record, RecordError) else {**record, "e": len(record)}, raw


@dataclass(frozen=True, kw_only=True)
class Rows(CsvDeserializer):
    """Rows."""

    def decode(self, data: Any) -> Any:
        return [{**record, "e": len(record)} for record in super().decode(data)]


@dataclass(frozen=True, kw_only=True)
class Tables(ParquetDeserializer):
    """Tables."""

    def decode(self, data: Any) -> Any:
        return [{**record, "a": -record["a"]} for record in super().decode(data)]


@dataclass(frozen=True, kw_only=True)
class Shouting(JsonFormat):
    """Shouting."""

    def format(self, record: Any) -> bytes:
        return super().format({key.upper(): value for key, value in record.items()})


@dataclass(frozen=True, kw_only=True)
class Wide(CsvFormat):
    """Wide."""

    def format(self, record: Any) -> bytes:
        return super().format({"a": ",".join(record)})


@dataclass(frozen=True, kw_only=True)
class Typed(ParquetFormat):
    """Typed."""

    def encode(self, records: Any, *types: Any) -> Any:
        return super().encode([{**record, "f": 1} for record in records], *types)


def own(kind: type, **options: Any) -> dict[str, Any]:
    return {"name": f"{__name__}:{kind.__name__}", "options": options}


ONE = {"keys": [{"name": "a", "value": 1}]}
ADD = {"name": "pythonexp", "options": {"python_expressions": ["item.update(n=item['a'])"]}}
SAME = {"name": "pythonmap", "options": {"map": "item"}}
CASES: dict[str, dict[str, Any]] = {
    "key_value": {"filter_before": own(Equal, **ONE)},
    "key_value to csv": {
        "filter_before": own(Equal, **ONE), "formatter": {"name": "csv", "options": {"fields": ["a"]}},
    },
    "key_value and group": {"filter_before": own(Equal, **ONE), "grouper": {"name": "file_key", "options": {"keys": ["a"]}}},
    "key_value and add": {"filter_before": own(Equal, **ONE), "transform": ADD},
    "add and key_value": {"transform": ADD, "filter_after": own(Equal, **ONE)},
    "regex": {"filter_before": own(Regex, keys=[{"name": "a", "value": "1"}])},
    "expression": {"filter_before": own(Expression, python_expression="item['a'] == 1")},
    "contract": {"filter_before": own(Contract, schema={"required": ["a"]}, on_violation="drop")},
    "below": {"filter_before": own(Never, **ONE)},
    "told": {"filter_before": own(Told, **ONE)},
    "map": {"transform": own(Adding, python_expressions=["item.update(n=item['a'])"])},
    "map of nothing": {"transform": own(Nothing)},
    "key": {"grouper": own(ByTwo, keys=["a"])},
    "key behind a transform": {"transform": SAME, "grouper": own(ByTwo, keys=["a"])},
    "key by expression": {"grouper": own(ByMore, python_expressions=["item['a']"])},
    "lines": {"deserializer": own(Lines)},
    "lines and filter": {"deserializer": own(Lines), "filter_before": {"name": "key_value", "options": ONE}},
    "format": {"formatter": own(Shouting)},
    "format and add": {"formatter": own(Shouting), "transform": ADD},
    "format of a change": {"formatter": own(Shouting), "transform": SAME},
    "csv": {"formatter": own(Wide, fields=["a"])},
    "rows": {"deserializer": own(Rows)},
    "rows and filter": {
        "deserializer": own(Rows), "filter_before": {"name": "key_value", "options": {"keys": [{"name": "a", "value": "1"}]}},
    },
    "tables": {
        "deserializer": own(Tables), "formatter": "parquet",
        "filter_before": {"name": "key_value", "options": {"keys": [{"name": "a", "value": -1}]}},
    },
    "typed": {"deserializer": "parquet", "formatter": own(Typed)},
}  # fmt: skip
RECORDS = [{"a": 1, "b": "x"}, {"a": 1, "b": "no"}, {"a": 2, "b": "x"}, {"a": 1, "b": "y", "n": 5}]


@pytest.mark.parametrize("case", CASES)
def test_what_a_subclass_does_is_done_with_and_without_pushdown(case: str, tmp_path: Path) -> None:
    sections = dict(CASES[case])
    path = tmp_path / "in"
    if case in ("tables", "typed"):
        pq.write_table(pa.Table.from_pylist(RECORDS[:3]), path)
    elif case.startswith("rows"):
        path.write_text("a,b\n1,x\n1,no\n2,x\n")
    else:
        path.write_bytes(b"".join(json.dumps(record).encode() + b"\n" for record in RECORDS))
    more = {"formatter": sections.pop("formatter")} if "formatter" in sections else {}
    found = [
        outcome({
            "reader": {"name": "fs", "options": {"input": str(path)}},
            "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/"}},
            "exporter_options": {"pushdown": pushdown, **more}, **sections,
        })
        for pushdown in (True, False)
    ]  # fmt: skip
    assert found[0].error == "" and found[0].counts["kept"] > 0
    assert found[0] == found[1]
    if case in ("tables", "typed"):
        rows = pq.read_table(io.BytesIO(found[0].groups[()])).to_pylist()
        assert [(row["a"], row.get("f")) for row in rows] == [(-1, None)] * 2 if case == "tables" else [(1, 1), (1, 1), (2, 1)]
    if case == "format":
        assert found[0].groups[()].startswith(b'{"A":1,"B":"x"}')
    if case == "key_value":
        assert found[0].groups[()] == b'{"a": 1, "b": "x"}\n{"a": 1, "b": "y", "n": 5}'.replace(b" ", b"")


class Loud(io.BytesIO):
    """The text of a stream, which stays open, in capital letters."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream.read().upper())
        self.stream = stream


@dataclass(frozen=True, kw_only=True)
class Upper(Plain):
    """Upper."""

    def open(self, raw: Any) -> Any:
        return Loud(super().open(raw))


@dataclass(frozen=True, kw_only=True)
class Guess(Auto):
    """Guess."""

    def open(self, raw: Any) -> Any:
        return Loud(super().open(raw))


@dataclass(frozen=True, kw_only=True)
class Members(Zip):
    """Members."""

    def open(self, raw: Any) -> Any:
        return Loud(super().open(raw))


@pytest.mark.parametrize("kind", [Upper, Guess, Members])
def test_what_a_decompressor_opens_is_read_however_large_the_file(kind: type, tmp_path: Path) -> None:
    path = tmp_path / "in"
    text = b"".join(b'{"a": "x%d"}\n' % n for n in range(100))
    path.write_bytes(text)
    if kind is Members:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.jl", text)
    source = Source(FsReader(input=str(path)), kind(), JsonLinesDeserializer(), range_bytes=100)
    (unit,) = source.units()
    found = [record for _, chunk, _ in source.events(unit, source.span(unit))
             if isinstance(chunk, Chunk) for record in source.records(chunk)]  # fmt: skip
    assert found == [{"A": f"X{n}"} for n in range(100)]


@dataclass(frozen=True, kw_only=True)
class Opening(S3Reader):
    """Opening."""

    def open(self, unit: Any) -> Any:
        return io.BytesIO(super().open(unit).read().upper())


@dataclass(frozen=True, kw_only=True)
class Sealing(S3Writer):
    """Sealing."""

    def publish(self, file: Any, fill: Any, scratch: str) -> Any:
        return super().publish(file, lambda out: out.write(b"sealed"), scratch)


@pytest.mark.parametrize(("reader", "writer", "copied"), [
    ("s3", "s3", True), (f"{__name__}:Opening", "s3", False), ("s3", f"{__name__}:Sealing", False),
])  # fmt: skip
def test_objects_are_not_copied_past_what_opens_or_publishes_otherwise(reader: str, writer: str, copied: bool) -> None:
    at = {"bucket": "b", "aws_access_key_id": "k", "aws_secret_access_key": "s"}
    options = {**at, "filebase": "out/", "compression": "gz"}
    spec = load(
        {"reader": {"name": reader, "options": {**at, "prefix": "in/"}}, "writer": {"name": writer, "options": options}}
    )
    assert make(spec).copied is copied


@dataclass(frozen=True, kw_only=True)
class Titled(CsvFormat):
    """Titled."""

    @property
    def header(self) -> bytes:
        return b"# titled\n" + super().header


def test_a_file_without_records_has_the_header_of_the_subclass(tmp_path: Path) -> None:
    config = {
        "reader": {"name": "memory", "options": {"records": []}}, "empty": "file", "formatter": own(Titled, fields=["a"]),
        "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/p-", "compression": "none"}},
    }  # fmt: skip
    (file,) = exporters_beam.run(config).files
    assert Path(file["name"]).read_bytes().startswith(b'# titled\n"a"\n')


def test_every_component_of_ours_offers_what_it_declares() -> None:
    """What none of their own subclasses takes back."""
    offered = 0
    for entry in registry.ENTRIES:
        component = registry.load(entry)
        for name in DESCRIBES:
            if hasattr(component, name):
                offered += 1
                offers = next(n for n, each in enumerate(component.__mro__) if name in vars(each))
                for method in DESCRIBES[name]:
                    at = next((n for n, each in enumerate(component.__mro__) if method in vars(each)), offers)
                    assert at >= offers, (component, name, method)
    assert offered > 20
