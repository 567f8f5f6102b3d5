"""The first records at each step, without a pipeline: nothing is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

from exporters_beam.errors import ExportError
from exporters_beam.plan import Plan
from exporters_beam.reading import Source
from exporters_beam.records import Failure, Mark, Position
from exporters_beam.transforms.steps import explain, ready


def preview(plan: Plan, n: int, out: Callable[[str], Any]) -> None:
    """Show how the first `n` records go through the export. Raises SourceError, and RecordError for the first that fails."""
    source = Source(plan.reader, plan.decompressor, plan.deserializer).ready()
    records = list(islice(first(source), n))
    out(f"reader: {len(records)} record{'s' if len(records) != 1 else ''}")
    _show(records, out)
    seen: set[bytes] = set()
    for step in plan.steps:
        step = replace(step, component=ready(step.component))
        records = list(_applied(step, records, seen))
        out(f"{step.name} ({step.component_name}): {len(records)} left")
        _show(records, out)
    if plan.grouper is not None:
        grouper = ready(plan.grouper)
        out("grouper and file names:")
        for position, record in records:
            group = _guarded("grouper", position, partial(grouper.key, record))
            name = plan.names.name(group, plan.names.start) if plan.names else ""
            out(f"  {json.dumps(list(group), ensure_ascii=False)} → {name}")
    elif plan.names is not None and records:
        out(f"file name: {plan.names.name((), plan.names.start)}")
    if hasattr(plan.format, "format") and hasattr(plan.format, "header") and plan.names is not None:
        form = ready(plan.format)
        out("formatted:")
        for position, record in records[:3]:
            data = _guarded("formatter", position, partial(form.format, record))
            out("  " + data.decode("utf-8", "replace"))


def first(source: Source) -> Iterator[tuple[Position, Any]]:
    """The source's records in input order."""
    for unit in source.units():
        for _, found, _ in source.events(unit, source.span(unit)):
            if found is None or isinstance(found, Mark):
                continue
            try:
                decoded: Any = source.decode(found)
            except Exception:
                decoded = source.decode_each(found)
            for item in decoded:
                if isinstance(item, Failure):
                    number = source.record_number(item.position)
                    raise ExportError(f"{item.unit}: record {number}: {item.step}: {item.message}")
                yield item


def _applied(step: Any, records: list[tuple[Position, Any]], seen: set[bytes]) -> Iterator[tuple[Position, Any]]:
    component = step.component
    for position, record in records:
        if step.kind == "keep":
            if _guarded(step.name, position, partial(component.keep, record)):
                yield position, record
        elif step.kind == "map":
            yield position, _guarded(step.name, position, partial(component.map, record))
        elif step.kind == "flat_map":
            results = _guarded(step.name, position, partial(_all_of, component, record))
            yield from ((position, result) for result in results)
        else:
            key = component.key(record)
            if key is None or key not in seen:
                yield position, record
            if key is not None:
                seen.add(key)


def _all_of(component: Any, record: Any) -> list[Any]:
    return list(component.flat_map(record))


def _guarded(step: str, position: Position, work: Callable[[], Any]) -> Any:
    try:
        return work()
    except Exception as error:
        text = explain(error)
        raise ExportError(f"{position[0].name}: record {position[2] + 1}: {step}: {text}") from None


def _show(records: list[tuple[Position, Any]], out: Callable[[str], Any]) -> None:
    for _, record in records:
        out("  " + json.dumps(record, ensure_ascii=False, default=str))
