"""A config of exporters 0.6.18 as one of today: short names, today's sections, and every option that keeps its meaning.

What comes of it delivers what the old one delivers: a component that means the same by its short name is asked for by that, and
one that does not has the options that make it so, with a comment. What has no effect any more is left out.
"""

from __future__ import annotations

import ast
import copy
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from exporters_beam.components import registry
from exporters_beam.components.options import as_declared, options_of
from exporters_beam.components.plain import plain
from exporters_beam.config.document import Document, Path, parse, read
from exporters_beam.config.older import as_taken, sends_records
from exporters_beam.config.sections import SECTIONS, Settings, is_older, name_of
from exporters_beam.config.spec import load
from exporters_beam.errors import ConfigError, Problem, dotted
from exporters_beam.planning.plan import make
from exporters_beam.transforms.expressions import python2


@dataclass
class Migrated:
    """A new config as text, and what is told of it: what was changed or left out, and what a person has to look at."""

    text: str = ""
    notes: list[tuple[Path, str]] = field(default_factory=list)

    def told(self) -> list[str]:
        return [f"{dotted(path)}: {message}" for path, message in self.notes]


def migrate(file: str, variables: Mapping[str, object] = {}) -> Migrated:
    """The new form of the config in a file. Raises ConfigError where the old one is wrong, or is no old one."""
    document = read(file)
    if not is_older(document.value):
        raise ConfigError(Problem((), "it names no class path of exporters 0.6.18 in its sections: there is nothing to migrate",
                                  file=file))  # fmt: skip
    spec = load(file, variables=variables)
    make(spec)
    made = _Migration(document)
    made.leave_out(problem.path for problem in spec.warnings if problem.idle)
    found = made.sections()
    text = _as_yaml(found, made.notes, file)
    make(load(parse(text, file).value, variables=variables))
    return Migrated(text, made.notes)


class _Migration:
    def __init__(self, document: Document) -> None:
        taken, told = as_taken(document.value)
        self.config: dict[Any, Any] = copy.deepcopy(taken)
        self.notes: list[tuple[Path, str]] = []
        for path, message in told:
            self.note(path, message)

    def note(self, path: Path, message: str) -> None:
        self.notes.append((("filter_before", *path[1:]) if path[:1] == ("filter",) else path, message))

    def leave_out_idle(self, component: type, options: dict[str, Any], path: Path) -> None:
        """Options that change nothing any more."""
        for o in options_of(component):
            if o.name in options and o.help.startswith("accepted for old configs"):
                del options[o.name]
                self.note((*path, o.name), "left out: it changes nothing any more")

    def leave_out(self, paths: Iterable[Path]) -> None:
        """What nothing uses."""
        for path in paths:
            if _delete(self.config, path):
                self.note(path, "left out: nothing used it")

    def sections(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in self.config.items():
            name = str(key)
            if name == "exporter_options":
                found |= self.settings(value)
            elif name == "persistence":
                found |= self.persistence(value)
            elif name in SECTIONS and value is not None:
                new = "filter_before" if name == "filter" else name
                if new != name:
                    self.note((new,), "was called filter")
                if isinstance(value, list):
                    found[new] = [self.section(SECTIONS[name], member, (new, at)) for at, member in enumerate(value)]
                else:
                    found[new] = self.section(SECTIONS[name], value, (new,))
            elif name == "steps" and isinstance(value, list):
                found[name] = [self.step(member, ("steps", at)) for at, member in enumerate(value)]
            else:
                found[name] = plain(value)
        if sends_records(found.get("writer")):
            for name in [name for name in ("grouper", "formatter") if name in found]:
                del found[name]
                self.note(("writer",), f"stores records and no files: the section {name} was left out")
        elif "formatter" not in found:
            found["formatter"] = {"name": "json", "options": {"allow_nan": True}}
            self.note(("formatter",), "allow_nan: NaN and infinities were written, which are not JSON; leave the section out "
                      "where no record has them")  # fmt: skip
        order = [*(name for name in SECTIONS if name in found), *(name for name in found if name not in SECTIONS)]
        return {name: found[name] for name in order}

    def step(self, member: Any, path: Path) -> Any:
        if not isinstance(member, Mapping):
            return member
        return {
            key: self.section(str(key), value, (*path, str(key))) if key in ("filter", "transform") else plain(value)
            for key, value in member.items()
        }

    def section(self, kind: str, given: Any, path: Path) -> Any:
        """A section with the short name of its component, and the options that keep its meaning."""
        name = name_of(given)
        if not name:
            return plain(given)
        section = dict(given) if isinstance(given, Mapping) else {}
        try:
            entry = registry.find(kind, name)
            component = registry.load(entry)
        except ConfigError:  # An address, say.
            return plain(given)
        options = section.get("options")
        options = as_declared(component, options) if isinstance(options, Mapping) else {}
        older = name in entry.legacy
        if older:
            self.as_before(entry, component, options, path)
        self.leave_out_idle(component, options, (*path, "options"))
        if entry.name == "reduce":
            self.reduce(options, path)
        if entry.name in ("fs", "s3", "sftp", "ftp", "gcs") and kind == "writer" and "write_buffer" in options:
            buffer = registry.find("write_buffer", str(options["write_buffer"]))
            options["write_buffer"] = buffer.name
        rest = {key: plain(value) for key, value in section.items() if key not in ("name", "options")}
        return {"name": entry.name if older else name, **({"options": options} if options else {}), **rest}

    def as_before(self, entry: registry.Entry, component: type, options: dict[str, Any], path: Path) -> None:
        """Options that make a component behave as it did by its old class path."""
        for name, value in entry.as_before:
            if name in options:
                continue
            why = _why_kept(entry, name, options)
            if why:
                options[name] = value
                self.note((*path, "options", name), why)
        if any(name == "dialect" for name, _ in entry.as_before):
            for source in _expressions(options):
                self.undecided(source, path)

    def undecided(self, source: str, path: Path) -> None:
        """What no dialect gives back."""
        if re.search(r"\bhash\(", source):
            self.note(path, f"look at it: hash gives another number than in Python 2, the same in every run: {source:.80}")
        if re.search(r"isinstance\([^()]*(\([^()]*\)|\[[^\]]*\])*[^()]*,\s*str\b", source):
            self.note(path, f"look at it: texts of records are str now; they were unicode: {source:.80}")
        if re.search(r"\b(str|unicode|repr)\(\s*(\[|item\.items|item\.keys|item\.values|item\))", source):
            self.note(path, f"look at it: the text of a list or a record has no u'…' in it now: {source:.80}")

    def reduce(self, options: Mapping[str, Any], path: Path) -> None:
        code = str(options.get("code", ""))
        for odd in ("iteritems", "itervalues", "iterkeys", "has_key", "unicode(", "xrange(", "basestring"):
            if odd in code:
                self.note((*path, "options", "code"), f"look at it: it is run by Python 3, which has no {odd.rstrip('(')}")
        if re.search(r"(?<!/)/(?!/)", code):
            self.note((*path, "options", "code"), "look at it: / of whole numbers gives a fraction in Python 3")

    def settings(self, given: Any) -> dict[str, Any]:
        if not isinstance(given, Mapping):
            return {}
        options = as_declared(Settings, given)
        found: dict[str, Any] = {}
        self.leave_out_idle(Settings, options, ("exporter_options",))
        form = options.pop("formatter", None)
        if form is not None:
            found["formatter"] = self.section("formatter", form, ("formatter",))
            self.note(("formatter",), "stood in exporter_options")
        told = options.get("notifications")
        if isinstance(told, list):
            options["notifications"] = [
                self.section("notification", member, ("exporter_options", "notifications", at))
                for at, member in enumerate(told)
            ]
        return {**found, **({"exporter_options": options} if options else {})}

    def persistence(self, given: Any) -> dict[str, Any]:
        try:
            name = registry.find("persistence", name_of(given)).name
        except ConfigError:
            name = ""
        if name != "pickle":
            self.note(("persistence",), "left out: no database keeps the state of an export any more")
            return {}
        options = given.get("options") if isinstance(given, Mapping) else None
        folder = options.get("file_path", ".") if isinstance(options, Mapping) else "."
        self.note(("staging",), "was persistence; exporters-beam run CONFIG --resume goes on with what stands there")
        return {"staging": plain(folder)}


def _delete(config: Any, path: Path) -> bool:
    """Whether there was something at the path."""
    for part in path[:-1]:
        try:
            config = config[part]
        except (KeyError, IndexError, TypeError):
            return False
    if not path or not isinstance(config, dict) or path[-1] not in config:
        return False
    del config[path[-1]]
    return True


def _expressions(options: Mapping[str, Any]) -> list[str]:
    found = [options.get("python_expression"), options.get("map"), *(options.get("python_expressions") or ())]
    return [source for source in found if isinstance(source, str)]


def _why_kept(entry: registry.Entry, name: str, options: Mapping[str, Any]) -> str:
    """Why an option has to say what the old class path said; "" where the component means the same without it."""
    if name != "dialect":
        return _WHY.get(name, "as before")
    if entry.name.startswith("key_value"):
        return _why_patterns(entry.name == "key_value_regex", options.get("keys"))
    for source in _expressions(options):
        if not _means_the_same(source):
            return f"it means something else in Python 3: {' '.join(source.split()):.80}"
    return ""


_WHY = {
    "allow_nan": "NaN and infinities were written, which are not JSON; leave it out where no record has them",
    "ragged": "shorter rows have null, longer ones their surplus under the key null; leave it out to have them told",
    "open_quotes": "a quote that is never closed takes the rest of the file; leave it out to have it told",
    "bare_quotes": "quotes inside of values are text; leave it out to have them told",
    "duplicate_names": "of columns with the same name the last one counts; leave it out to have them told",
}


def _why_patterns(all_of_them: bool, keys: Any) -> str:
    for key in keys if isinstance(keys, (list, tuple)) else ():
        pattern = key.get("value") if isinstance(key, Mapping) else None
        used = all_of_them or (isinstance(key, Mapping) and key.get("operator") == "re_match")
        if used and isinstance(pattern, str) and re.search(r"\\[A-Za-z]|\(\?", pattern):
            return f"letters and digits are those of ASCII in {pattern:.80}"
    return ""


def _means_the_same(source: str) -> bool:
    """Whether an expression is sure to mean in Python 3 what it meant in Python 2."""
    if "${" in source:
        return False
    try:
        body = ast.parse(source).body[0]
        older = ast.parse(python2.spelled(source)).body[0]
    except (SyntaxError, ValueError, IndexError):
        return False
    if not isinstance(body, ast.Expr) or not isinstance(older, ast.Expr):
        return False
    ops = (op for node in ast.walk(body) if isinstance(node, ast.Compare) for op in node.ops)
    if any(isinstance(op, tuple(python2.ORDER)) for op in ops):
        return False
    return ast.dump(python2.meant(older.value, {})) == ast.dump(body.value)


def _as_yaml(found: Mapping[str, Any], notes: list[tuple[Path, str]], file: str) -> str:
    """The config as YAML, with what is told of each section before it."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
            return super().increase_indent(flow, False)

    def as_text(dumper: Any, text: str) -> Any:
        odd = re.fullmatch(r"[-+.]?\d[\w.:+-]*|0o\d+", text) is not None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if odd else None)

    Dumper.add_representer(str, as_text)
    Dumper.add_representer(tuple, lambda dumper, value: dumper.represent_list(list(value)))
    parts = []
    for name, value in found.items():
        told = [f"# {dotted(path[1:])}{': ' if path[1:] else ''}{message}" for path, message in notes if path[:1] == (name,)]
        body = yaml.dump({name: value}, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)
        parts.append("\n".join([*(" ".join(line.split()) for line in told), body]))
    gone = [f"# {dotted(path)}: {message}" for path, message in notes if path[:1] and str(path[0]) not in found]
    head = [
        f"# Made of {' '.join(file.split())} by exporters-beam migrate.",
        *(" ".join(line.split()) for line in gone),
    ]
    return "\n".join(["\n".join([*head, ""]), *parts])
