"""Traits: what components tell of themselves, and what of it counts."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from exporters_beam.components import traits
from exporters_beam.components.traits import (
    ComponentTraits,
    DecoderTraits,
    FilterTraits,
    FormatTraits,
    GrouperTraits,
    MapTraits,
    ReaderTraits,
    StepTraits,
    WriterTraits,
    method_of,
)
from exporters_beam.formats.csv import CsvFormat
from exporters_beam.formats.json_lines import JsonLinesDeserializer
from exporters_beam.formats.parquet import ParquetFormat
from exporters_beam.readers.fs import FsReader
from exporters_beam.transforms.dupe import DupeFilter
from exporters_beam.transforms.filters import KeyValueFilter, PythonexpFilter
from exporters_beam.transforms.groupers import FileKeyGrouper
from exporters_beam.transforms.mappers import PythonexpTransform
from exporters_beam.writers.fs import FsWriter
from exporters_beam.writers.reduce import ReduceWriter

KINDS = [kind for kind in vars(traits).values() if isinstance(kind, type) and kind.__name__.endswith("Traits")]
KEYS = ({"name": "a", "value": 1},)


class Plain:
    """A component of somebody's that tells nothing."""

    def keep(self, record: Any) -> Any:
        return record["a"] == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("component", [None, Plain()])
def test_of_what_tells_nothing_nothing_is_known(kind: Any, component: Any) -> None:
    assert kind.of(component) == kind()


def test_components_of_ours_tell_what_they_are() -> None:
    assert FilterTraits.of(KeyValueFilter(keys=KEYS)).reads == {"a"}
    assert FilterTraits.of(KeyValueFilter(keys=KEYS)).steady
    assert not FilterTraits.of(PythonexpFilter(python_expression="random.random() < item['a']")).reads
    assert len(StepTraits.of(PythonexpFilter(python_expression="random.random() < item['a']")).chances) == 1
    assert MapTraits.of(PythonexpTransform(python_expressions=("item.update(b=item['a'])",))).adds == ("b",)
    assert GrouperTraits.of(FileKeyGrouper(keys=("a.b",))).labels == ("a.b",)
    decoder = DecoderTraits.of(JsonLinesDeserializer())
    assert decoder.gives_lines and decoder.splits_on_lines and decoder.glance and decoder.row_groups is None
    assert FormatTraits.of(ParquetFormat()).table and FormatTraits.of(ParquetFormat()).finds_types
    assert FormatTraits.of(CsvFormat(fields=("a", "b"))).needs == {"a", "b"}
    assert FormatTraits.of(CsvFormat(fields=("a", "b"))).empty == b'"a","b"\n'
    assert ReaderTraits.of(FsReader(input="a.jl")).streams and ReaderTraits.of(FsReader(input="a.jl")).on_this_machine
    assert WriterTraits.of(FsWriter(filebase="out/")).place == "folders"
    result = WriterTraits.of(ReduceWriter(code="def reduce_function(item, accumulator=None): pass"))
    assert (result.place, result.files, result.tells_result, result.empty_result) == ("elsewhere", False, True, None)


def test_a_trait_that_was_told_of_another_method_does_not_count() -> None:
    class Unlike(KeyValueFilter):
        def keep(self, record: Any) -> Any:
            return not super().keep(record)

    class Told(Unlike):
        reads = frozenset("b")

    assert FilterTraits.of(Unlike(keys=KEYS)) == FilterTraits()
    found = FilterTraits.of(Told(keys=KEYS))
    assert (found.reads, found.steady, found.judge, found.may_keep) == ({"b"}, False, None, None)


def test_an_option_that_has_the_name_of_a_method_is_none() -> None:
    @dataclasses.dataclass(frozen=True)
    class Reader:
        place: str = "here"
        check: bool = True

    assert ReaderTraits.of(Reader()).place is None and ReaderTraits.of(Reader()).check is None


def test_a_storage_is_made_when_it_is_asked_for() -> None:
    made = []

    class Writer:
        remote = True

        @property
        def storage(self) -> str:
            made.append(1)
            return "a storage"

    found = WriterTraits.of(Writer())
    assert found.storage is not None and not made
    assert found.storage() == "a storage" and made == [1]


def test_the_method_that_does_the_work_of_a_step() -> None:
    assert method_of(KeyValueFilter(keys=KEYS)) == "keep"
    assert method_of(PythonexpTransform(python_expressions=("item",))) == "map"
    assert method_of(DupeFilter(key_field="a")) == "key"
    assert method_of(FsWriter(filebase="out/")) is None
    assert ComponentTraits.of(KeyValueFilter(keys=KEYS)).setup is None
