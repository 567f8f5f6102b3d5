"""The first records at each step, without a pipeline: nothing is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, cast

from exporters_beam.components.protocols import FlatTransform, TextFormat, Transform
from exporters_beam.components.ready import explain, ready
from exporters_beam.components.traits import FormatTraits, StepTraits
from exporters_beam.config.on_error import FAIL, OnError
from exporters_beam.decimals import text_of
from exporters_beam.engine.source import Places, Source
from exporters_beam.errors import ExportError
from exporters_beam.planning.plan import Plan
from exporters_beam.records import Failure, Mark, Position
from exporters_beam.transforms.chance import apart, put
from exporters_beam.transforms.results import no_record, no_value, records_of


def preview(plan: Plan, n: int, out: Callable[[str], object]) -> None:
    """Show how the first `n` records go through the export. Raises SourceError, and RecordError for the first that fails."""
    source = Source(plan.reader, plan.decompressor, plan.deserializer).ready()
    failing = _Failing(plan.on_error, Places(source), out)
    records = list(islice(first(source, failing), n))
    out(f"reader: {len(records)} record{'s' if len(records) != 1 else ''}")
    _show(records, out)
    for step in plan.steps:
        seen: set[bytes] = set()
        step = replace(step, component=ready(step.component))
        records = list(_applied(step, records, seen, failing, no_record if plan.objects else no_value))
        out(f"{step.name} ({step.component_name}): {len(records)} left")
        _show(records, out)
    if plan.grouper is not None:
        grouper = ready(plan.grouper)
        chances = StepTraits.of(grouper).chances
        apart(chances, plan.drawn)
        out("grouper and file names:")
        for position, record in records:
            put(chances, position)
            group = failing.guarded("grouper", position, partial(grouper.key, record))
            if group is not FAILED:
                name = plan.names.name(group, plan.names.start) if plan.names else ""
                out(f"  {json.dumps(list(group), ensure_ascii=False)} → {name}")
    elif plan.names is not None and records:
        out(f"file name: {plan.names.name((), plan.names.start)}")
    if FormatTraits.of(plan.format).text and plan.names is not None:
        form = ready(plan.format)
        out("formatted:")
        for position, record in records[:3]:
            data = failing.guarded("formatter", position, partial(cast(TextFormat, form).format, record))
            if data is not FAILED:
                out("  " + data.decode("utf-8", "replace"))


FAILED: Any = object()
"""What stands for the result of a record that failed and is set aside."""


class _Failing:
    """What becomes of records that fail: told and left out where `on_error` says so, else the end."""

    def __init__(self, on_error: OnError, place: Places, out: Callable[[str], Any]) -> None:
        self._on_error, self._place, self._out = on_error, place, out

    def guarded(self, step: str, position: Position, work: Callable[[], object]) -> Any:
        try:
            return work()
        except Exception as error:
            self.tell(step, position, explain(error))
            return FAILED

    def tell(self, step: str, position: Position, message: str) -> None:
        file, number = self._place(position)
        text = f"{file}: record {number}: {step}: {message}"
        action = self._on_error.action(step)
        if action == FAIL:
            raise ExportError(text)
        self._out(f"  failed ({action}): {text}")


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
        if step.kind == "keep":
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
