"""From a spec to a plan: components that fit together, and the decisions that follow from them.

Planning touches no network, no file of the export and no pipeline, so `validate` and `explain` are instant and safe.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, cast

from exporters_beam.components.names import FileNames, expand_dates, spread
from exporters_beam.components.options import options_of
from exporters_beam.components.protocols import (
    AnyReader,
    Decompressor,
    Deserializer,
    FileWriter,
    Format,
    Grouper,
    Writer,
)
from exporters_beam.components.secret import Secret, without_credentials
from exporters_beam.components.traits import (
    ComponentTraits,
    FormatTraits,
    GrouperTraits,
    MapTraits,
    ReaderTraits,
    StepTraits,
    WriterTraits,
    delivers_files,
    method_of,
)
from exporters_beam.components.words import did_you_mean
from exporters_beam.compressions import Codec, codec
from exporters_beam.config.checks import Checks, Looked
from exporters_beam.config.delta import DELTA
from exporters_beam.config.on_error import FAIL, FORMATTER, GROUPER, WRITER, OnError
from exporters_beam.config.sections import ONE_FILE, PARTITION_BY, is_older
from exporters_beam.config.window import WINDOW
from exporters_beam.errors import ConfigError, Problem, dotted
from exporters_beam.formats.without import without
from exporters_beam.planning import rules
from exporters_beam.planning.bypass import why_not_copied
from exporters_beam.planning.delta import delta_misfits, step_of
from exporters_beam.planning.done import bundle_of, done_of
from exporters_beam.planning.linked import misfits, numbered
from exporters_beam.planning.logical import Logical, Read, Records, StepPlan, Write, draws
from exporters_beam.planning.looking import STATISTICS, Looking
from exporters_beam.planning.physical import Physical
from exporters_beam.planning.table import misfits as misfits_of_table
from exporters_beam.planning.windows import in_windows, window_misfits, windows_of
from exporters_beam.planning.windows import step_of as step_of_windows
from exporters_beam.stages import Copy
from exporters_beam.transforms.fields.paths import parsed
from exporters_beam.transforms.windows import WindowGrouper

if TYPE_CHECKING:
    from exporters_beam.config.export import ExportSpec, Section

T = TypeVar("T")


@dataclass(frozen=True)
class Plan:
    """What will run. Frozen, printable and comparable; everything in it can be pickled."""

    spec: ExportSpec
    reader: AnyReader
    decompressor: Decompressor | None
    deserializer: Deserializer | None
    steps: tuple[StepPlan, ...]
    grouper: Grouper | None
    writer: Writer
    format: Format
    codec: Codec
    names: FileNames | None
    items_per_file: int
    bytes_per_file: int
    limit: int
    sample: int
    seed: int
    md5: bool
    on_error: OnError = field(default_factory=OnError)
    empty: bool = False
    done: tuple[tuple[str, str], ...] = ()
    bundle: str = ""
    now: str = field(compare=False, default="")
    why_not_copied: str = "nothing was asked"

    @property
    def copied(self) -> bool:
        """Whether objects are copied as they are, past the pipeline (a bypass)."""
        return not self.why_not_copied

    @property
    def objects(self) -> bool:
        """Whether what is delivered are objects, in files or in batches, and no values of any kind."""
        return self.names is not None or WriterTraits.of(self.writer).sends

    @property
    def replays(self) -> bool:
        """Whether dead letters are sent in again, in the place of the source."""
        return ReaderTraits.of(self.reader).letters

    @cached_property
    def logical(self) -> Logical:
        """What is done with records, in order."""
        chooses = bool(self.limit or self.sample)
        return Logical(
            Read(self.deserializer, self.replays),
            self.steps,
            self.grouper,
            Write(self.format, chooses, self.on_error.writes),
        )

    @cached_property
    def physical(self) -> Physical:
        """How it is done, after the planner's rules; where objects are copied nothing is decoded."""
        if self.copied:
            return Physical(Copy())
        return rules.physical(self.reading.logical, self.without)

    @cached_property
    def reading(self) -> Plan:
        """What is done once for all writers, where there are several: up to the last step that they have in common, and records
        whole, so that what one gets does not depend on the others. Else the plan itself."""
        if not self.spec.to:
            return self
        common = tuple(step for step in self.steps if step.name not in (*self.spec.own, STATISTICS, WINDOW))
        return replace(self, steps=common, grouper=None, format=cast(Format, Records()), limit=0, sample=0)

    @property
    def own(self) -> tuple[StepPlan, ...]:
        """The steps behind that, which are this writer's alone."""
        return self.steps[len(self.reading.steps) :]

    @property
    def checks(self) -> Checks | None:
        """What has to hold before anything is delivered, where anything has."""
        checks = self.spec.checks
        return checks if checks is not None and checks.judges else None

    @property
    def keys_in_full(self) -> bool:
        """Whether what is staged depends on all records, so that all are read again where a run is resumed."""
        return any(step.kind in ("dedupe", DELTA) for step in self.steps) or bool(
            self.checks is not None and self.checks.unique
        )

    @property
    def family(self) -> str:
        """What the runs of a config are known by, whatever the dates in its names."""
        return _digest(self.told)

    @property
    def without(self) -> tuple[str, ...]:
        """The rules of the planner that are left out."""
        return self.spec.settings.without if self.spec.settings.pushdown else rules.NAMES

    @property
    def drawn(self) -> tuple[str, ...]:
        """The expressions by which steps draw random numbers: an equal one of the grouper draws others."""
        return tuple(expression for step in self.steps for expression in draws(step.component))

    @property
    def told(self) -> dict[str, object]:
        """The sections that decide what is delivered, as they stand in the config. Secrets are references."""
        return _told(self.spec)

    @property
    def origin(self) -> str:
        """A hash of what the export reads: dead letters tell it, so that they are sent in again where they belong."""
        return ReaderTraits.of(self.reader).origin or _digest(self.told["reader"])

    @property
    def sections(self) -> tuple[tuple[str, str, str], ...]:
        """(step, component, path in the config) of every step that the config has a section for."""
        return tuple((name, section.entry.name, dotted(section.path)) for name, section in self.spec.failing)

    @property
    def fixed(self) -> bool:
        """Whether what is read is decided once, before anything of it is read: what stands in the books is taken then."""
        return self.spec.link is not None or ReaderTraits.of(self.reader).fixed

    @property
    def chain(self) -> str:
        """What runs that go on one from the other are known by: the kind of reader, and where they deliver. Whatever else
        changes in the config holds from the next batch on, since units are known by their names."""
        to, writer = WriterTraits.of(self.writer), self.spec.writer
        place = os.path.abspath(self.names.root) if self.names is not None and to.to_folders else ""
        target = to.target() if to.target is not None else ""
        name = cast(FileWriter, writer.component).filebase if self.names is not None else ""
        name = to.storage().url(to.key(name)) if to.storage is not None else name
        return _digest(["chain", self.spec.reader.entry.name, writer.entry.name, name, place, target, self.spec.to])

    @property
    def books_name(self) -> tuple[str, ...]:
        """The folder of its books below that of all books."""
        link = self.spec.link
        return (self.export_id,) if link is None else (self.chain, f"{link.number:06d}")

    @property
    def export_id(self) -> str:
        """A hash of the config and the dates in its names: the identity of the export. What is copied is staged otherwise,
        so it is another one. Where the books do not stand at the destination, the folder that files go to belongs to it."""
        identity = ReaderTraits.of(self.reader).identity
        told = json.dumps(self.told if identity is None else identity, sort_keys=True, default=repr)
        effective, to = self.names.filebase if self.names else "", WriterTraits.of(self.writer)
        if to.sends:
            effective += f"\n{to.target() if to.target is not None else ''} {to.delivery_id}"
        effective += "".join(f"\n{date}" for date in self._dates())
        if self.spec.link is not None:
            effective += f"\nbatch {self.spec.link.number} of {self.spec.link.chain}"
        if self.copied:
            effective += "\ncopied"
        if self.bundle:
            effective += f"\nin {self.bundle}"
        if (self.spec.staging or self.spec.persistence) and to.to_folders and self.names:
            effective += f"\nto {os.path.abspath(self.names.root)}"
        return hashlib.sha256(f"{told}\n{effective}".encode()).hexdigest()[:16]

    def _dates(self) -> Iterator[str]:
        """The dates of the run that steps put into records."""
        for section in self.spec.steps:
            dates = StepTraits.of(section.component).dates
            yield from dates(datetime.fromisoformat(self.now)) if dates is not None else ()


def make_each(spec: ExportSpec, now: datetime | None = None) -> tuple[Plan, ...]:
    """The plans of an export, one for each of its writers, all of one time. Raises ConfigError with every problem."""
    now = _time_of(spec, now)
    plans: list[Plan] = []
    problems: list[Problem] = []
    for each in spec.each:
        try:
            plans.append(make(each, now))
        except ConfigError as error:
            problems += error.problems
    if not problems:
        problems += _in_each_others_way(plans)
    if problems:
        raise ConfigError(*dict.fromkeys(problems))
    return tuple(plans)


def _time_of(spec: ExportSpec, now: datetime | None) -> datetime:
    """The time that names are made with: where it is decided, that one."""
    return now or (datetime.fromisoformat(spec.now) if spec.now else datetime.now())


def _in_each_others_way(plans: Sequence[Plan]) -> Iterator[Problem]:
    """Writers of one export that would deliver to the same place."""
    known: dict[str, str] = {}
    told: dict[str, str] = {}
    for plan in plans if len(plans) > 1 else ():
        to = WriterTraits.of(plan.writer)
        path = plan.spec.writer.path
        if not plan.objects:
            yield plan.spec.problem((*path, "name"), f"{plan.spec.writer.entry.name} delivers neither files nor batches of "
                                    "records; give it an export of its own")  # fmt: skip
            continue
        if plan.names is not None:
            place = f"{to.storage().url(to.key(plan.names.filebase)) if to.storage is not None else plan.names.filebase}"
        else:
            place = f"{to.target() if to.target is not None else plan.spec.writer.path}"
        if place in known:
            yield plan.spec.problem((*path, "options"), f"{known[place]} delivers to the same place; give one of the two "
                                    "another `filebase` or target")  # fmt: skip
        known.setdefault(place, dotted(path))
        archive = [(("name", plan.bundle), plan.spec.bundle_at)] if plan.bundle else []
        for (kind, name), at in [*((each, plan.spec.done_at) for each in plan.done), *archive]:
            whole = to.storage().url(to.key(name)) if to.storage is not None else os.path.normpath(name)
            if whole in told:
                yield plan.spec.problem((*at, kind), f"{told[whole]} and {dotted(path)} would both deliver "
                                        f"{name}; give one of them a `{at[-1]}` with another name")  # fmt: skip
            told.setdefault(whole, dotted(path))


def make(spec: ExportSpec, now: datetime | None = None) -> Plan:
    """Check that the components fit and decide what follows from them. Raises ConfigError with every problem.

    `now` is what % dates in names are expanded with, the local time by default.
    """
    now = _time_of(spec, now)
    writer, form = spec.writer.component, _format(spec)
    grouper = spec.grouper.component if spec.grouper is not None and delivers_files(writer) else None
    windows = windows_of(spec, now)
    grouper = in_windows(windows, grouper)
    removed = GrouperTraits.of(grouper).removed
    form = without(form, removed) if removed else form
    files, problems = _files(spec, form, grouper, now)
    on_error = _on_error(spec, now)
    problems += _misfits(spec, form, files, on_error)
    problems += [*misfits(spec), *misfits_of_table(spec), *delta_misfits(spec, form)]
    problems += window_misfits(spec, windows, files.names)
    bundle, wrong = bundle_of(spec, files.names, now)
    done, more = done_of(spec, files.names, on_error.file, bundle, now)
    problems += [*wrong, *more]
    if problems:
        raise ConfigError(*problems)
    streams = ReaderTraits.of(spec.reader.component).streams
    sampling = spec.write_buffer.component if spec.write_buffer is not None and files.names is not None else None
    return Plan(
        spec=spec,
        reader=_at(spec.reader.component, ReaderTraits.of(spec.reader.component).at, now),
        decompressor=_or_default(spec.decompressor, "exporters_beam.compressions.auto:Auto") if streams else None,
        deserializer=_or_default(spec.deserializer, "exporters_beam.formats.json_lines:JsonLinesDeserializer")
        if streams else None,
        steps=tuple(_steps(spec, now, form, grouper)),
        grouper=grouper,
        writer=_at(writer, WriterTraits.of(writer).at, now),
        format=form,
        codec=files.codec,
        names=files.names,
        items_per_file=files.items,
        bytes_per_file=files.bytes,
        limit=writer.items_limit,
        sample=sampling.sample_size if sampling is not None else 0,
        seed=sampling.seed if sampling is not None else 0,
        md5=files.md5,
        on_error=on_error,
        empty=spec.empty == ONE_FILE or _prints_without_records(spec, form),
        done=done,
        bundle=bundle,
        now=now.isoformat(),
        why_not_copied=why_not_copied(spec),
    )  # fmt: skip


@dataclass(frozen=True)
class _Files:
    """How the files of an export are called, compressed and closed; of a writer that delivers none, nothing of it."""

    names: FileNames | None = None
    codec: Codec = field(default_factory=lambda: codec("none"))
    items: int = 0
    bytes: int = 0
    md5: bool = False


def _files(spec: ExportSpec, form: Format, grouper: Grouper | None, now: datetime) -> tuple[_Files, list[Problem]]:
    """What follows from the writer's options, and what is wrong with them."""
    writer, table = spec.writer.component, FormatTraits.of(form).table
    if not delivers_files(writer):
        path = spec.formatter.path if spec.formatter else ()
        if WriterTraits.of(writer).sends:
            return _Files(items=writer.items_per_buffer_write, bytes=writer.size_per_buffer_write), []
        return _Files(), [spec.problem(path, "this writer takes text formats only")] if table else []
    packed, names = codec("none"), None
    path, problems = (*spec.writer.path, "options"), [*_misplaced(spec, writer.filebase, grouper)]
    folders = GrouperTraits.of(grouper).folders
    try:
        packed = _codec(spec, writer, table)
    except ConfigError as error:
        problems += [spec.problem((*path, "compression"), _without_name(p.message)) for p in error.problems]
    try:
        names = FileNames(
            folders.in_name(spread(expand_dates(numbered(writer.filebase, spec), now))),
            grouper.size if grouper is not None else 0,
            f".{form.extension}{packed.suffix}{spec.encrypt.ending if spec.encrypt and not spec.bundle else ''}",
            writer.start_file_count,
            folders.in_name(spread(writer.filebase)),
            ReaderTraits.of(spec.reader.component).mark,
            folders.hive,
            isinstance(grouper, WindowGrouper),
        )
    except ConfigError as error:
        problems += [spec.problem((*path, "filebase"), _without_name(p.message)) for p in error.problems]
    sizes = writer.items_per_buffer_write, writer.size_per_buffer_write
    return _Files(names, packed, *sizes, writer.generate_md5), problems


def _misplaced(spec: ExportSpec, filebase: str, grouper: Grouper | None) -> Iterator[Problem]:
    """What does not go together with folders that are named by values."""
    told = GrouperTraits.of(grouper)
    if told.folders.hive and "{groups" in filebase:
        yield spec.problem((*spec.writer.path, "options", "filebase"), "the values of partitions name folders behind its own; "
                           "leave {groups[…]} out, or give partition_by a template as its style")  # fmt: skip
    section = spec.formatter
    for option, names in _columns_named(section.options if section is not None else {}):
        for name in names:
            if section is not None and name in told.removed:
                yield spec.problem((*section.path, "options", option), f"{name} stands in the path of the files, and is "
                                   "not a column of theirs; leave it out, or give partition_by columns: keep")  # fmt: skip


def _columns_named(options: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """The options of a format that name columns, each with their names: a list, a JSON Schema or an Avro schema."""
    given, schema = options.get("fields"), options.get("schema")
    if isinstance(given, (list, tuple)) and given:
        yield "fields", [str(name) for name in given]
    elif isinstance(schema, Mapping):
        properties, members = schema.get("properties"), schema.get("fields")
        yield "schema", [str(name) for name in properties] if isinstance(properties, Mapping) else []
        yield "schema", [str(m.get("name")) for m in members if isinstance(m, Mapping)] if isinstance(members, list) else []


def _misfits(spec: ExportSpec, form: Format, files: _Files, on_error: OnError) -> Iterator[Problem]:
    """What does not go together of what is right by itself."""
    writer = spec.writer.component
    if spec.grouper is not None and spec.grouper.path == (PARTITION_BY,) and not delivers_files(writer):
        yield spec.problem((PARTITION_BY,), f"the writer {spec.writer.entry.name} delivers no files, so there are no folders "
                           "for them; leave this section out")  # fmt: skip
    for step in spec.steps if files.names is not None or WriterTraits.of(writer).sends else ():
        if given := MapTraits.of(step.component).gives:
            yield spec.problem((*step.path, "options", "map"), f"the expression gives {given} whatever the "
                               "record is; files hold objects: {'field': value}")  # fmt: skip
    if on_error.writes and on_error.file is None and not (spec.staging or spec.persistence or _to_folders(writer)):
        yield spec.problem(("on_error", "file"), "say where dead letters go: this writer has no folder for them")
    if spec.to and ReaderTraits.of(spec.reader.component).kept_in is not None:
        yield spec.problem((*spec.reader.path, "name"), f"what {spec.reader.entry.name} takes goes to one writer, since it is "
                           "acknowledged when that has it; read it with an export for each writer")  # fmt: skip
    if writer.items_limit and ReaderTraits.of(spec.reader.component).kept_in is not None:
        yield spec.problem((*spec.writer.path, "options", "items_limit"), "what lies behind the limit would be taken from "
                           f"the queue and not be delivered; give {spec.reader.entry.name} max_messages instead")  # fmt: skip
    if spec.encrypt is not None and not delivers_files(writer):
        yield spec.problem(spec.encrypt_at, f"the writer {spec.writer.entry.name} delivers no files, so nothing is encrypted; "
                           "leave this section out, or give it to writers that do")  # fmt: skip
    for name in spec.settings.without:
        if name not in rules.NAMES:
            yield spec.problem(("exporter_options", "without"), f"the planner has no rule {name!r}"
                               f"{did_you_mean(name, rules.NAMES)}")  # fmt: skip
    for n, path in enumerate(spec.statistics.fields or () if spec.statistics is not None else ()):
        try:
            parsed(path)
        except ValueError as error:
            at = ("statistics",) if isinstance(spec.document.get("statistics"), list) else ("statistics", "fields")
            yield spec.problem((*at, n), f"{path!r} is not a path of fields: {error}")
    if spec.empty == ONE_FILE and (why := _why_no_empty_file(writer, form)):
        yield spec.problem(("empty",), why)


def _on_error(spec: ExportSpec, now: datetime) -> OnError:
    """What becomes of records that fail, each section's own `on_error` before that of the whole config."""
    given = spec.on_error
    own = {name: section.on_error for name, section in spec.failing}
    # Behind delta nothing may be set aside: it would count as delivered.
    whole = (GROUPER, FORMATTER, WRITER) if spec.delta is not None else ()
    actions = ((name, FAIL if name in whole else own.get(name) or given.action) for name in spec.order)
    return OnError(
        tuple((name, action) for name, action in actions if action != FAIL),
        given.max_records,
        given.max_rate,
        _marked(expand_dates(numbered(given.file, spec), now), spec) if given.file else None,
    )


def _prints_without_records(spec: ExportSpec, form: Format) -> bool:
    """Whether something is to be seen where there are no records: brackets on the console, or the row of titles."""
    writer = spec.writer
    brackets = writer.entry.name == "console" and bool(FormatTraits.of(form).empty)
    return brackets or WriterTraits.of(writer.component).tells_nothing


def _why_no_empty_file(writer: Writer, form: Format) -> str:
    """Why there can be no file without records; "" where there can be one."""
    if WriterTraits.of(writer).staged_as is not None:
        return '"file" does not go with this writer, which delivers no files'
    if FormatTraits.of(form).finds_types:
        return '"file" needs a schema in the formatter\'s options: without records nothing else says what columns there are'
    return ""


def _marked(path: str, spec: ExportSpec) -> str:
    """A replay's own dead letters do not replace those that it reads, and those of one writer not those of another."""
    stem, suffix = os.path.splitext(path)
    to = f"-{spec.to}" if spec.to else ""
    return f"{stem}{to}{ReaderTraits.of(spec.reader.component).mark}{suffix}"


def _to_folders(writer: Writer) -> bool:
    return WriterTraits.of(writer).place != "elsewhere"


def _at(component: T, at: Callable[[datetime], T] | None, now: datetime) -> T:
    """A component as of the time of the plan, where it has dates in its options."""
    return component if at is None else at(now)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=repr).encode()).hexdigest()[:16]


def _or_default(section: Section[T] | None, default: str) -> T:
    """A section's component, or where there is none that of `default`, an import string."""
    if section is not None:
        return section.component
    import importlib

    module, _, name = default.partition(":")
    found: T = getattr(importlib.import_module(module), name)()
    return found


def _format(spec: ExportSpec) -> Format:
    staged_as = WriterTraits.of(spec.writer.component).staged_as
    if staged_as is not None:
        return staged_as
    form: Format = _or_default(spec.formatter, "exporters_beam.formats.json_text:JsonFormat")
    if spec.formatter is None and is_older(spec.source.value):
        kind: Any = type(form)
        return kind(allow_nan=True)  # as exporters 0.6.18 wrote where no formatter was named
    return form


def _codec(spec: ExportSpec, writer: FileWriter, table: bool) -> Codec:
    if not table:
        return codec(writer.compression, writer.compression_level)
    if spec.writer.options.get("compression") not in (None, "none"):
        raise ConfigError(
            f"compression: {writer.compression!r} does not go with this format, which compresses itself; "
            "give its codec in the formatter's options instead"
        )
    return codec("none")


def _steps(spec: ExportSpec, now: datetime, form: Format, grouper: Grouper | None) -> Iterator[StepPlan]:
    """The steps in order; the checks stand behind all that every writer has, statistics behind all."""
    found = [*_steps_of(spec, now)]
    own = sum(step.name in spec.own for step in found)
    yield from found[: len(found) - own]
    checks = spec.checks
    if checks is not None and (checks.looks or spec.to or spec.delta):
        fields = tuple(name for name, _ in checks.shares)
        yield StepPlan("look", "checks", cast(Any, Looked(fields, checks.unique)), "checks")
    yield from found[len(found) - own :]
    if spec.delta is not None:
        yield step_of(spec.delta)
    if isinstance(grouper, WindowGrouper):
        yield step_of_windows(grouper.windows)
    if spec.statistics is not None:
        needs, removed = FormatTraits.of(form).needs, GrouperTraits.of(grouper).removed
        yield StepPlan("look", STATISTICS, cast(Any, Looking(spec.statistics.fields, needs, removed)), STATISTICS)


def _steps_of(spec: ExportSpec, now: datetime) -> Iterator[StepPlan]:
    drawn: tuple[str, ...] = ()
    for section in spec.steps:
        component = _at(section.component, StepTraits.of(section.component).at, now)
        kinds = {"keep": "keep", "map": "map", "flat_map": "flat_map", "key": "dedupe"}
        method = method_of(component)
        if method is None:
            raise ConfigError(spec.problem((*section.path, "name"), f"{section.name} has none of {', '.join(kinds)}"))
        yield StepPlan(kinds[method], section.step, component, section.name, drawn)
        drawn += draws(component)


def _told(spec: ExportSpec) -> dict[str, object]:
    found: dict[str, Any] = {}
    for section in spec.working:
        told = {"name": section.entry.name, "options": _without_secrets(section)}
        if section.path[0] == "steps":
            found.setdefault("steps", []).append({section.kind: told, "as": section.step})
        else:
            found[section.step or section.kind] = told
    if spec.bundle is not None:
        found["bundle"] = spec.bundle.name
    if spec.delta is not None:
        found[DELTA] = {"key": list(spec.delta.key), "against": spec.delta.against, "deletes": spec.delta.deletes,
                        "field": spec.delta.field}  # fmt: skip
    if spec.window is not None:
        found[WINDOW] = asdict(spec.window)
    if spec.encrypt is not None:
        found["encrypt"] = {"pgp": list(spec.encrypt.pgp), "ending": spec.encrypt.ending}
    return found


def _without_secrets(section: Section[object]) -> dict[str, object]:
    """The options as given; a secret that stands in the config itself is not told, and another one is the same export."""
    secret = {o.name for o in options_of(type(section.component)) if o.secret}
    told = {o.name for o in options_of(type(section.component)) if o.identity}
    elsewhere = {
        o.name: o.value(section.component)
        for o in options_of(type(section.component))
        if o.env and os.environ.get(o.env) and o.name not in section.options and o.name not in secret
    }  # Options from environment variables say where an export reads and delivers, too.
    return elsewhere | {
        name: _without_credentials(value) if name not in secret or isinstance(value, Secret) or value is None else "***"
        for name, value in section.options.items()
        if name in told
    }


def _without_credentials(value: object) -> object:
    """An option's value without passwords and tokens of URLs."""
    if isinstance(value, dict):
        return {key: _without_credentials(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
        return type(value)(map(_without_credentials, value))
    return without_credentials(value) if type(value) is str else value


def _without_name(message: str) -> str:
    return message.partition(": ")[2] or message


def check_functions(spec: ExportSpec) -> None:
    """Import the functions that components name. Raises ConfigError with each that is not here."""
    problems = []
    for section in spec.working:
        try:
            look = ComponentTraits.of(section.component).check_function
            if look is not None:
                look()
        except ConfigError as error:
            for problem in error.problems:
                name, _, text = problem.message.partition(": ")
                problems.append(spec.problem((*section.path, "options", name), text))
    if problems:
        raise ConfigError(*problems)
