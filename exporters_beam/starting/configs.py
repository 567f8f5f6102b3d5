"""The text of a config for files that were looked at."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exporters_beam.errors import shown
from exporters_beam.reporting.reference import section
from exporters_beam.reporting.report import human
from exporters_beam.starting.guesses import Guess, guess_of
from exporters_beam.starting.places import Place, literal
from exporters_beam.starting.profiles import NAMES, Facts, facts_of, places, schema_of
from exporters_beam.starting.samples import Sample
from exporters_beam.transforms.fields.paths import Path, written

FIELDS = 200
"""Fields that comments tell of."""

LONG = 200
"""Characters of a path; longer ones get no type, since YAML limits keys."""

_PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./-]*\Z", re.ASCII)

_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"))

_TEXTS = ("csv", "xml")
"""Deserializers whose values are texts."""


@dataclass(frozen=True)
class Seen:
    """What was found out about the files. `bytes` are those of all files whose size is known."""

    files: int
    more: bool
    bytes: int
    opened: int
    compressions: tuple[str, ...]
    written_as: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    """What the config is to write: the names of a writer and of a formatter, and how delivered files are called."""

    writer: str
    formatter: str
    filebase: str


def config_of(place: Place, seen: Seen, sample: Sample, wanted: Wanted) -> str:
    """A config in YAML, with comments. Raises ConfigError where there is no such writer."""
    facts = facts_of(sample.records)
    guesses = _guesses(facts) if sample.deserializer in _TEXTS else {}
    parts = [
        "\n".join(_head(seen, sample)),
        "\n".join(_section("reader", place.reader, place.options)),
        "\n".join(_deserializer(sample)),
        "\n".join(_fields(facts, guesses, len(sample.records))),
        "\n".join(_types(guesses)),
        "\n".join(_formatter(wanted, facts, guesses)),
        "\n".join(_writer(wanted)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def scalar(value: Any) -> str:
    """A value in YAML, in one line. What is no plain word stands in quotes, whatever characters it has.

    >>> scalar("in/a.csv"), scalar("no"), scalar("a: ü\\u2028"), scalar({"dir": "in"})
    ('in/a.csv', '"no"', '"a: ü\\\\u2028"', '{dir: in}')
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {scalar(member)}" for key, member in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(scalar, value)) + "]"
    if isinstance(value, str) and _PLAIN.match(value) and value.lower() not in _WORDS:
        return value
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in json.dumps(value, ensure_ascii=False))


def _head(seen: Seen, sample: Sample) -> Iterator[str]:
    yield "# An export, written by `exporters-beam init --from`. Look at it with `exporters-beam preview FILE`, run it with"
    yield "# `exporters-beam run FILE`. Editors complete names in it by the schema that `exporters-beam schema` prints."
    yield "#"
    number = f"more than {seen.files:,} files" if seen.more else f"{seen.files:,} file{'s' if seen.files != 1 else ''}"
    size = f", {human(seen.bytes)}" if seen.bytes else ""
    compressed = ", ".join(name or "not compressed" for name in seen.compressions)
    yield f"# Found: {number}{size}, {seen.written_as}, {compressed}; {_records(seen, sample)}."
    for note in seen.notes:
        yield f"# Note: {shown(note)}"


def _records(seen: Seen, sample: Sample) -> str:
    many = len(sample.records)
    looked = f"{many:,} record{'s' if many != 1 else ''}"
    if sample.whole and seen.opened == seen.files and not seen.more:
        return f"{looked} in all"
    where = f"in {seen.opened:,} files" if seen.opened > 1 else "in the first file" if seen.files > 1 else "at its beginning"
    told = f"looked at {looked} {where}"
    if not sample.share or not sample.bytes or not seen.bytes:
        return told
    guess = many / sample.share * seen.bytes / sample.bytes
    return f"{told}, all of it has about {_rounded(guess):,}"


def _rounded(number: float) -> int:
    """Two digits of a number that is guessed."""
    digits = max(0, len(str(int(number))) - 2)
    return round(number / 10**digits) * 10**digits


def _section(kind: str, name: str, options: Mapping[str, Any]) -> Iterator[str]:
    yield f"{kind}:"
    yield f"  name: {name}"
    if options:
        yield "  options:"
        for key, value in options.items():
            yield f"    {key}: {scalar(value)}"


def _deserializer(sample: Sample) -> Iterator[str]:
    if sample.deserializer != "jsonlines" or sample.options or sample.failed:
        yield from _section("deserializer", sample.deserializer, literal(sample.options))
    if sample.failed:
        yield "  # Records that cannot be decoded are set aside, told and counted; without this the first one ends the export."
        yield "  on_error: dead_letter"


def _guesses(facts: Facts) -> dict[Path, tuple[Facts, Guess]]:
    found = {}
    for path, fact in places(facts):
        if "text" in fact.kinds and {*fact.kinds} <= {"text", "null"} and _takes_a_type(path):
            guess = guess_of(path, fact.texts)
            if guess is not None:
                found[path] = fact, guess
    return found


def _fields(facts: Facts, guesses: Mapping[Path, tuple[Facts, Guess]], records: int) -> Iterator[str]:
    every = list(places(facts))
    if not every:
        return
    yield "# Fields:"
    for path, fact in every[:FIELDS]:
        kind = fact.told()
        if path in guesses and guesses[path][1].sure:
            kind += f" ({_called(guesses[path][1].type)})"
        example = fact.shown()
        yield f"#   {_name(path)}: {kind}, in {fact.records:,} of {records:,} records" + (
            f", e.g. {example}" if example else ""
        )
    if len(every) > FIELDS:
        yield f"#   … and {len(every) - FIELDS:,} more"
    for path, fact in every:
        if len(fact.members) >= NAMES:
            yield f"#   {_name(path)} has {NAMES} names and more, which may be data"


def _called(type: Any) -> str:
    return f"{type['type']} {type['format']}" if isinstance(type, dict) else str(type)


def _name(path: Path) -> str:
    text = shown(written(path))
    return (text if len(text) <= LONG else f"{text[:LONG]}…") or '""'


def _types(guesses: Mapping[Path, tuple[Facts, Guess]]) -> Iterator[str]:
    """The transform that makes numbers of texts: of those that are sure; the others stand in comments, with the reason."""
    known = {path: guess for path, (_, guess) in guesses.items()}
    if not known:
        return
    sure = any(guess.sure for guess in known.values())
    yield "# What all texts seen can be read as. A value further on that does not fit is an error of its record (on_error)."
    if not sure:
        yield "# Take the number signs away to convert them."
    off = "" if sure else "# "
    yield from (f"{off}{line}" for line in ("transform:", "  name: fields", "  options:", "    types:"))
    for path, guess in known.items():
        if guess.type is None:
            yield f"    # {_name(path)}: {shown(guess.why)}" if sure else f"#     # {_name(path)}: {shown(guess.why)}"
            continue
        line = f"{scalar(written(path))}: {scalar(guess.type)}"
        why = f"  # {shown(guess.why)}" if guess.why else ""
        yield f"      {'' if guess.sure else '# '}{line}{why}" if sure else f"#       {line}{why}"


def _takes_a_type(path: Path) -> bool:
    """Whether the option `types` can name it."""
    text = written(path)
    return "" not in path and len(text) <= LONG and "${" not in text


def _formatter(wanted: Wanted, facts: Facts, guesses: Mapping[Path, tuple[Facts, Guess]]) -> Iterator[str]:
    if not wanted.formatter:
        return
    yield from _section("formatter", wanted.formatter, {})
    if wanted.formatter not in ("parquet", "orc", "avro"):
        return
    for fact, guess in guesses.values():
        if guess.sure:
            fact.kinds.clear()
            fact.kinds[guess.type if isinstance(guess.type, str) else guess.type["type"]] += 1
    schema = schema_of(facts)
    if schema is None:
        yield "  # Types are found in the records; a schema cannot be told from these, some fields have several."
        return
    yield "  # Types are found in the records. These are of those seen; take the number signs away to have no others."
    yield "  # options:"
    yield "  #   unknown_fields: fail"
    yield "  #   schema:"
    yield "  #     properties:"
    for name, kind in schema["properties"].items():
        yield f"  #       {scalar(literal(name))}: {scalar(kind)}"


def _writer(wanted: Wanted) -> Iterator[str]:
    if wanted.writer == "fs":
        yield from _section("writer", "fs", {"filebase": wanted.filebase, "compression": "none"})
    else:
        yield section("writer", wanted.writer).rstrip("\n")


def described(options: Mapping[str, Any], name: str) -> Sequence[str]:
    """What the options of a deserializer mean for a reader of the config, where it is a guess."""
    found: list[str] = []
    if name != "csv":
        return found
    if options.get("encoding") in ("cp1252", "latin-1"):
        found.append(f"the files are not UTF-8; the encoding {options['encoding']} is a guess, look at letters with accents")
    if options.get("skip_lines"):
        found.append(f"the first {options['skip_lines']} lines of each file are passed over, since they are no rows")
    if "numbers" in options:
        columns = ", ".join(map(shown, options["numbers"]["columns"]))
        found.append(f"numbers have {options['numbers']['decimal']!r} as decimal character in {columns}")
    if "fields" in options:
        found.append("the first row seems to have no names; the names of the columns are made up")
    if options.get("ragged"):
        found.append("some rows have fewer or more values than there are columns")
    if options.get("bare_quotes") or options.get("quotechar") == "":
        found.append("some values have quotes inside that are not doubled")
    if options.get("duplicate_names"):
        found.append("some columns have the same name, and the last one counts")
    return found
