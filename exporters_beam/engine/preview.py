"""The first records at each step, without a pipeline: nothing is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from exporters_beam.config.on_error import FAIL, FORMATTER, OnError
from exporters_beam.decimals import text_of
from exporters_beam.engine.applying import FAILED, Following, Placed, behind_each_step, first, grouped, in_text
from exporters_beam.engine.source import Places, Source
from exporters_beam.errors import ExportError
from exporters_beam.planning.plan import Plan
from exporters_beam.records import Position


def preview(plan: Plan, n: int, out: Callable[[str], object]) -> None:
    """Show how the first `n` records go through the export. Raises SourceError, and RecordError for the first that fails."""
    source = Source(plan.reader, plan.decompressor, plan.deserializer).ready()
    telling = _Telling(plan.on_error, Places(source), out)
    records = list(islice(first(source, telling), n))
    out(f"reader: {len(records)} record{'s' if len(records) != 1 else ''}")
    _show(records, out)
    for step, left in behind_each_step(plan, records, telling):
        records = left
        out(f"{step.name} ({step.component_name}): {len(records)} left")
        _show(records, out)
    if plan.grouper is not None:
        out("grouper and file names:")
        for _, _, group in grouped(plan, records, telling):
            name = plan.names.name(group, plan.names.start) if plan.names else ""
            out(f"  {json.dumps(list(group), ensure_ascii=False)} → {name}")
    elif plan.names is not None and records:
        out(f"file name: {plan.names.name((), plan.names.start)}")
    form = in_text(plan)
    if form is not None:
        out("formatted:")
        for position, record in records[:3]:
            data = telling.guarded(FORMATTER, position, record, form.format)
            if data is not FAILED:
                out("  " + data.decode("utf-8", "replace"))


class _Telling(Following):
    """Records that fail are told and left out where `on_error` says so; else the first one is the end."""

    def __init__(self, on_error: OnError, place: Places, out: Callable[[str], Any]) -> None:
        self._on_error, self._place, self._out = on_error, place, out

    def failed(self, step: str, position: Position, message: str, record: object) -> None:
        file, number = self._place(position)
        text = f"{file}: record {number}: {step}: {message}"
        action = self._on_error.action(step)
        if action == FAIL:
            raise ExportError(text)
        self._out(f"  failed ({action}): {text}")


def _show(records: Iterable[Placed], out: Callable[[str], object]) -> None:
def first(source: Source, failing: _Failing) -> Iterator[tuple[Position, Any]]:
    """The source's records in input order."""
    for unit in source.units():
        for _, found, _ in source.events(unit, source.span(unit)):
            if found is None or isinstance(found, Mark):
                continue
            try:
                records = enumerate(source.records(found), found.first)
                decoded: Any = [((unit, found.range, number), record) for number, record in records]
            except Exception:
                decoded = ((position, record) for position, record, _ in source.decode_each(found))
            for position, record in decoded:
                if isinstance(record, Failure):
                    failing.tell(record.step, position, record.message)
                else:
                    yield position, record


def _applied(
    step: Any,
    records: list[tuple[Position, Any]],
    seen: set[bytes],
    failing: _Failing,
    refuse: Callable[[object], Exception | None],
) -> Iterator[tuple[Position, Any]]:
    component = step.component
    chances = StepTraits.of(component).chances
    apart(chances, step.drawn)
    for position, record in records:
        put(chances, position)
        if step.kind == "look":
            yield position, record
        elif step.kind == "keep":
            kept = failing.guarded(step.name, position, partial(component.keep, record))
            if kept is not FAILED and kept:
                yield position, record
        elif step.kind == "map":
            result = failing.guarded(step.name, position, partial(_one_of, component, record, refuse))
            if result is not FAILED:
                yield position, result
        elif step.kind == "flat_map":
            results = failing.guarded(step.name, position, partial(_all_of, component, record))
            if results is not FAILED:
                yield from ((position, result) for result in results)
        else:
            key = failing.guarded(step.name, position, partial(component.key, record))
            if key is None or (key is not FAILED and key not in seen):
                yield position, record
            if key is not None:
                seen.add(key)


def _all_of(component: FlatTransform, record: Any) -> list[Any]:
    return records_of(component.flat_map(record))


def _one_of(component: Transform, record: Any, refuse: Callable[[object], Exception | None]) -> Any:
    result = component.map(record)
    problem = refuse(result)
    if problem is not None:
        raise problem
    return result


def _show(records: list[tuple[Position, object]], out: Callable[[str], object]) -> None:
    for _, record in records:
        out("  " + json.dumps(record, ensure_ascii=False, default=text_of))
