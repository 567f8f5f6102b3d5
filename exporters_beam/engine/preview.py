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
    for _, record in records:
        out("  " + json.dumps(record, ensure_ascii=False, default=text_of))
