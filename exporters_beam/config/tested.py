"""From the section `tests`, or a file of tests, to tests, or to what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from exporters_beam.components import words
from exporters_beam.components.options import as_declared, build
from exporters_beam.components.plain import Plain, plain
from exporters_beam.config.cases import TESTS, Case, CaseOptions, ExpectedFailure
from exporters_beam.config.document import Document, Path, read
from exporters_beam.config.schema import faults
from exporters_beam.errors import ConfigError, Problem

if TYPE_CHECKING:
    from exporters_beam.config.export import ExportSpec

Told = tuple[Path, str]
"""(way to a value inside a test, what is wrong with it)."""


def cases_of(document: Document) -> tuple[Case, ...]:
    """The tests of a config, or those of the file that it names. Raises ConfigError."""
    given = plain(document.value.get(TESTS))
    wrong: list[Problem] = []
    if isinstance(given, str):
        document = read(os.path.join(os.path.dirname(document.file), given))
        wrong = [
            document.problem((str(key),), f"unknown key{words.did_you_mean(str(key), [TESTS])}")
            for key in document.value
            if key != TESTS and not str(key).startswith("x-")
        ]
        given = plain(document.value.get(TESTS))
        if given is None and not wrong:
            wrong.append(document.problem((), "there are no tests here; write them as a list below the key `tests`"))
    cases, problems = listed(document, [] if given is None else given)
    if wrong or problems:
        raise ConfigError(*wrong, *problems)
    return cases


def may_be_misread(document: Document) -> Iterator[Problem]:
    """What YAML may have read otherwise than it was meant, in tests. Dates are texts, as in JSON."""
    for odd in document.odd:
        date = isinstance(odd.read, Plain) and not isinstance(odd.read.meant, (bool, int, float))
        if odd.path[:1] == (TESTS,) and not date:
            yield document.problem(odd.path, odd.warning)


def refuse_misfits(cases: Iterable[Case], spec: ExportSpec) -> None:
    """Raises ConfigError with each name in a test that no step or no writer of the export has."""
    problems = []
    writers = {each.to: each for each in spec.each if each.to}
    for case in cases:
        if case.writer is not None and case.writer not in writers:
            why = words.did_you_mean(case.writer, list(writers)) if writers else "; the export has one, so leave this out"
            problems.append(case.problem(("writer",), f"there is no writer {case.writer!r}{why}"))
            continue
        if writers and case.writer is None:
            wrong = f"there are several writers; say which one is meant: writer: {' or '.join(writers)}"
            problems += [case.problem((key,), wrong) for key in case.of_a_writer]
        to = spec if case.writer is None else writers[case.writer]
        known = [name for name in to.order if case.writer is not None or name not in spec.own]
        problems += [
            case.problem(way, f"there is no step {name!r}{words.did_you_mean(name, known)}")
            for way, name in case.steps
            if name not in known
        ]
    if problems:
        raise ConfigError(*problems)


def listed(document: Document, given: object) -> tuple[tuple[Case, ...], list[Problem]]:
    """The tests of a list below the key `tests` of a document, and what is wrong with them."""
    problems: list[Problem] = []
    if not isinstance(given, (list, tuple)):
        wanted = "expected a list of tests, or the name of a file with them"
        return (), [document.problem((TESTS,), f"wrong type: found {words.kind_of(given)}, {wanted}")]
    cases: list[Case] = []
    known: dict[str, int] = {}
    for at, member in enumerate(given):
        path = (TESTS, at)
        if not isinstance(member, Mapping):
            found = f"wrong type: found {words.kind_of(member)}, expected a mapping with name and given"
            problems.append(document.problem(path, found))
            continue
        wrong = list(_wrong(member))
        problems += [document.problem((*path, *way), message) for way, message in wrong]
        if wrong:
            continue
        case = _made(member, path, document)
        if case.name in known:
            message = (
                f"tests[{known[case.name]}] is called {words.in_json(case.name, 80)} already; give one of them another name"
            )
            problems.append(document.problem((*path, "name"), message))
        known.setdefault(case.name, at)
        cases.append(case)
    return tuple(cases), problems


def _wrong(given: Mapping[str, Any]) -> Iterator[Told]:
    """What is wrong with a test."""
    seen_below: dict[str, Any] = {name: [] for name in ("given", "expect", "failed") if isinstance(given.get(name), list)}
    found = list(faults(CaseOptions, {**given, **seen_below}, {}))
    yield from ((way, message.replace("option", "key", 1)) for way, message in found)
    bad = {way[0] for way, _ in found}
    if "name" in given and "name" not in bad and not given["name"].strip():
        yield ("name",), "the name is empty"
    for key in ("given", "expect"):
        yield from _not_records((key,), given.get(key))
    if isinstance(given.get("failed"), list) and "failed" not in bad:
        for at, member in enumerate(given["failed"]):
            yield from ((("failed", at, *way), message) for way, message in _wrong_failure(member))
    if isinstance(given.get("dropped"), Mapping):
        yield from ((("dropped", name), message) for name, message in _not_counts(given["dropped"]))
    if isinstance(given.get("groups"), Mapping):
        for name, value in given["groups"].items():
            if isinstance(value, (list, tuple)):
                yield from _not_records(("groups", name), value)
            else:
                yield from ((("groups", name), message) for _, message in _not_counts({name: value}))
    for key in ("env", "secrets"):
        for name, value in (given.get(key) or {}).items() if key not in bad else ():
            if not isinstance(value, str):
                yield (key, name), f"wrong type: found {words.in_json(value, 80)}, expected a string; put it in quotes"
    if given.get("now") is not None and "now" not in bad:
        yield from _no_time(given["now"])


def _not_records(way: Path, given: object) -> Iterator[Told]:
    for at, member in enumerate(given if isinstance(given, (list, tuple)) else ()):
        if not isinstance(member, Mapping):
            yield (*way, at), f"wrong type: found {words.in_json(member, 80)}, expected a record, which is a mapping"


def _wrong_failure(given: object) -> Iterator[Told]:
    if isinstance(given, Mapping):
        yield from ((way, message.replace("option", "key", 1)) for way, message in faults(ExpectedFailure, given, {}))
    else:
        yield (), f"wrong type: found {words.in_json(given, 80)}, expected a mapping with step, error or record"


def _not_counts(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in given.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            yield name, f"wrong type: found {words.in_json(value, 80)}, expected a number of records"


def _no_time(text: str) -> Iterator[Told]:
    try:
        if datetime.fromisoformat(text).tzinfo is None:
            return
        message = f"{words.in_json(text, 80)} has a time zone; write the local time, as 2026-01-31T10:00:00"
    except ValueError:
        message = f"{words.in_json(text, 80)} is not a time; write it as 2026-01-31T10:00:00"
    yield ("now",), message


def _made(member: Mapping[str, Any], path: Path, document: Document) -> Case:
    options = build(CaseOptions, as_declared(CaseOptions, member), {})
    failed = options.failed
    if isinstance(failed, tuple):
        failed = tuple(build(ExpectedFailure, each, {}) for each in failed)
    groups = options.groups
    if groups is not None:
        groups = {name: tuple(value) if isinstance(value, list) else value for name, value in groups.items()}
    return Case(
        name=options.name,
        path=path,
        document=document,
        given=options.given,
        expect=options.expect,
        dropped=options.dropped,
        failed=failed,
        groups=groups,
        formatted=options.formatted,
        now=None if options.now is None else datetime.fromisoformat(options.now),
        vars=options.vars or {},
        env=options.env or {},
        secrets=options.secrets or {},
        writer=options.writer,
    )
