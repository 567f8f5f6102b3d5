"""What an export makes of given records: its steps, grouper and formatter, without reader, writer and Beam."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar

from exporters_beam.components.secret import Given, reveal
from exporters_beam.components.traits import FormatTraits
from exporters_beam.components.words import did_you_mean
from exporters_beam.config.on_error import DESERIALIZER, FORMATTER, GROUPER
from exporters_beam.engine.applying import FAILED, Following, behind_each_step, first, grouped, in_text
from exporters_beam.engine.source import Source
from exporters_beam.errors import ConfigError, MissingExtra
from exporters_beam.planning.plan import Plan, make
from exporters_beam.readers.memory import MemoryReader
from exporters_beam.records import Position, Record, Unit
from exporters_beam.transforms.copies import copied
from exporters_beam.transforms.results import described

if TYPE_CHECKING:
    from exporters_beam.config.export import ExportSpec

GIVEN = "given"


@dataclass(frozen=True)
class FailedRecord:
    """A record that failed: at which step, why, as it came to that step, and its number among those given, from 1."""

    step: str
    error: str
    record: Any
    number: int


@dataclass(frozen=True)
class Applied:
    """What an export makes of records.

    `records` are those that come out, in order; `dropped` says how many each step left out, by its name; `failed` are the
    records that fail, in input order. `groups` are the records of each group, by its values: `("DK",)`, and `()` where there
    is no grouper. `names` are the names of their first files, where files are delivered, and `formatted` is what a file with
    all the records holds, before it is compressed; None of formats that are not text.
    """

    records: tuple[Record, ...]
    dropped: Mapping[str, int] = field(default_factory=dict)
    failed: tuple[FailedRecord, ...] = ()
    groups: Mapping[tuple[str, ...], tuple[Record, ...]] = field(default_factory=dict)
    names: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    formatted: bytes | None = None


def apply(
    spec: ExportSpec,
    given: Iterable[Mapping[str, Any]] | str | bytes,
    now: datetime | None = None,
    secrets: Mapping[str, str] | None = None,
    writer: str | None = None,
) -> Applied:
    """Give records to the steps of an export, or text that its deserializer decodes. They are left as they are.

    Of several writers the own steps, grouper and formatter of the one that is named are applied; without a name, only what is
    done for all. `secrets` are environment variables, and values of other secrets by store and name: no service is asked.
    Raises ConfigError where the config is wrong or has a secret that is not given, and SourceError for a text that cannot be
    read.
    """
    common = bool(spec.others) and writer is None
    spec = spec if writer is None else _to(spec, writer)
    plan = make(spec, now)
    plan = _revealed(spec, plan.reading if common else plan, Given({**os.environ, **(secrets or {})}))
    following = _Collecting()
    records = list(first(_source(plan, given), following))
    for _, left in behind_each_step(plan, records, following):
        records = left
    form, texts = in_text(plan), list[bytes]()
    found: list[tuple[Any, tuple[str, ...]]] = []
    for position, record, group in grouped(plan, records, following):
        text = None if form is None else following.guarded(FORMATTER, position, record, form.format)
        if text is not FAILED:
            found.append((record, group))
            texts += [] if text is None else [text]
    groups: dict[tuple[str, ...], list[Any]] = {}
    for record, group in found:
        groups.setdefault(group, []).append(record)
    formatted = None
    if form is not None:
        empty = FormatTraits.of(form).empty
        formatted = form.header + form.separator.join(texts) + form.footer if texts or empty is None else empty
    return Applied(
        tuple(record for record, _ in found),
        following.left_out,
        tuple(sorted(following.failures, key=lambda failure: failure.number)),
        {group: tuple(records) for group, records in groups.items()},
        {group: plan.names.name(group, plan.names.start) for group in groups} if plan.names is not None and not common else {},
        formatted,
    )


def _to(spec: ExportSpec, writer: str) -> ExportSpec:
    """The export to the writer of that name. Raises ConfigError."""
    writers = {each.to: each for each in spec.each if each.to}
    if writer not in writers:
        why = did_you_mean(writer, list(writers)) or "; the export has one, so name none"
        raise ConfigError(f"there is no writer {writer!r}{why}")
    return writers[writer]


class _Collecting(Following):
    """Notes what fails and what is left out."""

    def __init__(self) -> None:
        self.failures: list[FailedRecord] = []
        self.left_out: dict[str, int] = {}

    def failed(self, step: str, position: Position, message: str, record: object) -> None:
        told = record.decode("utf-8", "backslashreplace") if isinstance(record, bytes) else record
        self.failures.append(FailedRecord(step, message, told, position[2] + 1))

    def dropped(self, step: str, position: Position) -> None:
        self.left_out[step] = self.left_out.get(step, 0) + 1

    def before(self, record: Any) -> Any:
        return copied([record])(0)


@dataclass(frozen=True, kw_only=True)
class _Text:
    """A reader of one text."""

    kind: ClassVar[str] = "reader"

    text: bytes

    def units(self) -> Iterator[Unit]:
        yield Unit(0, GIVEN, len(self.text), "")

    def open(self, unit: Unit) -> BinaryIO:
        return io.BytesIO(self.text)


def _source(plan: Plan, given: Iterable[Mapping[str, Any]] | str | bytes) -> Source:
    if not isinstance(given, (str, bytes)):
        records = tuple(_record(number, each) for number, each in enumerate(given, 1))
        return Source(MemoryReader(records=records, range_size=max(1, len(records))))
    if plan.deserializer is None:
        section = plan.spec.reader
        raise ConfigError(
            plan.spec.problem(section.path, f"{section.entry.name} gives records, not text; give the records as a list")
        )
    from exporters_beam.compressions.none import Plain

    text = given.encode("utf-8", "surrogatepass") if isinstance(given, str) else given
    return Source(_Text(text=text), Plain(), plan.deserializer)


def _record(number: int, given: Mapping[str, Any]) -> Record:
    if not isinstance(given, Mapping):
        raise TypeError(f"record {number} is {described(given)}; a record is a mapping")
    return dict(given)


def _revealed(spec: ExportSpec, plan: Plan, secrets: Given) -> Plan:
    """The plan with the secrets in what records are given to; the reader's and the writer's are not needed."""
    sections = dict(spec.failing)

    def revealed(name: str, component: Any) -> Any:
        try:
            return reveal(component, secrets)
        except MissingExtra:
            raise
        except ConfigError as error:
            raise ConfigError(spec.problem(sections[name].path, str(error))) from None

    return replace(
        plan,
        deserializer=revealed(DESERIALIZER, plan.deserializer),
        steps=tuple(replace(step, component=revealed(step.name, step.component)) for step in plan.steps),
        grouper=revealed(GROUPER, plan.grouper),
        format=revealed(FORMATTER, plan.format),
    )
