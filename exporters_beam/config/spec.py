"""From a config to an ExportSpec: every section found, checked and built, or every problem told.

Loading opens nothing but the config itself: no network, no file of the export, and it imports neither Beam nor a
client library.
"""

from __future__ import annotations

import copy
import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from exporters_beam.components import registry, words
from exporters_beam.components.options import as_declared, build, options_of
from exporters_beam.components.plain import Plain, plain
from exporters_beam.components.secret import Secret
from exporters_beam.components.traits import ComponentTraits, PersistenceTraits, ReaderTraits, WriterTraits
from exporters_beam.config import contract, parameters
from exporters_beam.config.bundle import Bundle
from exporters_beam.config.cases import TESTS
from exporters_beam.config.checks import Checks
from exporters_beam.config.delta import DELTA, Delta
from exporters_beam.config.document import Document, Path, from_mapping, read
from exporters_beam.config.done import Done, takes_done
from exporters_beam.config.encrypt import Encrypt
from exporters_beam.config.export import Destination, ExportSpec, Section, does_nothing
from exporters_beam.config.finding import Finding, as_found
from exporters_beam.config.masked import masked
from exporters_beam.config.new_only import DELETE, KEEP, After, Follow, NewOnly
from exporters_beam.config.older import as_taken
from exporters_beam.config.on_error import ACTIONS, DESERIALIZER, FORMATTER, GROUPER, WRITER, OnErrorOptions
from exporters_beam.config.schema import faults
from exporters_beam.config.sections import (
    AFTER,
    EMPTY,
    FOLLOW,
    LABELS,
    NEW_ONLY,
    NO_FILE,
    OF_A_WRITER,
    OWN_OF_WRITERS,
    OWN_STEPS,
    PARTITION_BY,
    SECTIONS,
    STEP_KINDS,
    STEP_NAME,
    Settings,
)
from exporters_beam.config.statistics import Statistics, shorthand
from exporters_beam.config.table import KINDS as TABLES
from exporters_beam.config.table import AnyTable
from exporters_beam.config.tested import listed
from exporters_beam.config.urls import section_of
from exporters_beam.config.variables import fill
from exporters_beam.config.window import WINDOW, Window
from exporters_beam.errors import ConfigError, Problem, dotted

OTHER_KEYS = (
    *("steps", PARTITION_BY, "exporter_options", "on_error", "empty", "vars", "env", "parameters", "staging", "runners"),
    *("tests", "writers", "checks", "contract", "statistics", "done", "bundle", "encrypt", "table", NEW_ONLY, AFTER, FOLLOW),
    *(DELTA, WINDOW, *LABELS),
)

RESERVED = {*SECTIONS, *OWN_OF_WRITERS, "checks", "copy", "read", "grouped", "written", "persisted"} - {"filter", *OWN_STEPS}
RESERVED |= {"statistics", DELTA, WINDOW, *contract.STEPS}
"""Names of other parts of the graph, and of stages whose times are told."""

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def load(
    source: str | os.PathLike[str] | Mapping[str, object],
    *,
    variables: Mapping[str, object] = {},
    environ: Mapping[str, str] | None = None,
) -> ExportSpec:
    """The spec of a config, a file or a mapping (which is left as it is). `variables` replace members of its `vars`.

    Raises ConfigError with all problems, in the order of the document.
    """
    environ = os.environ if environ is None else environ
    document = from_mapping(source) if isinstance(source, Mapping) else read(source)
    taken, told = as_taken(document.value)
    document = replace(document, value=taken)
    wrong, missing = parameters.check(document.value, variables)
    filled = fill(document.value, variables, environ, declared_names(document), missing)
    filled.problems = [*wrong, *filled.problems]
    loading = _Loading(document, filled, environ)
    loading.warnings += [*document.repeated, *(document.problem(path, message) for path, message in told)]
    return loading.spec()


def declared_names(document: Document) -> set[str]:
    """The names in the section `parameters`: those may be given though nothing uses them."""
    section = document.value.get("parameters")
    return set(map(str, section)) if isinstance(section, Mapping) else set()


class _Loading(Finding):
    """Finds, checks and builds sections."""

    def spec(self) -> ExportSpec:
        self.refuse_endless(self.config, ())
        lists = self.lists()
        sections = {
            name: self.section((name,), kind, self.config.get(name)) for name, kind in SECTIONS.items() if name not in lists
        }
        sections["grouper"] = self.partitions((), self.config) or sections["grouper"]
        steps = self.steps()
        several = self.writers()
        self.require("reader")
        if self.config.get("writers") is None:
            self.require("writer")
        self.refuse_stream_sections()
        self.refuse_what_is_of_files(several)
        settings, formatter, notifications = self.exporter_options()
        if formatter is not None and self.config.get("formatter"):
            self.warn(("exporter_options", "formatter"), "not used: the top-level section `formatter` wins", idle=True)
        if self.config.get("filter") and self.config.get("filter_before"):
            self.warn(("filter_before",), "not used: the section `filter`, its older name, wins", idle=True)
        note = PersistenceTraits.of(self.classes.get(("persistence",))).note
        if note:
            self.warn(("persistence",), note)
        on_error = self.on_error()
        empty = self.empty()
        checks, beside = self.made_of(Checks, "checks", "{records: {min: 1}}"), self.beside()
        contract = self.contract()
        statistics = self.made_of(Statistics, "statistics", "{fields: [price]}, true, or a list of fields")
        delta = self.made_of(Delta, DELTA, "{key: [url]}")
        window = self.made_of(Window, WINDOW, "{field: scraped_at, size: 1h}")
        for name in beside if several and not any(takes_done(each.writer.component) for each in several) else ():
            if name not in ("encrypt", "table") and beside[name] is not None:
                self.add((name,), "none of the writers delivers files to a place where customers look; leave this section out")
        buffer = self.write_buffer(("writer",), self.config.get("writer"))
        several = [replace(each, write_buffer=self.write_buffer(each.writer.path, each.given)) for each in several]
        new_only, after, follow = self.new_only(), self.after(), self.follow()
        staging = self.plain("staging", str, "the path of a folder")
        runners = self.plain("runners", Mapping, "a mapping")
        self.check_tests()
        self.refuse_unknown(self.config, (), (*SECTIONS, *OTHER_KEYS), "section")
        self.warn_of_odd()
        if self.problems:
            raise ConfigError(*sorted(self.problems, key=lambda problem: self.document.order(problem.path)))
        older = sections.pop("filter", None)
        own = {name: sections.pop(name, None) for name in OWN_STEPS}
        own["filter_before"] = older or own["filter_before"]
        if "filter" in lists:
            lists["filter_before"] = lists.pop("filter")
        for name, section in own.items():
            steps += lists.get(name) or ([] if section is None else [replace(section, step=name)])
        if settings.disable_retries:
            sections = {name: _once(section) if section else None for name, section in sections.items()}
            steps = [_once(step) for step in steps]
            several = [replace(each, writer=_once(each.writer)) for each in several]
        sections["formatter"] = sections["formatter"] or formatter
        sections["writer"] = sections["writer"] or several[0].writer
        made = ExportSpec(
            **{name: None if does_nothing(section) else section for name, section in sections.items()},  # type: ignore[arg-type]
            steps=(*(step for step in steps if not does_nothing(step)), *contract),
            listed=tuple(step.step for step in steps) if lists or self.config.get("steps") is not None else None,
            write_buffer=buffer,
            notifications=tuple(_once(section) if settings.disable_retries else section for section in notifications),
            settings=settings,
            on_error=on_error,
            empty=empty,
            checks=checks,
            statistics=statistics,
            delta=delta,
            window=window,
            **beside,
            new_only=new_only,
            after=after,
            follow=follow,
            staging=plain(staging) or None,
            runners=plain(runners) or {},
            file=self.document.file,
            warnings=tuple(sorted(self.warnings, key=lambda problem: self.document.order(problem.path))),
            document=masked(plain(self.config), self.secrets),
            source=self.document,
        )
        if not several:
            return made
        first, *others = (each.applied(made) for each in several)
        return replace(first, others=tuple(others))

    def require(self, name: str) -> None:
        if self.config.get(name) is None:
            others = [str(key) for key in self.config if key not in (*SECTIONS, *OTHER_KEYS)]
            near = difflib.get_close_matches(name, others, n=1)
            self.misspelt.update(near)
            hint = f'; did you misspell it as "{near[0]}"?' if near else "; an export needs a reader and a writer"
            self.add((name,), f"this section is missing{hint}")

    def section(self, path: Path, kind: str, given: object) -> Section[Any] | None:
        """The section at `path`, or None where it is absent or wrong."""
        if given is None:
            return None
        if isinstance(given, str):
            return self.component(kind, given, {}, path, path, path)
        if not isinstance(given, Mapping):
            several = ", or a list of such" if path[-1] in ("filter", *OWN_STEPS) else ""
            self.add(path, f"wrong type: found {as_found(given)}, expected a mapping with name and options{several}")
            return None
        fails = {path[0], path[-1]} & {DESERIALIZER, GROUPER, FORMATTER, WRITER, *OWN_STEPS, *STEP_KINDS}
        action = given.get("on_error") if fails else None
        if action is not None and (*path, "on_error") not in self.failed:
            self.check_action((*path, "on_error"), action)
        section = self.component(kind, given.get("name"), given.get("options"), path, (*path, "name"), (*path, "options"))
        self.refuse_unknown(given, path, ("name", "options", *(("on_error",) if fails else ())), "key")
        return section if section is None or action is None else replace(section, on_error=str(action))

    def lists(self) -> dict[str, list[Section[Any]]]:
        """The sections that are lists of filters or transforms, without the members that are wrong. Their steps are called
        after the section: `transform_1`, `transform_2` and so on."""
        found: dict[str, list[Section[Any]]] = {}
        for name in ("filter", *OWN_STEPS):
            given = self.config.get(name)
            if not isinstance(given, (list, tuple)) or (name,) in self.failed:
                continue
            found[name] = []
            for at, member in enumerate(given):
                section = self.section((name, at), SECTIONS[name], {} if member is None else member)
                if section is not None:
                    step = "filter_before" if name == "filter" else name
                    found[name].append(replace(section, step=f"{step}_{at + 1}"))
        return found

    def steps(self) -> list[Section[Any]]:
        """The list `steps`, without the members that are wrong."""
        path: Path = ("steps",)
        given = self.config.get("steps")
        if given is None or path in self.failed:
            return []
        for name in ("filter", *OWN_STEPS):
            if self.config.get(name) is not None:
                self.add((name,), "there is a list of `steps`; write this section as one of them, or do without the list")
        if not isinstance(given, (list, tuple)):
            self.add(path, f"wrong type: found {as_found(given)}, expected a list of steps")
            return []
        found: dict[str, Section[Any]] = {}
        known: dict[str, str] = {}
        for at, member in enumerate(given):
            section = self.a_step((*path, at), member)
            name = self.name_of_step((*path, at), member)
            if not name:
                continue
            if name in known:
                place = (*path, at, "as") if member.get("as") is not None else (*path, at)
                self.add(place, f"{known[name]} is called {name} already; every step needs a name of its own")
            known.setdefault(name, dotted((*path, at)))
            if section is not None:
                found[name] = replace(section, step=name)
        return list(found.values())

    def partitions(self, above: Path, sections: Mapping[Any, Any]) -> Section[Any] | None:
        """The grouper that the section `partition_by` below `above` stands for, or None where it is absent or wrong."""
        path: Path = (*above, PARTITION_BY)
        given = sections.get(PARTITION_BY)
        if given is None or path in self.failed:
            return None
        if sections.get("grouper") is not None:
            self.add(path, "there is a `grouper` already, and a record goes to one file; leave out one of the two")
            return None
        if isinstance(given, Mapping):
            return self.component("grouper", "partition", given, path, path, path)
        if not isinstance(given, (list, tuple)):
            self.add(path, f"wrong type: found {as_found(given)}, expected a list of fields, or a mapping with `fields`")
            return None
        before = len(self.problems)
        found = self.component("grouper", "partition", {"fields": given}, path, path, path)
        self.as_value(path, before)
        return found

    def as_value(self, path: Path, before: int) -> None:
        """Problems since then are those of an option's value, which stands at `path` itself."""
        self.problems[before:] = [self.document.problem((*path, *p.path[2:]), p.message) for p in self.problems[before:]]

    def a_step(self, path: Path, given: object) -> Section[Any] | None:
        """A member of the list `steps`, or None where it is wrong."""
        if path in self.failed:
            return None
        if not isinstance(given, Mapping):
            self.add(path, f"wrong type: found {as_found(given)}, expected a mapping with `filter` or `transform`")
            return None
        self.refuse_unknown(given, path, (*STEP_KINDS, "as", "on_error"), "key")
        kinds = [kind for kind in STEP_KINDS if kind in given]
        if len(kinds) != 1:
            wrong = "this step is both a filter and a transform; make two of it" if kinds else (
                "a step is a filter or a transform: {filter: {name: …, options: …}}")  # fmt: skip
            self.add(path, wrong)
            return None
        kind = kinds[0]
        section = self.section((*path, kind), kind, {} if given[kind] is None else given[kind])
        action = given.get("on_error")
        if action is None or (*path, "on_error") in self.failed:
            return section
        self.check_action((*path, "on_error"), action)
        if isinstance(given[kind], Mapping) and given[kind].get("on_error") is not None:
            self.add((*path, kind, "on_error"), f"on_error stands beside `{kind}` already; give one of the two")
        return None if section is None else replace(section, on_error=str(action))

    def name_of_step(self, path: Path, given: object) -> str:
        """What a member of the list `steps` is called; "" where it is wrong."""
        if not isinstance(given, Mapping) or (*path, "as") in self.failed:
            return ""
        self.kinds[(*path, "as")] = ["str"]
        name = given.get("as")
        if name is None:
            kind = next((kind for kind in STEP_KINDS if kind in given), "")
            return f"{kind}_{int(path[-1]) + 1}" if kind else ""
        if not isinstance(name, str) or isinstance(name, Secret):
            self.add((*path, "as"), f"wrong type: found {as_found(name)}, expected the name of the step")
        elif not re.fullmatch(STEP_NAME, name):
            self.add((*path, "as"), f"{as_found(name)} is not a name for a step: it begins with a small letter, and has small "
                     "letters, digits and _ only, 60 at the most")  # fmt: skip
        elif name in RESERVED:
            self.add((*path, "as"), f"{name} is the name of another part of the export; take another one")
        else:
            return str(plain(name))
        return ""

    def writers(self) -> list[Destination]:
        """The list `writers`, without the members that are wrong."""
        path: Path = ("writers",)
        given = self.config.get("writers")
        if given is None or path in self.failed:
            return []
        if self.config.get("writer") is not None:
            self.add(("writer",), "there is a list of `writers`; write this section as one of them, or do without the list")
        if not isinstance(given, (list, tuple)) or not given:
            self.add(path, f"wrong type: found {as_found(given)}, expected a list of writers: [{{name: …, options: …}}, …]")
            return []
        found: list[Destination] = []
        known: dict[str, str] = {}
        for at, member in enumerate(given):
            destination = self.a_writer((*path, at), member)
            if destination is None:
                continue
            name, place = destination.to, (*path, at, *(("as",) if destination.given.get("as") is not None else ()))
            if name in known:
                self.add(place, f"{known[name]} is called {name} already; give one of them another name: as: {name}_2")
            known.setdefault(name, dotted((*path, at)))
            found.append(destination)
        return found

    def a_writer(self, path: Path, given: object) -> Destination | None:
        """A member of the list `writers`, or None where it is wrong."""
        if path in self.failed:
            return None
        given = {"name": given} if isinstance(given, str) and not isinstance(given, Secret) else given
        if not isinstance(given, Mapping):
            self.add(path, f"wrong type: found {as_found(given)}, expected a mapping with name and options")
            return None
        writer = self.component("writer", given.get("name"), given.get("options"), path, (*path, "name"), (*path, "options"))
        self.refuse_unknown(given, path, OF_A_WRITER, "key")
        action = given.get("on_error")
        if action is not None and (*path, "on_error") not in self.failed:
            self.check_action((*path, "on_error"), action)
        steps = [step for step in (self.when(path, given), self.fields_of(path, given)) if step is not None]
        formatter = self.section((*path, FORMATTER), FORMATTER, given.get(FORMATTER))
        grouper = self.partitions(path, given) or self.section((*path, GROUPER), GROUPER, given.get(GROUPER))
        self.kinds[(*path, "as")] = ["str"]
        if writer is None:
            return None
        name = given.get("as")
        if name is not None and (not isinstance(name, str) or not re.fullmatch(STEP_NAME, name)):
            self.add((*path, "as"), f"{as_found(name)} is not a name for a writer: it begins with a small letter, and has "
                     "small letters, digits and _ only, 60 at the most")  # fmt: skip
        if action is not None:
            writer = replace(writer, on_error=str(action))
        to = str(plain(name)) if isinstance(name, str) else re.sub("[^a-z0-9_]", "_", writer.entry.name.lower())
        return Destination(to, given, writer, tuple(steps), formatter, grouper, **self.beside(path, given))

    def when(self, path: Path, given: Mapping[Any, object]) -> Section[Any] | None:
        """Which records go to a writer, as a filter."""
        place, expression = (*path, "when"), given.get("when")
        if expression is None or place in self.failed:
            return None
        if not isinstance(expression, str) or isinstance(expression, Secret):
            self.add(place, f"wrong type: found {as_found(expression)}, expected an expression, as \"item['country'] == 'DK'\"")
            return None
        found = self.component("filter", "pythonexp", {"python_expression": expression}, place, place, place)
        self.problems = [replace(problem, path=place) if problem.path[: len(place)] == place else problem
                         for problem in self.problems]  # fmt: skip
        return None if found is None else replace(found, step="when")

    def fields_of(self, path: Path, given: Mapping[Any, object]) -> Section[Any] | None:
        """What becomes of the records that go to a writer: the options of the transform `fields`."""
        place, options = (*path, "fields"), given.get("fields")
        if options is None or place in self.failed:
            return None
        found = self.component("transform", "fields", options, place, place, place)
        return None if found is None else replace(found, step="fields")

    def component(
        self, kind: str, name: Any, options: Any, path: Path, name_path: Path, options_path: Path
    ) -> Section[Any] | None:
        if name_path in self.failed:
            return None
        if name is None or name == "":
            self.add(path, f"the name is missing; name one of: {', '.join(registry.names(kind))}")
            return None
        if not isinstance(name, str) or isinstance(name, Secret):
            self.add(name_path, f"wrong type: found {as_found(name)}, expected the name of a {kind}")
            return None
        try:
            found = section_of(kind, name)
            if found is not None and isinstance(options, (Mapping, type(None))):
                name, options = found[0], {**found[1], **(options or {})}
            entry = registry.find(kind, name)
            component = self.classes[path] = registry.load(entry)
            if isinstance(options, Mapping):
                options = as_declared(component, options)
        except ConfigError as error:
            self.add(name_path, str(error).removeprefix("name: "))
            return None
        if name in entry.legacy and entry.as_before and isinstance(options, (Mapping, type(None))):
            options = {**dict(entry.as_before), **(options or {})}
        made = self.build(component, options, path, options_path)
        return None if made is None else Section(kind, name, entry, made, dict(options or {}), path)

    def build(self, component: type, options: object, path: Path, options_path: Path) -> Any:
        """The component, or None where its options are wrong."""
        if options_path in self.failed:
            return None
        if options is None:
            options = {}
        if not isinstance(options, Mapping):
            self.add(options_path, f"wrong type: found {as_found(options)}, expected a mapping of options")
            return None
        self.secrets += [(*options_path, o.name) for o in options_of(component) if o.secret]
        for o in options_of(component):
            if not {"dict", "list", "dict_list", "object"} & set(o.type.split("|")):
                self.kinds[(*options_path, o.name)] = o.type.split("|")
        options = as_declared(component, options)
        wrong = [
            (way, message) for way, message in faults(component, options, self.environ)
            if not any((*options_path, *way)[: len(place)] == place for place in self.failed)
        ]  # fmt: skip
        for way, message in wrong:
            self.add((*options_path, *way), message)
        if wrong or any(place[: len(options_path)] == options_path for place in self.failed):
            return None
        try:
            return build(component, {**copy.deepcopy(dict(options)), **self.kept_secret(component, options)}, self.environ)
        except ConfigError as error:
            for problem in error.problems:
                way, message = _way(problem, component)
                self.add((*options_path, *way) if way else path, message)
        except (Exception, SystemExit) as error:  # of somebody's own component
            self.add(path, f"cannot be made: {type(error).__name__}: {error}")
        return None

    def kept_secret(self, component: type, options: Mapping[str, object]) -> dict[str, Secret]:
        """Secrets that the environment gives, as references: their values are read where they are used."""
        asked = (o for o in options_of(component) if o.secret and options.get(o.name) is None)
        found = ((o.name, o.variable(self.environ)) for o in asked)
        return {
            name: Secret(f"${{secret:env:{variable}}}") for name, variable in found
            if variable and os.environ.get(variable) == self.environ[variable]
        }  # fmt: skip

    def refuse_stream_sections(self) -> None:
        reader = self.classes.get(("reader",))
        if reader is None or ReaderTraits.of(reader).streams:
            return
        for name in ("decompressor", "deserializer"):
            if self.config.get(name) is not None and not self.at_fault((name,)):
                self.add(
                    (name,),
                    f"this section goes with a stream reader (fs, …) only; {_name(self.config['reader'])} is none",
                )

    def refuse_what_is_of_files(self, several: list[Destination]) -> None:
        """Sections that a writer of records has no use for, and `on_error` of one that delivers files."""
        places: list[tuple[Path, Path, Any]] = [(("writer",), (), self.config)]
        places += [(each.writer.path, each.writer.path, each.given) for each in several]
        for path, before, sections in places:
            writer, given = self.classes.get(path), sections if before else self.config.get("writer")
            if writer is None:
                continue
            if WriterTraits.of(writer).sends:
                for name, why in (("grouper", "which have no groups"), ("formatter", "and writes no files")):
                    if sections.get(name) is not None and not self.at_fault((*before, name)):
                        tell = self.warn if self.older else self.add
                        tell((*before, name), f"{_name(given)} sends records, {why}; leave this section out")
            elif isinstance(given, Mapping) and given.get("on_error") is not None:
                self.add((*path, "on_error"), f"{_name(given)} delivers files, and no record fails there; give the formatter's")

    def exporter_options(self) -> tuple[Settings, Section[Any] | None, list[Section[Any]]]:
        path = ("exporter_options",)
        given = self.config.get("exporter_options")
        if given is None or path in self.failed:
            given = {}
        if not isinstance(given, Mapping):
            self.add(path, f"wrong type: found {as_found(given)}, expected a mapping")
            return Settings(), None, []
        known = [o.name for o in options_of(Settings)]
        self.refuse_unknown(given, path, (*known, "formatter", "notifications"), "option")
        settings = self.build(Settings, {name: given[name] for name in known if name in given}, path, path) or Settings()
        if settings.log_level not in LOG_LEVELS:
            hint = words.did_you_mean(settings.log_level.upper(), LOG_LEVELS)
            self.warn((*path, "log_level"), f"there is no level {settings.log_level!r}, so INFO is used{hint}")
            settings = build(Settings, {**settings.__dict__, "log_level": "INFO"})
        formatter = self.section((*path, "formatter"), "formatter", given.get("formatter"))
        notifications = given.get("notifications")
        if (*path, "notifications") in self.failed:
            notifications = None
        if notifications is not None and not isinstance(notifications, (list, tuple)):
            self.add((*path, "notifications"), f"wrong type: found {as_found(notifications)}, expected a list of sections")
            notifications = None
        members = [self.notification((*path, "notifications", at), m) for at, m in enumerate(notifications or ())]
        return settings, formatter, [member for member in members if member is not None]

    def on_error(self) -> OnErrorOptions:
        """The section `on_error`, or only its action."""
        path: Path = ("on_error",)
        given = self.config.get("on_error")
        if given is None or path in self.failed:
            return OnErrorOptions()
        if isinstance(given, str):
            self.check_action(path, given)
            return OnErrorOptions(action=given)
        if not isinstance(given, Mapping):
            self.add(path, f"wrong type: found {as_found(given)}, expected one of {', '.join(ACTIONS)}, or a mapping")
            return OnErrorOptions()
        found = self.build(OnErrorOptions, given, path, path) or OnErrorOptions()
        if found.max_rate is not None and found.max_rate > 1:
            self.add((*path, "max_rate"), f"{found.max_rate} is too large: it is a share of the records, 0 to 1")
        return found

    def made_of(self, kind: type, name: str, example: str, above: Path = (), sections: Mapping[Any, Any] | None = None) -> Any:
        """What a section is that has options and no component; None where it is absent or wrong."""
        path: Path = (*above, name)
        given = (self.config if sections is None else sections).get(name)
        if given is None or path in self.failed or (kind is Statistics and given is False):
            return None
        given, short = shorthand(kind, given)
        if not isinstance(given, Mapping):
            self.add(path, f"wrong type: found {as_found(given)}, expected a mapping: {example}")
            return None
        before = len(self.problems)
        made = self.build(kind, given, path, path)
        if short:
            self.as_value(path, before)
        return made

    def contract(self) -> tuple[Section[Any], ...]:
        """The steps that the section `contract` stands for."""
        if self.config.get("contract") is None:
            return ()  # and nothing is imported for it
        found = self.made_of(registry.load(contract.ENTRY), "contract", "{schema: {properties: …}}")
        made = () if found is None else found.steps()
        return tuple(
            Section("transform", "contract", contract.ENTRY, component, options, ("contract",), contract.ON_ERROR[action], name)
            for name, action, component, options in made
        )

    def new_only(self) -> NewOnly | None:
        """The section `new_only`: true, or a mapping."""
        given = self.config.get(NEW_ONLY)
        if isinstance(given, Plain) and isinstance(given.meant, bool):
            given = given.meant
        if isinstance(given, bool):
            return NewOnly() if given else None
        found: NewOnly | None = self.made_of(NewOnly, NEW_ONLY, "{settled: 60s}, or true")
        return found

    def after(self) -> After | str:
        """The section `after`: a word, or a mapping with a folder."""
        given = plain(self.config.get(AFTER))
        if given is not None and self.config.get(NEW_ONLY) is None:
            self.add((AFTER,), "what was read is put away where each run reads what is new; add `new_only: true`")
        if isinstance(given, str) and not isinstance(given, Secret):
            if given not in (KEEP, DELETE):
                hint = words.did_you_mean(given, (KEEP, DELETE))
                self.add((AFTER,), f"{as_found(given)} is not one of keep, delete and {{archive: FOLDER}}{hint}")
            return given
        return self.made_of(After, AFTER, "{archive: FOLDER}, or keep, or delete") or KEEP

    def follow(self) -> Follow | None:
        """The section `follow`."""
        if self.config.get(FOLLOW) is not None and self.config.get(NEW_ONLY) is None:
            self.add((FOLLOW,), "batches follow on each other where each reads what is new; add `new_only: true`")
        found: Follow | None = self.made_of(Follow, FOLLOW, "{every: 10s}")
        return found

    def beside(self, above: Path = (), sections: Mapping[Any, Any] | None = None) -> dict[str, Any]:
        """`done`, `bundle`, `encrypt` and `table`, of the whole export or of a member of the list `writers`."""
        kinds: dict[str, tuple[type, str]] = {"done": (Done, "{success_file: _SUCCESS}"), "bundle": (Bundle, "{name: day.zip}"),
                                              "encrypt": (Encrypt, "{pgp: [customer.asc]}")}  # fmt: skip
        found = {name: self.made_of(kind, name, like, above, sections) for name, (kind, like) in kinds.items()}
        return {**found, "table": self.table(above, self.config if sections is None else sections)}

    def table(self, above: Path, sections: Mapping[Any, Any]) -> AnyTable | None:
        """The section `table`: a table of one kind."""
        path: Path = (*above, "table")
        given = sections.get("table")
        if given is None or path in self.failed:
            return None
        if not isinstance(given, Mapping):
            self.add(path, f"wrong type: found {as_found(given)}, expected a mapping: {{iceberg: …}}, or {{delta: …}}")
            return None
        if not above and self.config.get("writers") is not None:
            self.add(path, "each of several writers would add its files to the table; give it to the one whose files are meant")
        self.refuse_unknown(given, path, tuple(TABLES), "kind of table")
        kinds = [kind for kind in TABLES if kind in given]
        if len(kinds) != 1:
            if kinds or not given:
                self.add(path, "the files become part of one table; give iceberg or delta")
            return None
        kind, example = TABLES[kinds[0]]
        found = {} if given[kinds[0]] is None else given[kinds[0]]
        made: AnyTable | None = self.made_of(kind, kinds[0], example, path, {kinds[0]: found})
        return made

    def empty(self) -> str:
        """The section `empty`."""
        given = self.config.get("empty")
        if given is None or ("empty",) in self.failed:
            return NO_FILE
        if not isinstance(given, str) or given not in EMPTY:
            hint = words.did_you_mean(given, EMPTY) if isinstance(given, str) else f"; known: {', '.join(EMPTY)}"
            self.add(("empty",), f"{as_found(given)} is not one of the choices{hint}")
            return NO_FILE
        return str(given)

    def check_tests(self) -> None:
        """The section `tests`, where the tests stand in it. A file that it names is not read."""
        given = plain(self.config.get(TESTS))
        if given is not None and not isinstance(given, str):
            self.problems += listed(self.document, given)[1]

    def check_action(self, path: Path, action: object) -> None:
        if not isinstance(action, str) or action not in ACTIONS:
            hint = words.did_you_mean(action, ACTIONS) if isinstance(action, str) else f"; known: {', '.join(ACTIONS)}"
            self.add(path, f"{as_found(action)} is not one of the choices{hint}")

    def notification(self, path: Path, given: object) -> Section[Any] | None:
        if given is None:
            given = {}
        return self.section(path, "notification", given)

    def write_buffer(self, writer_path: Path, writer_given: object) -> Section[Any] | None:
        """The writer's `write_buffer` with `write_buffer_options`; None for the default one."""
        writer = self.classes.get(writer_path)
        given = writer_given.get("options") if isinstance(writer_given, Mapping) else None
        declared = {o.name: o for o in options_of(writer)} if writer is not None else {}
        if "write_buffer" not in declared:
            return None
        given = given if isinstance(given, Mapping) else {}
        path = (*writer_path, "options", "write_buffer")
        options_path = (*writer_path, "options", "write_buffer_options")
        name = given.get("write_buffer") or declared["write_buffer"].default
        if self.at_fault(path) or self.at_fault(options_path):
            return None
        section = self.component("write_buffer", name, given.get("write_buffer_options"), path, path, options_path)
        return None if section is None or section.entry.name == "default" else section

    def plain(self, name: str, type: Any, wanted: str) -> Any:
        value = self.config.get(name)
        if value is not None and (not isinstance(value, type) or isinstance(value, Secret)) and not self.at_fault((name,)):
            self.add((name,), f"wrong type: found {as_found(value)}, expected {wanted}")
        return value


def _once(section: Section[Any]) -> Section[Any]:
    """A component that tries only once what can fail for a moment."""
    if ComponentTraits.of(section.component).attempts is None:
        return section
    return replace(section, component=replace(section.component, attempts=1))


def _name(section: object) -> str:
    return str(section.get("name") if isinstance(section, Mapping) else section)


_OPTION = re.compile(r"([A-Za-z_]\w*)((?:\.\w+|\[\d+\])*): (.*)\Z", re.DOTALL)


def _way(problem: Problem, component: type) -> tuple[Path, str]:
    """(way to an option, message) of what a component said: "keys[0].operator: there is no …"."""
    if problem.path:
        return problem.path, problem.message
    match = _OPTION.match(problem.message)
    if match is None or match.group(1) not in {o.name for o in options_of(component)}:
        return (), problem.message
    inner = re.findall(r"\.(\w+)|\[(\d+)\]", match.group(2))
    return (match.group(1), *(int(index) if index else name for name, index in inner)), match.group(3)
