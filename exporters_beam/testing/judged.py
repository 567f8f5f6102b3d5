"""Whether what an export makes of the records of a test is what the test expects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from exporters_beam.config.cases import Case, ExpectedFailure
from exporters_beam.config.document import Path
from exporters_beam.testing import differences
from exporters_beam.testing.applied import Applied, FailedRecord
from exporters_beam.testing.written import as_json, line, same


@dataclass(frozen=True)
class Difference:
    """Something that is not as expected: the way to it inside the test, a sentence, and lines that show it."""

    way: Path
    what: str
    lines: tuple[str, ...] = ()


def judge(case: Case, found: Applied) -> Iterator[Difference]:
    """All that is not as the test expects. Records that fail have to be named, also where nothing else is."""
    yield from _failures(case, found)
    if case.expect is not None:
        lines = differences.of_records([as_json(each) for each in case.expect], [as_json(each) for each in found.records])
        if lines:
            what = f"{_records(len(case.expect))} expected, {_come(len(found.records))} out"
            yield Difference(("expect",), what, tuple(lines))
    yield from _dropped(case, found)
    if case.groups is not None:
        yield from _groups(case.groups, found)
    if case.formatted is not None:
        if found.formatted is None:
            yield Difference(("formatted",), "the format of this export is not text, so there is nothing to compare")
        else:
            lines = differences.of_texts(case.formatted, found.formatted.decode("utf-8", "backslashreplace"))
            if lines:
                yield Difference(("formatted",), "the text is another one", tuple(lines))


def _failures(case: Case, found: Applied) -> Iterator[Difference]:
    told = tuple(f"+ {_as_told(each)}" for each in found.failed)
    if case.failed is None:
        if found.failed:
            what = f"{_records(len(found.failed))} failed; `failed` does not name them"
            yield Difference((), what.replace("them", "it") if len(found.failed) == 1 else what, told)
    elif isinstance(case.failed, int):
        if case.failed != len(found.failed):
            what = f"{_records(case.failed)} expected to fail, {len(found.failed)} failed"
            yield Difference(("failed",), what, told)
    else:
        yield from _named_failures(case.failed, found)


def _named_failures(expected: tuple[ExpectedFailure, ...], found: Applied) -> Iterator[Difference]:
    lines = []
    for at in range(max(len(expected), len(found.failed))):
        one = expected[at] if at < len(expected) else None
        other = found.failed[at] if at < len(found.failed) else None
        if one is not None and other is not None and _fits(one, other):
            continue
        if one is not None:
            lines.append(f"- {line(as_json({k: v for k, v in vars(one).items() if v is not None}))}")
        if other is not None:
            lines.append(f"+ {_as_told(other)}")
    if lines:
        what = f"{_records(len(expected))} expected to fail, {len(found.failed)} failed"
        yield Difference(("failed",), what, tuple(lines))


def _fits(expected: ExpectedFailure, found: FailedRecord) -> bool:
    return (
        expected.step in (None, found.step)
        and (expected.error is None or expected.error in found.error)
        and (expected.record is None or same(as_json(expected.record), as_json(found.record)))
    )


def _as_told(failure: FailedRecord) -> str:
    told = {"step": failure.step, "error": failure.error, "record": as_json(failure.record)}
    return f"{line(told)} (given record {failure.number})"


def _dropped(case: Case, found: Applied) -> Iterator[Difference]:
    if isinstance(case.dropped, int):
        total = sum(found.dropped.values())
        if total != case.dropped:
            by_step = ", ".join(f"{name}: {n}" for name, n in found.dropped.items())
            what = f"{_records(case.dropped)} expected to be dropped, {total} {'was' if total == 1 else 'were'}"
            yield Difference(("dropped",), what + (f" ({by_step})" if by_step else ""))
    for name, n in case.dropped.items() if isinstance(case.dropped, Mapping) else ():
        dropped = found.dropped.get(name, 0)
        if dropped != n:
            what = f"{name} drops {_records(dropped)}, {n} expected"
            yield Difference(("dropped", name), what)


def label(group: tuple[str, ...]) -> str:
    """What a group is called in a test: its values with slashes between."""
    return "/".join(group)


def _groups(expected: Mapping[str, Any], found: Applied) -> Iterator[Difference]:
    known = {label(group): group for group in found.groups} | {name: group for group, name in found.names.items()}
    by_file = bool(found.names) and (not expected or any(name in found.names.values() for name in expected))
    shown = {group: found.names[group] if by_file else label(group) for group in found.groups}
    for name, wanted in expected.items():
        records = found.groups[known[name]] if name in known else ()
        if isinstance(wanted, int):
            if wanted != len(records):
                what = f"{_records(wanted)} expected in {name}, there {'is' if len(records) == 1 else 'are'} {len(records)}"
                yield Difference(("groups", name), what, tuple(f"+ {line(as_json(each))}" for each in records))
            continue
        lines = differences.of_records([as_json(each) for each in wanted], [as_json(each) for each in records])
        if lines:
            yield Difference(("groups", name), f"the records in {name} are others", tuple(lines))
    named = {known[name] for name in expected if name in known}
    more = [f"+ {shown[group]}: {len(each)}" for group, each in found.groups.items() if group not in named]
    if more:
        yield Difference(("groups",), "there are more groups", tuple(more))


def _records(n: int) -> str:
    return f"{n:,} record{'s' if n != 1 else ''}"


def _come(n: int) -> str:
    return f"{n:,} come{'s' if n == 1 else ''}"
