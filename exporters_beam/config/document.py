"""The text of a config: from JSON or YAML to values, and from the way to a value back to its line and column.

Valid JSON has JSON's meaning (`1e3` is a number, tabs may indent); everything else is read as YAML by the safe loader.
What YAML 1.1 and 1.2 read differently (`NO`, `012`, `2024-01-01`, `12:30`, `1e3`) is the text that stands there, and an
option that wants a number or true or false takes it as that. Keys are texts, as in JSON. Nothing is substituted and no
section is looked at here.

>>> document = parse('{"reader": {"name": "fs"}}', "export.json")
>>> document.value
{'reader': {'name': 'fs'}}
>>> str(document.problem(("reader", "name"), "no"))
'export.json:1:13: reader.name: no'
"""

from __future__ import annotations

import json
import os
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from json.decoder import JSONDecodeError
from typing import Any

from exporters_beam.components.plain import Plain
from exporters_beam.components.words import kind_of
from exporters_beam.config.sections import is_older
from exporters_beam.errors import ConfigError, Problem

Path = tuple["str | int", ...]

Place = tuple[int, int]

NESTING = 100
"""How deep a config may nest. Deeper ones are mistakes or attacks, and whatever walks them may recurse."""

ALIASED = 100_000
"""How many values a YAML document may have once its aliases are written out (the "billion laughs" attack)."""


@dataclass(frozen=True)
class Odd:
    """A YAML scalar without quotes that may be misread. `read` is what it was read as: a `Plain`, or another value."""

    path: Path
    text: str
    read: Any

    @property
    def warning(self) -> str:
        """What to tell where a text may be meant."""
        if not isinstance(self.read, Plain):
            what = "null" if self.read is None else _as_told(self.read)
            return f"{self.text} is read as {what}; put it in quotes if the text is meant, or write {json.dumps(self.read)}"
        if isinstance(self.read.meant, (bool, int, float)):
            other, write = _as_told(self.read.meant), f", or write {json.dumps(self.read.meant)}"
        else:
            other, write = "a date", ""
        return f'{self.text} is read as the text "{self.text}", and YAML elsewhere may read {other}; put it in quotes{write}'

    @property
    def number_warning(self) -> str:
        """What to tell where a number is meant; "" where it is clear which one."""
        if isinstance(self.read, Plain) and self.read.two_numbers:
            return f"{self.text} is read as {_as_told(self.read.number)}; write {self.read.number}"
        return ""


def _as_told(value: object) -> str:
    return json.dumps(value) if isinstance(value, bool) else f"the number {value}"


@dataclass(frozen=True)
class Document:
    """A config as values, with its text where it has one. `syntax` is "json", "yaml" or "" for a mapping. `odd` are the
    scalars of YAML that may be misread, `repeated` the keys that stand twice in a config of exporters 0.6.18."""

    value: dict[Any, Any]
    file: str = ""
    text: str = ""
    syntax: str = ""
    odd: tuple[Odd, ...] = ()
    repeated: tuple[Problem, ...] = ()

    @cached_property
    def places(self) -> dict[Path, Place]:
        """Line and column, from 1, of every key and list member. Worked out when the first problem is reported."""
        if self.syntax == "json":
            found, _ = _json_places(self.text)
            begins = [0, *(end.end() for end in re.finditer("\n", self.text))]
            lines = {path: bisect_right(begins, at) for path, at in found.items()}
            return {path: (line, found[path] - begins[line - 1] + 1) for path, line in lines.items()}
        return _load_yaml(self.text, self.file).places() if self.syntax == "yaml" else {}

    @cached_property
    def root(self) -> Any:
        """The node of the whole text, of YAML. Nodes know where what they stand for begins and ends."""
        return _load_yaml(self.text, self.file).node

    def offset(self, path: Path) -> int:
        """Where the key or the list member at `path` begins in a text of JSON. Raises KeyError."""
        return _json_places(self.text)[0][path]

    def place(self, path: Path) -> Place:
        """Where the value at `path` stands, or the nearest thing around it that exists; (0, 0) without text."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return (0, 0)

    def problem(self, path: Path, message: str) -> Problem:
        return Problem(path, message, *self.place(path), self.file)

    def order(self, path: Path) -> tuple[int, ...]:
        """Sorts paths as the document does; what is missing comes before what is there."""
        numbers = []
        value: Any = self.value
        for part in path:
            if isinstance(value, Mapping) and part in value:
                numbers.append(list(value).index(part))
                value = value[part]
            elif isinstance(value, (list, tuple)) and isinstance(part, int) and part < len(value):
                numbers.append(part)
                value = value[part]
            else:
                numbers.append(-1)
                value = None
        return tuple(numbers)


def read(source: str | os.PathLike[str]) -> Document:
    """The document in a file. Raises ConfigError where it cannot be read or is not a mapping in JSON or YAML."""
    file = os.fspath(source)
    try:
        with open(file, "rb") as stream:
            raw = stream.read()
    except FileNotFoundError:
        raise ConfigError(Problem((), "there is no such file", file=file)) from None
    except IsADirectoryError:
        raise ConfigError(Problem((), "this is a folder; give the config file in it", file=file)) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(Problem((), f"the file cannot be read: {reason}", file=file)) from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - raw.rfind(b"\n", 0, error.start)
        message = f"the file is not UTF-8 text (byte 0x{raw[error.start]:02x}); save it as UTF-8"
        raise ConfigError(Problem((), message, line, column, file)) from None
    return parse(text, file)


def parse(text: str, file: str = "") -> Document:
    """The document in a text. Raises ConfigError; `file` is only shown."""
    if not text.strip():
        raise ConfigError(Problem((), "the file is empty; an export needs a reader and a writer", file=file))
    syntax, odd = "json", tuple[Odd, ...]()
    try:
        value, repeated = _read_json(text, file)
    except RecursionError:
        raise ConfigError(Problem((), _TOO_DEEP, file=file)) from None
    except ValueError as not_json:
        if isinstance(not_json, ConfigError):
            raise
        try:
            value, odd, repeated = _read_yaml(text, file)
        except ConfigError:
            if isinstance(not_json, JSONDecodeError) and _meant_as_json(text, file):
                message = f"not valid JSON: {_lower(not_json.msg)}"
                raise ConfigError(Problem((), message, not_json.lineno, not_json.colno, file)) from None
            raise
        syntax = "yaml"
    if repeated and not (isinstance(value, Mapping) and is_older(value)):
        raise ConfigError(*repeated)
    return _checked(Document(value, file, text, syntax, odd, repeated))


def from_mapping(value: Mapping[str, object]) -> Document:
    """A document that was parsed already, so that its problems have no line. The mapping is left as it is."""
    return _checked(Document(dict(value) if isinstance(value, Mapping) else value))


_TOO_DEEP = f"values are nested more than {NESTING} deep; a config has no need of that"


def _checked(document: Document) -> Document:
    value = document.value
    if not isinstance(value, Mapping):
        if value is None and document.syntax == "yaml":
            message = "the file is empty; an export needs a reader and a writer"
        else:
            message = f"a config is a mapping of sections (reader, writer, …); found {kind_of(value)}"
        raise ConfigError(Problem((), message, file=document.file))
    waiting: list[Iterator[Any]] = [iter(value.values())]
    while waiting:
        for member in waiting[-1]:
            if isinstance(member, Mapping):
                waiting.append(iter(member.values()))
                break
            if isinstance(member, (list, tuple)):
                waiting.append(iter(member))
                break
        else:
            waiting.pop()
        if len(waiting) > NESTING:
            raise ConfigError(Problem((), _TOO_DEEP, file=document.file))
    return document


def _place(text: str, at: int) -> Place:
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


def _meant_as_json(text: str, file: str) -> bool:
    if file.endswith((".yaml", ".yml")):
        return False
    return file.endswith(".json") or text.lstrip().startswith("{")


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _read_json(text: str, file: str) -> tuple[Any, tuple[Problem, ...]]:
    """The value of a JSON text, and keys that stand twice in it. Raises ValueError where it is not JSON."""
    repeated = False

    def mapping(pairs: list[tuple[str, object]]) -> dict[str, Any]:
        nonlocal repeated
        made = dict(pairs)
        repeated = repeated or len(made) < len(pairs)
        return made

    value = json.loads(text, object_pairs_hook=mapping, parse_constant=_refuse_constant)
    return value, tuple(
        Problem(path, _twice(_place(text, first)[0]), *_place(text, at), file)
        for path, first, at in (_json_places(text)[1] if repeated else ())
    )


def _refuse_constant(name: str) -> Any:
    raise JSONDecodeError(f"{name} is not JSON", name, 0)


def _twice(line: int) -> str:
    return f"this key stands twice (first on line {line}); keep one of them"


_TOKEN = re.compile(r'("(?:[^"\\]|\\.)*")|([{}\[\],:])|([^\s{}\[\],:"]+)')


def _json_places(text: str) -> tuple[dict[Path, int], list[tuple[Path, int, int]]]:
    """Of a valid JSON text: the offset of every key and list member, and (path, first, again) of repeated keys."""
    places: dict[Path, int] = {}
    repeated = []
    way: list[Any] = []  # to the value that is read now
    opened: list[str] = []
    key_next = False
    for token in _TOKEN.finditer(text):
        string, mark, _ = token.groups()
        if string and key_next:
            way[-1] = json.loads(string)
            path = tuple(way)
            if path in places:
                repeated.append((path, places[path], token.start()))
            places.setdefault(path, token.start())
        elif mark == ",":
            key_next = opened[-1] == "{"
            if not key_next:
                way[-1] += 1
        elif mark == ":":
            key_next = False
        elif mark in ("}", "]"):
            opened.pop()
            way.pop()
            key_next = False
        else:
            if not opened or opened[-1] == "[":
                places.setdefault(tuple(way), token.start())
            if mark in ("{", "["):
                opened.append(mark)
                way.append(0 if mark == "[" else None)
                key_next = mark == "{"
    return places, repeated


_YAML = "tag:yaml.org,2002:"

_PLAIN = "tag:exporters-beam,2026:plain"

_OF_KEYS = (_PLAIN, *(f"{_YAML}{name}" for name in ("bool", "int", "float", "null", "timestamp", "value")))

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)\Z|0x[0-9a-fA-F]+\Z")
"""Integers that YAML 1.1 and 1.2 read alike."""

_NEW_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")

_NEW_OCTAL = re.compile(r"0o[0-7]+\Z")


def _tag(found: str, text: str) -> str:
    """The tag of a scalar without quotes, of which YAML 1.1 says `found`."""
    kind = found.removeprefix(_YAML)
    if kind == "value":
        return f"{_YAML}str"
    alike = {
        "bool": text.lower() in ("true", "false"),
        "int": bool(_INTEGER.match(text)),
        "float": not ("_" in text or ":" in text),
        "timestamp": False,
        "str": not (_NEW_FLOAT.match(text) or _NEW_OCTAL.match(text)),
    }
    return found if alike.get(kind, True) else _PLAIN


def _odd_spelling(text: str) -> bool:
    """Whether every YAML reads it as another thing than text, though texts look like it too: TRUE, Null, 0x1F, +47."""
    return text in ("True", "TRUE", "False", "FALSE", "Null", "NULL") or text.startswith(("+", "0x"))


def _read_yaml(text: str, file: str) -> tuple[Any, tuple[Odd, ...], tuple[Problem, ...]]:
    """The value of a YAML text, what may be misread in it, and keys that stand twice. Raises ConfigError."""
    import yaml

    try:
        loaded = _load_yaml(text, file)
        return loaded.value, tuple(loaded.odd), tuple(loaded.repeated)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise ConfigError(Problem((), _yaml_sentence(error), place[0], place[1], file)) from None
    except yaml.reader.ReaderError as error:
        at = text.find(chr(error.character)) if isinstance(error.character, int) else -1
        place = _place(text, at) if at >= 0 else (0, 0)
        message = f"the character U+{ord(text[at]):04X} must not stand in a config" if at >= 0 else error.reason
        raise ConfigError(Problem((), message, *place, file)) from None
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        raise ConfigError(Problem((), f"neither JSON nor YAML: {error}", file=file)) from None


def _yaml_sentence(error: Any) -> str:
    """One sentence for what PyYAML found wrong."""
    problem, context = error.problem or "", error.context or ""
    tag = re.search(r"constructor for the tag '(.*)'", problem)
    if tag:
        name = tag.group(1).replace("tag:yaml.org,2002:", "!!")
        return f"the tag {name} is not allowed here; a config holds plain values only"
    if "\\t" in problem or "tab character" in problem:
        return "a tab indents this line; YAML is indented with spaces"
    if "nesting depth" in problem:  # PyYAML 6.0.4 and newer
        return _TOO_DEEP
    if "another document" in problem:
        return "a second document begins here; a config is a single one"
    return f"not valid YAML: {problem}{f' ({context})' if context else ''}"


@dataclass(frozen=True)
class _Loaded:
    """A YAML text as nodes and as the value that was made of them."""

    node: Any
    value: Any
    odd: list[Odd]
    repeated: list[Problem]

    def places(self) -> dict[Path, Place]:
        found: dict[Path, Place] = {}
        if self.node is not None:
            _note_places(self.node, (), found)
        return found


def _load_yaml(text: str, file: str) -> _Loaded:
    """Raises yaml.YAMLError, ConfigError."""
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):
        def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
            found = super().resolve(kind, value, implicit)
            return _tag(found, value) if kind is yaml.ScalarNode and implicit[0] else found

        def construct_object(self, node: Any, deep: bool = False) -> Any:
            try:
                return super().construct_object(node, deep)
            except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
                reason = f"{node.value!r:.200} is not a valid value ({error})"
                raise yaml.constructor.ConstructorError(None, None, reason, node.start_mark) from None

        def construct_plain(self, node: object) -> Plain:
            text = self.construct_scalar(node)
            older = super().resolve(yaml.ScalarNode, text, (True, False)).removeprefix(_YAML)
            try:
                meant = getattr(self, f"construct_yaml_{older}")(node)
                if older == "str":
                    meant = int(text, 8) if _NEW_OCTAL.match(text) else _number(text)
            except ValueError:  # There is no such date.
                meant = None
            return Plain(text, meant)

    Loader.add_constructor(_PLAIN, Loader.construct_plain)
    _refuse_deep_yaml(yaml, text, base, file)
    loader = Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return _Loaded(None, None, [], [])
        odd, repeated = _check_nodes(yaml, loader, node, file)
        return _Loaded(node, loader.construct_document(node), odd, repeated)
    finally:
        loader.dispose()


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _refuse_deep_yaml(yaml: Any, text: str, loader: object, file: str) -> None:
    """Before nodes are made, which recurses."""
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > NESTING:
            mark = event.start_mark
            raise ConfigError(Problem((), _TOO_DEEP, mark.line + 1, mark.column + 1, file))


def _check_nodes(yaml: Any, loader: Any, root: object, file: str) -> tuple[list[Odd], list[Problem]]:
    """Refuse aliases inside what they stand for, and aliases that multiply without end. Keys become texts. Gives what may be
    misread, and keys that stand twice.

    An anchor stands before its aliases, so in this order what an alias names has been measured, and the recursion
    is no deeper than the text.
    """
    problems = []
    odd: list[Odd] = []
    repeated: list[Problem] = []
    sizes: dict[int, int] = {}
    opened: set[int] = set()

    def size(node: Any, path: Path) -> int:
        if id(node) in sizes:
            return sizes[id(node)]
        if id(node) in opened:
            problems.append(_at_mark(path, "an alias stands inside the value it names", node.start_mark, file))
            return 1
        opened.add(id(node))
        total = 1
        if isinstance(node, yaml.SequenceNode):
            total += sum(size(member, (*path, at)) for at, member in enumerate(node.value))
        elif isinstance(node, yaml.ScalarNode):
            if node.tag == f"{_YAML}merge":
                node.tag = f"{_YAML}str"
            if not node.style and (node.tag == _PLAIN or (node.tag in _OF_KEYS and _odd_spelling(node.value))):
                odd.append(Odd(path, node.value, loader.construct_object(node, deep=True)))
        elif isinstance(node, yaml.MappingNode):
            lines: dict[Any, int] = {}
            for key, member in node.value:
                if isinstance(key, yaml.ScalarNode) and key.tag in _OF_KEYS:
                    key.tag = f"{_YAML}str"
                name = key.value if isinstance(key, yaml.ScalarNode) and key.tag != f"{_YAML}merge" else None
                if name in lines:
                    repeated.append(_at_mark((*path, key.value), _twice(lines[name]), key.start_mark, file))
                elif name is not None:
                    lines[name] = key.start_mark.line + 1
                total += size(member, (*path, "<<" if name is None else str(name)))
        opened.remove(id(node))
        sizes[id(node)] = total
        return total

    if size(root, ()) > max(ALIASED, len(sizes)):
        problems.append(Problem((), f"its aliases stand for more than {ALIASED:,} values; write less with them", file=file))
    if problems:
        raise ConfigError(*problems, *repeated)
    return odd, repeated


def _at_mark(path: Path, message: str, mark: Any, file: str) -> Problem:
    return Problem(path, message, mark.line + 1, mark.column + 1, file)


def _note_places(node: Any, path: Path, places: dict[Path, Place]) -> None:
    places.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
    if node.id == "sequence":
        for at, member in enumerate(node.value):
            _note_places(member, (*path, at), places)
    elif node.id == "mapping":
        # The constructor has put merged pairs in front of the mapping's own ones, which win.
        for key, member in node.value:
            way = (*path, str(key.value))
            places[way] = (key.start_mark.line + 1, key.start_mark.column + 1)
            _note_places(member, way, places)
