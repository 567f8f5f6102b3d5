"""Readers, steps and writers of this package as transforms of Beam YAML; `templates/beam-yaml/providers.yaml` lists them.

Records are rows where `fields` says so, which Beam YAML's own transforms need, and plain mappings elsewhere. Steps and the
writer take both. A record that cannot be read, changed or written ends the pipeline.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.utils.timestamp import Timestamp

from exporters_beam.components.ready import explain, ready
from exporters_beam.components.traits import StepMethod, StepTraits, method_of, work_of
from exporters_beam.components.words import shortened
from exporters_beam.config.spec import load
from exporters_beam.engine.delivery import TALLIES, TYPED
from exporters_beam.engine.encode import EncodeBlocks
from exporters_beam.engine.failures import FailedRecord, FailTheExport
from exporters_beam.engine.graph import (
    Flowing,
    KeyedBytes,
    build,
    deliver,
    delivery_of,
    read,
    settled,
    source_of,
    typed_ranges,
)
from exporters_beam.engine.source import Places
from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.planning.place import books_of
from exporters_beam.planning.plan import Plan, make
from exporters_beam.records import Batch, Failure, Mark, Unit
from exporters_beam.runners.launch import check
from exporters_beam.staging.letters import from_json, to_json
from exporters_beam.staging.run import Run
from exporters_beam.staging.segments import Staging
from exporters_beam.transforms.steps import BATCH_RECORDS, FAILED

TYPES: dict[str, Any] = {"string": str, "integer": int, "number": float, "boolean": bool}

SHARDS = 16
"""Into how many parts the records to be written are divided; each is put in order in memory."""

Fields = Mapping[str, tuple[str, str]]
"""By name in the row: (name in the record, type)."""


class Read(beam.PTransform):
    """Read records with a reader of this package.

    Args:
      reader: the section `reader` of a config: name and options.
      decompressor: the section `decompressor`; without it what the content says.
      deserializer: the section `deserializer`; without it JSON lines.
      fields: names of fields and their types (string, integer, number, boolean); rows with these are given then. Rows
        take no name that begins with _; write {key: {field: _key, type: string}}.
    """

    _yaml_requires_inputs = False

    def __init__(self, reader: Any, decompressor: Any = None, deserializer: Any = None, fields: Any = None) -> None:
        super().__init__()
        self._fields = _checked(fields)
        sections = {"reader": reader, "decompressor": decompressor, "deserializer": deserializer}
        formatter = {"name": "json", "options": {"reencode": True}}  # records are wanted, not lines handed on
        spec = load({**{name: value for name, value in sections.items() if value}, "writer": "console", "formatter": formatter})
        list(check(spec))
        self._plan = make(spec)

    def expand(self, begin: Any) -> Any:
        source = source_of(self._plan)
        units = begin.pipeline | "ListUnits" >> beam.Create([b""], reshuffle=False) | beam.ParDo(_Units(source))
        run = Run(self._plan.export_id, Staging(""), "", "")
        records, failed = read(self._plan, units, run, source)
        failed | "on_error" >> beam.ParDo(FailTheExport(Places(source)))
        for flow in (records, failed):
            flow.element_type = Flowing
        return _typed(records | "Plain" >> beam.ParDo(_Plain(self._fields)), self._fields)


class Filter(beam.PTransform):
    """Keep the records that a filter of this package keeps.

    Args:
      name: the filter's name.
      options: its options.
    """

    def __init__(self, name: str, options: Any = None) -> None:
        super().__init__()
        self._step = _component("filter_before", name, options, "keep")

    def expand(self, elements: Any) -> Any:
        kept = elements | beam.ParDo(_Apply(self._step, "keep", None))
        kept.element_type = elements.element_type
        return kept


class Transform(beam.PTransform):
    """Change records with a transform of this package.

    Args:
      name: the transform's name.
      options: its options.
      fields: names of fields and their types; rows with these are given then.
    """

    def __init__(self, name: str, options: Any = None, fields: Any = None) -> None:
        super().__init__()
        self._fields = _checked(fields)
        self._step = _component("transform", name, options, "map", "flat_map")

    def expand(self, elements: Any) -> Any:
        method = method_of(self._step)
        return _typed(elements | beam.ParDo(_Apply(self._step, method or "map", self._fields)), self._fields)


class Write(beam.PTransform):
    """Deliver records as files with a writer of this package; gives the name, records, bytes and group of each file.

    Beam keeps no order between transforms: records are delivered in the order of their JSON text, by parts, so that equal
    input gives equal files. All go through a shuffle.

    Args:
      writer: the section `writer` of a config: name and options.
      formatter: the section `formatter`; without it JSON lines.
      grouper: the section `grouper`; without it one group.
      staging: the folder to stage in, where the destination is none.
    """

    def __init__(self, writer: Any, formatter: Any = None, grouper: Any = None, staging: Any = None) -> None:
        super().__init__()
        sections = {"writer": writer, "formatter": formatter, "grouper": grouper, "staging": staging}
        memory = {"name": "memory", "options": {"records": []}}
        self._plan = make(load({"reader": memory, **{name: value for name, value in sections.items() if value}}))
        if self._plan.limit:
            raise ConfigError("items_limit: Beam keeps no order between transforms; limit the records before they are written")

    def expand(self, elements: Any) -> Any:
        plan, books = self._plan, books_of(self._plan)
        run = Run(plan.export_id, books.staging, books.scratch, books.folder)
        delivery = delivery_of(plan, run, source_of(plan))
        positioned = (
            elements
            | "Parts" >> beam.ParDo(_Part()).with_output_types(tuple[int, bytes])
            | "ByPart" >> beam.GroupByKey()
            | "InOrder" >> beam.ParDo(_InOrder())
        )
        encoded = positioned | "writer" >> beam.ParDo(EncodeBlocks("writer", delivery, run, plan.grouper)).with_outputs(
            FAILED, TALLIES, TYPED, main="blocks"
        )
        encoded[FAILED] | "on_error" >> beam.ParDo(_Fail())
        blocks = encoded["blocks"] | "Blocks" >> beam.Map(_same).with_output_types(KeyedBytes)
        booked = {"Tallies": encoded[TALLIES]}
        if delivery.finds_types:
            blocks, booked["Late"] = settled(delivery, run, blocks, typed_ranges(encoded[TYPED]))
        _, manifest = deliver(delivery, run, elements.pipeline, blocks, booked)
        for flow in (positioned, encoded[FAILED], manifest):
            flow.element_type = Flowing
        return manifest | "Delivered" >> beam.FlatMap(_delivered).with_output_types(_row(_checked(_DELIVERED) or {}))


class Export(beam.PTransform):
    """Run a whole export; gives the name, records, bytes and group of each delivered file.

    Args:
      config: the config as a mapping, or the path of its file.
      vars: values for its variables.
    """

    _yaml_requires_inputs = False

    def __init__(self, config: Any, vars: Any = None) -> None:
        super().__init__()
        spec = load(config, variables=dict(vars or {}))
        list(check(spec))
        self._plan: Plan = make(spec)

    def expand(self, begin: Any) -> Any:
        books = books_of(self._plan)
        run = Run(self._plan.export_id, books.staging, books.scratch, books.folder)
        manifest = build(self._plan, begin.pipeline, run).manifest
        return manifest | "Delivered" >> beam.FlatMap(_delivered).with_output_types(_row(_checked(_DELIVERED) or {}))


_DELIVERED = {"name": "string", "records": "integer", "bytes": "integer", "group": "string"}


def _delivered(manifest: Mapping[str, Any]) -> Iterator[beam.Row]:
    for file in manifest["files"]:
        yield beam.Row(name=str(file["name"]), records=int(file["records"]), bytes=int(file["bytes"]),
                       group=json.dumps(file.get("group", []), ensure_ascii=False))  # fmt: skip


def _checked(fields: Any) -> Fields | None:
    if fields is None:
        return None
    if not isinstance(fields, Mapping) or not fields:
        raise ConfigError("fields: write a mapping of fields to their types, e.g. {id: integer, town: string}")
    found = {}
    for name, given in fields.items():
        kind, field = (given.get("type"), given.get("field", name)) if isinstance(given, Mapping) else (given, name)
        if kind not in TYPES:
            raise ConfigError(f"fields.{name}: there is no type {kind!r}; known: {', '.join(TYPES)}")
        if str(name).startswith("_"):
            raise ConfigError(f"fields.{name}: a row takes no name that begins with _; "
                              f"write {str(name).lstrip('_')}: {{field: {name}, type: {kind}}}")  # fmt: skip
        found[str(name)] = str(field), str(kind)
    return found


def _component(section: str, name: str, options: Any, *methods: str) -> Any:
    """A step's component, checked as in a config."""
    spec = load({"reader": "random", section: {"name": name, "options": dict(options or {})}, "writer": "console"})
    found = spec.step(section)
    if found is None or method_of(found.component) not in methods:
        raise ConfigError(f"name: {name!r} looks at all records together, or at none; it cannot stand alone in Beam YAML")
    at = StepTraits.of(found.component).at
    return found.component if at is None else at(datetime.now())


def _row(fields: Fields) -> Any:
    from apache_beam.typehints.row_type import RowTypeConstraint

    optional: list[tuple[str, Any]] = [(name, TYPES[kind] | None) for name, (_, kind) in fields.items()]
    return RowTypeConstraint.from_fields(optional)


def _typed(elements: Any, fields: Fields | None) -> Any:
    elements.element_type = Flowing if fields is None else _row(fields)
    return elements


def record_of(element: Any) -> Any:
    """An element of Beam YAML as a record: rows, also those inside, become mappings, and values what Python has for them."""
    for kind in (bool, int, float):
        if isinstance(element, kind):
            return kind(element)
    if isinstance(element, str):
        return str.__str__(element)
    if isinstance(element, Timestamp):
        return element.to_utc_datetime(has_tz=True)
    if isinstance(element, (bytearray, memoryview)):
        return bytes(element)
    if isinstance(element, np.generic):
        return record_of(element.item())
    if hasattr(element, "_asdict"):
        return {name: record_of(value) for name, value in element._asdict().items()}
    if isinstance(element, beam.Row):
        return {name: record_of(value) for name, value in element.as_dict().items()}
    if isinstance(element, Mapping):
        return {str(name): record_of(value) for name, value in element.items()}
    if isinstance(element, (list, tuple)) or (isinstance(element, Sequence) and not isinstance(element, (str, bytes))):
        return [record_of(value) for value in element]
    return element


def row_of(record: Mapping[str, Any], fields: Fields) -> beam.Row:
    """A record as a row. Missing fields are null. Raises RecordError for values of another type."""
    values = {}
    for name, (field, kind) in fields.items():
        value = record.get(field)
        wanted = TYPES[kind]
        if kind == "number" and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if value is not None and (not isinstance(value, wanted) or (wanted is int and isinstance(value, bool))):
            raise RecordError(f"field {field} holds {shortened(str(value), 200)!r}, which is not of the type {kind}")
        values[name] = value
    return beam.Row(**values)


class _Units(beam.DoFn):
    def __init__(self, source: Any) -> None:
        self._source = source

    def setup(self) -> None:
        self._source = self._source.ready()

    def process(self, _: bytes) -> Iterator[Unit]:
        yield from self._source.units()


class _Plain(beam.DoFn):
    """Records without their positions."""

    def __init__(self, fields: Fields | None) -> None:
        self._fields = fields

    def process(self, element: Batch | Mark) -> Iterator[Any]:
        if isinstance(element, Mark):
            return
        for number, record in zip(element.numbers, element.records, strict=True):
            try:
                yield record if self._fields is None else row_of(record, self._fields)
            except RecordError as error:
                raise RecordError(f"{element.unit.name}: record {number + 1}: {error}") from None


class _Apply(beam.DoFn):
    """A step's component, on elements without positions."""

    def __init__(self, component: Any, method: StepMethod, fields: Fields | None) -> None:
        self._component, self._method, self._fields = component, method, fields

    def setup(self) -> None:
        self._do: Any = work_of(ready(self._component), self._method)

    def process(self, element: Any) -> Iterable[Any]:
        try:
            found = self._do(record_of(element))
            if self._method == "keep":
                return [element] if found else []
            records = [found] if self._method == "map" else list(found)
            return records if self._fields is None else [row_of(record, self._fields) for record in records]
        except Exception as error:
            raise RecordError(explain(error)) from None


class _Part(beam.DoFn):
    """Records by the part they belong to, as text that puts them in order and says of which types their values are."""

    def process(self, element: Any) -> Iterator[tuple[int, bytes]]:
        try:
            text = json.dumps(to_json(record_of(element)), ensure_ascii=True).encode()
        except TypeError as error:
            raise RecordError(f"a value of the type {error} cannot be written; convert it first") from None
        yield zlib.crc32(text) % SHARDS, text


class _InOrder(beam.DoFn):
    """A part's records in order and the mark at their end, as the writer takes them."""

    def process(self, part: tuple[int, Iterable[bytes]]) -> Iterator[Batch | Mark]:
        unit = Unit(part[0], f"part {part[0]} of the records")
        texts = sorted(part[1])
        for at in range(0, len(texts), BATCH_RECORDS):
            records = [from_json(json.loads(text)) for text in texts[at : at + BATCH_RECORDS]]
            yield Batch(unit, 0, range(at, at + len(records)), records)
        yield Mark(unit, 0, (("read", len(texts)),), True)


class _Fail(beam.DoFn):
    def process(self, failure: Failure) -> None:
        raise FailedRecord(failure, failure.unit, failure.position[2] + 1)


def _same(pair: KeyedBytes) -> KeyedBytes:
    return pair
