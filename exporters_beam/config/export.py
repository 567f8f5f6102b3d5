"""A checked config: what every section of it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from exporters_beam.components import registry, words
from exporters_beam.components.protocols import (
    AnyReader,
    Decompressor,
    Deserializer,
    Format,
    Grouper,
    Notifier,
    StatsManager,
    StepComponent,
    WriteBuffer,
    Writer,
)
from exporters_beam.components.traits import WriterTraits
from exporters_beam.config.bundle import Bundle
from exporters_beam.config.checks import RELEASED, Checks
from exporters_beam.config.contract import STEPS as CONTRACT
from exporters_beam.config.delta import DELTA, Delta
from exporters_beam.config.document import Document, Path
from exporters_beam.config.done import Done, takes_done
from exporters_beam.config.encrypt import Encrypt
from exporters_beam.config.new_only import KEEP, After, Follow, NewOnly
from exporters_beam.config.on_error import DESERIALIZER, FORMATTER, GROUPER, WRITER, OnErrorOptions
from exporters_beam.config.sections import (
    NEW_ONLY,
    NO_FILE,
    OWN_OF_WRITERS,
    OWN_STEPS,
    Settings,
)
from exporters_beam.config.statistics import Statistics
from exporters_beam.config.table import AnyTable
from exporters_beam.config.window import Window
from exporters_beam.errors import ConfigError, Problem, dotted
from exporters_beam.records import Link

C = TypeVar("C", covariant=True)


@dataclass(frozen=True)
class Section(Generic[C]):
    """A section of the config with its component. `options` are as given, references to secrets still in them."""

    kind: str
    name: str
    entry: registry.Entry
    component: C
    options: Mapping[str, Any] = field(repr=False)
    path: Path
    on_error: str | None = None
    step: str = ""
    """What the step is called, where it is one."""


@dataclass(frozen=True)
class ExportSpec:
    """A checked config. Sections that are absent or do nothing (`none`) are None, and are not among the `steps`.

    `document` is the config after substitution, for logs and mails: values of secret options are masked, references
    to secrets stay references, and `vars` and `env` are left out.
    """

    reader: Section[AnyReader]
    writer: Section[Writer]
    decompressor: Section[Decompressor] | None = None
    deserializer: Section[Deserializer] | None = None
    steps: tuple[Section[StepComponent], ...] = ()
    listed: tuple[str, ...] | None = None
    """The names in the list `steps`, also of members that do nothing; None where steps have sections of their own."""
    to: str = ""
    """What the writer is called where there are several; "" where it is the only one."""
    own: tuple[str, ...] = ()
    """The names of the steps behind all others that are this writer's alone, also where it has none of them."""
    others: tuple[ExportSpec, ...] = field(default=(), repr=False)
    """The same export to each of its other writers."""
    grouper: Section[Grouper] | None = None
    formatter: Section[Format] | None = None
    write_buffer: Section[WriteBuffer] | None = None
    persistence: Section[object] | None = None
    stats_manager: Section[StatsManager] | None = None
    notifications: tuple[Section[Notifier], ...] = ()
    settings: Settings = field(default_factory=Settings)
    on_error: OnErrorOptions = field(default_factory=OnErrorOptions)
    empty: str = NO_FILE
    checks: Checks | None = None
    statistics: Statistics | None = None
    delta: Delta | None = None
    window: Window | None = None
    done: Done | None = None
    done_at: Path = ("done",)
    """Where `done` stands: the section, or the key of one of several writers."""
    bundle: Bundle | None = None
    bundle_at: Path = ("bundle",)
    encrypt: Encrypt | None = None
    encrypt_at: Path = ("encrypt",)
    table: AnyTable | None = None
    table_at: Path = ("table",)
    new_only: NewOnly | None = None
    after: After | str = KEEP
    follow: Follow | None = None
    now: str = ""
    """The local time of the export, where that is decided: its dates are those of that time."""
    link: Link | None = None
    """Which run of a chain this is; None before that is known, and of an export that is none."""
    staging: str | None = None
    runners: Mapping[str, Any] = field(default_factory=dict)
    file: str = ""
    warnings: tuple[Problem, ...] = ()
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)
    source: Document = field(default_factory=lambda: Document({}), repr=False, compare=False)

    @property
    def each(self) -> tuple[ExportSpec, ...]:
        """The export to each of its writers, in the order of the config: itself, where there is but one."""
        return (replace(self, others=()), *self.others) if self.others else (self,)

    def with_settings(self, **changes: Any) -> ExportSpec:
        """The spec with other settings, for all of its writers."""
        others = tuple(each.with_settings(**changes) for each in self.others)
        return replace(self, settings=replace(self.settings, **changes), others=others)

    def linked(self, links: Mapping[str, Link]) -> ExportSpec:
        """The spec of one run of a chain, by what each of its writers is called, which goes on with what stands of it."""
        others = tuple(each.linked(links) for each in self.others)
        return replace(
            self, link=links[self.to], now=links[self.to].now, settings=replace(self.settings, resume=True), others=others
        )

    def of_time(self, now: datetime) -> ExportSpec:
        """The spec of the export of a time, for all of its writers, which goes on with what stands of it."""
        others = tuple(each.of_time(now) for each in self.others)
        return replace(self, now=now.isoformat(), settings=replace(self.settings, resume=True), others=others)

    def released(self) -> ExportSpec:
        """The spec, whose checks are counted and judge nothing, for all of its writers."""
        checks = None if self.checks is None else replace(self.checks, on_fail=RELEASED)
        return replace(self, checks=checks, others=tuple(each.released() for each in self.others))

    def alone(self, what: str) -> ExportSpec:
        """The spec. Raises ConfigError where it has several writers, or reads only what is new, or delivers deltas, which
        `what` cannot do."""
        if self.others:
            raise ConfigError(self.problem(("writers",), f"{what} takes an export with one `writer`"))
        if self.new_only is not None and self.link is None:
            raise ConfigError(self.problem((NEW_ONLY,), f"{what} cannot know what is new; run it with `exporters-beam run`"))
        if self.delta is not None:
            raise ConfigError(
                self.problem((DELTA,), f"{what} cannot know the delivery before; run it with `exporters-beam run`")
            )
        return self

    def to_writer(self, name: str | None) -> ExportSpec:
        """The export to the writer of that name, where there are several. Raises ConfigError."""
        if not self.others and not name:
            return self
        found = {each.to: each for each in self.each if each.to}
        if name in found:
            return found[name]
        known = f"one of: {', '.join(found)}" if found else "none: this export has one writer"
        raise ConfigError(self.problem(("writers",), f"say which writer is meant; --to takes {known}"))

    def step(self, name: str) -> Section[StepComponent] | None:
        """The step of that name."""
        return next((section for section in self.steps if section.step == name), None)

    @property
    def order(self) -> tuple[str, ...]:
        """The names of what records may fail at, in the order in which they pass it, also where nothing is done there."""
        contract = (section.step for section in self.steps if section.step in CONTRACT)
        own = OWN_STEPS if self.listed is None else self.listed
        delta = () if self.delta is None else (DELTA,)
        return DESERIALIZER, *own, *contract, *self.own, *delta, GROUPER, FORMATTER, WRITER

    @property
    def failing(self) -> tuple[tuple[str, Section[object]], ...]:
        """What records may fail at and the config has a section for, by name, in the order in which records pass it."""
        found = ((DESERIALIZER, self.deserializer), *((section.step, section) for section in self.steps),
                 (GROUPER, self.grouper), (FORMATTER, self.formatter), (WRITER, self.writer))  # fmt: skip
        return tuple((name, section) for name, section in found if section is not None)

    @property
    def working(self) -> tuple[Section[object], ...]:
        """The sections that make the records what they are, in the order in which they pass them: their components go to the
        workers."""
        found = (self.reader, self.decompressor, self.deserializer, *self.steps, self.grouper, self.writer, self.formatter,
                 self.write_buffer)  # fmt: skip
        return tuple(section for section in found if section is not None)

    @property
    def as_before(self) -> tuple[str, ...]:
        """What works as in exporters 0.6.18, because it is asked for by its class path there: a sentence for each."""
        found = []
        for section in self.working:
            if section.name in section.entry.legacy:
                given = ((name, value) for name, value in section.entry.as_before if section.options.get(name) == value)
                told = ", ".join(
                    f"{name}: {value if isinstance(value, str) else words.in_json(value, 20)}" for name, value in given
                )
                if told:
                    found.append(
                        f"{dotted(section.path)}: named by its old class path, so it works as in exporters 0.6.18 ({told})"
                    )
        return tuple(found)

    def problem(self, path: Path, message: str) -> Problem:
        """A problem at `path`, with its place in the file."""
        return self.source.problem(path, message)


@dataclass(frozen=True)
class Destination:
    """A member of the list `writers`, as it was `given` and as it was made."""

    to: str
    given: Mapping[Any, Any]
    writer: Section[Writer]
    steps: tuple[Section[StepComponent], ...] = ()
    formatter: Section[Format] | None = None
    grouper: Section[Grouper] | None = None
    write_buffer: Section[WriteBuffer] | None = None
    done: Done | None = None
    bundle: Bundle | None = None
    encrypt: Encrypt | None = None
    table: AnyTable | None = None

    def applied(self, spec: ExportSpec) -> ExportSpec:
        """The export to this writer. The formatter, the grouper, `done`, `bundle` and `encrypt` of all are for those that have
        none of their own."""
        grouper = self.grouper or spec.grouper
        takes = takes_done(self.writer.component)
        sends = WriterTraits.of(self.writer.component).sends
        return replace(
            spec,
            writer=self.writer,
            steps=(*spec.steps, *self.steps),
            formatter=None if sends else self.formatter or spec.formatter,
            grouper=None if sends or grouper is None or does_nothing(grouper) else grouper,
            write_buffer=self.write_buffer,
            done=self.done or (spec.done if takes else None),
            done_at=(*self.writer.path, "done") if self.done else spec.done_at,
            bundle=self.bundle or (spec.bundle if takes else None),
            bundle_at=(*self.writer.path, "bundle") if self.bundle else spec.bundle_at,
            encrypt=self.encrypt or spec.encrypt,
            encrypt_at=(*self.writer.path, "encrypt") if self.encrypt else spec.encrypt_at,
            table=self.table,
            table_at=(*self.writer.path, "table"),
            to=self.to,
            own=OWN_OF_WRITERS,
        )


def does_nothing(section: Section[object] | None) -> bool:
    """Uncompressed input is a decision: only these kinds have a `none` that is the same as no section."""
    return section is not None and section.entry.name == "none" and section.kind in ("filter", "transform", "grouper")
