"""From what a user has named to a config that reads it: `exporters-beam init --from`."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from exporters_beam.compressions.auto import Auto
from exporters_beam.engine.source import Source
from exporters_beam.errors import ConfigError, ExportError, Problem
from exporters_beam.records import Unit, Warned
from exporters_beam.starting.configs import Seen, Wanted, config_of, described
from exporters_beam.starting.looks import FORMATS, Look, looks_of
from exporters_beam.starting.places import Place, literal, place_of
from exporters_beam.starting.profiles import facts_of, places
from exporters_beam.starting.samples import FILES, Sample, best_of, sample_of
from exporters_beam.starting.separators import numbers_of
from exporters_beam.transforms.fields.paths import EACH

MOST = 10_000
"""Files that are counted."""

WARNINGS = 5
"""Warnings of the reader that are told."""


def config_from(given: str, file: str, writer: str = "fs", formatter: str = "") -> tuple[str, list[str]]:
    """(the text of a config for a path, a pattern or a URL, what is to be told beside it).

    `file` is where the config will stand: where that is among what is read, only files that end as those do are read.
    At most `FILES` files are opened, and of each a few MiB are read. Raises ConfigError where there is nothing, or what it
    is cannot be said in a config, SourceError where it cannot be read or is of no known format.
    """
    place = place_of(given)
    try:
        return _looked_at(place, file, writer, formatter)
    except ConfigError as error:
        raise ConfigError(*(Problem(each.path, place.hide(each.message)) for each in error.problems)) from None
    except ExportError as error:
        raise type(error)(place.hide(str(error))) from None


def _looked_at(place: Place, file: str, writer: str, formatter: str) -> tuple[str, list[str]]:
    source, units, more, warned = _listed(place)
    if place.folder and _inside(file, place.folder):
        place = _of_one_suffix(place, file, units)
        source, units, more, warned = _listed(place)
    opened = units[:FILES]
    looks: list[Look] = []
    for unit in opened:
        looks += looks_of(source, unit, FILES)
    sample = _refined(best_of(source, opened, looks), source, opened)
    notes = [place.hide(text) for text in (*_notes(sample, looks), *warned)]
    seen = Seen(
        len(units), more, sum(max(0, unit.size) for unit in units), len(opened),
        tuple(dict.fromkeys(look.compression for look in looks)), _written_as(sample, looks), tuple(notes),
    )  # fmt: skip
    text = config_of(place, seen, sample, Wanted(writer, formatter, _filebase(place)))
    needed = [reference.removeprefix("${secret:env:").removesuffix("}") for reference in place.secrets]
    told = [f"the config reads {name} from the environment; set it to what the URL has there" for name in needed]
    return text, [*notes, *told]


def _listed(place: Place) -> tuple[Source, list[Unit], bool, list[str]]:
    """(the source, its first units, whether there are more, what the reader warns of). Raises ConfigError where there is
    nothing, SourceError where it cannot be listed."""
    source = Source(place.component, Auto()).ready()
    units: list[Unit] = []
    warned: list[str] = []
    for found in source.listed():
        if isinstance(found, Warned):
            warned.append(found.text)
        else:
            units.append(found)
        if len(units) > MOST:
            break
    if not units:
        told = warned[-1].partition(": ")[2].removesuffix("; nothing is read") if warned else "there is nothing to read"
        raise ConfigError(f"--from: {told}")
    return source, units[:MOST], len(units) > MOST, warned[:WARNINGS]


def _inside(file: str, folder: str) -> bool:
    return os.path.join(os.path.realpath(file), "").startswith(os.path.join(os.path.realpath(folder), ""))


def _of_one_suffix(place: Place, file: str, units: Sequence[Unit]) -> Place:
    """The same place without the config, which will stand in it. Raises ConfigError where names do not tell them apart."""
    where = dict(place.real["input"])
    if "pattern" in where:
        if re.search(where["pattern"], os.path.join(where["dir"], os.path.relpath(file, where["dir"]))):
            raise ConfigError(f"{file}: the config would be among the files that it reads; write it to another folder")
    else:
        suffixes = {os.path.basename(unit.name).partition(".")[2] for unit in units}
        suffix = suffixes.pop() if len(suffixes) == 1 else ""
        if not suffix or file.endswith(f".{suffix}"):
            raise ConfigError(
                f"{file}: the config would be among the files that it reads; write it to another folder, or name them by a "
                "pattern, as in --from 'in/*.csv'"
            )
        where["pattern"] = f"\\.{re.escape(suffix)}$"
    return replace(place, real={"input": where}, options={"input": literal(where)})


def _refined(sample: Sample, source: Source, units: Sequence[Unit]) -> Sample:
    """The sample with options that only records tell: which elements of XML are lists, which columns have decimal commas."""
    options: dict[str, Any] = {}
    if sample.deserializer == "xml" and (lists := _lists(sample)):
        options = {"lists": lists}
    elif sample.deserializer == "csv" and (numbers := numbers_of(facts_of(sample.records))):
        options = {"numbers": numbers}
    if not options:
        return sample
    found = sample_of(source, units, sample.deserializer, {**sample.options, **options})
    return found if (found.broken, found.failed) <= (sample.broken, sample.failed) else sample


def _lists(sample: Sample) -> list[str]:
    """Elements that are lists in some records and stand alone in others, which are to be lists in all."""
    facts = facts_of(sample.records)
    return [
        f"/{'/'.join(part for part in path if part is not EACH)}"
        for path, fact in places(facts)
        if fact.kinds["list"] and len(fact.kinds) > 1 and path[-1] is not EACH
    ]


def _notes(sample: Sample, looks: Sequence[Look]) -> list[str]:
    found = list(described(sample.options, sample.deserializer))
    if not sample.records:
        found.append("there are no records")
    if all(look.by_name for look in looks):
        found.append("there is nothing in the files, so their names tell the format")
    if sample.wrong:
        many = f"{sample.failed:,} records" if sample.failed else f"{sample.broken:,} files"
        found.append(f"not all can be read, {many} of those seen, such as {sample.wrong}")
    if any(look.mixed for look in looks):
        found.append("some lines are UTF-8 and others are not; those that are not fail")
    dialects = [look.dialect for look in looks if look.dialect]
    if dialects and "fields" not in sample.options and not any(dialect.sure for dialect in dialects):
        found.append("the first row is taken for the names of the columns; where it has values, give the names as `fields`")
    return found


def _written_as(sample: Sample, looks: Sequence[Look]) -> str:
    if sample.deserializer != "csv":
        return FORMATS[sample.deserializer]
    encoding = sample.options.get("encoding", "utf-8")
    marked = ", with a byte-order mark" if any(look.bom for look in looks) else ""
    return f"{FORMATS['csv']} in {encoding}{marked}"


def _filebase(place: Place) -> str:
    """Where files are delivered: below `out`, called after what is read, and not among it."""
    where = place.real.get("input") or place.real.get("prefix") or place.real.get("path") or ""
    path = where["dir"] if isinstance(where, dict) else str(where)
    name = os.path.basename(os.path.abspath(path.partition("?")[0].rstrip("/"))).partition(".")[0]
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_") if path else ""
    folder = "out"
    if place.folder and _inside(folder, place.folder):
        folder = os.path.join(os.path.dirname(os.path.abspath(place.folder)), f"{name or 'part'}-out")
        folder = os.path.relpath(folder)
    return f"{folder}/{name or 'part'}-"
