"""An export without Beam: its own steps, fed one after the other. A hundred of them take as long as one that is run."""

from __future__ import annotations

import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from typing import Any, NamedTuple
from unittest import mock

from apache_beam.pvalue import TaggedOutput

from exporters_beam.config import spec
from exporters_beam.engine import graph
from exporters_beam.engine.delivery import TALLIES, staged_lines, total_of
from exporters_beam.engine.failures import FailedRecord
from exporters_beam.engine.field_statistics import LookAtFields, OfRanges
from exporters_beam.engine.source import Places
from exporters_beam.errors import ExportError, RecordError
from exporters_beam.planning.looking import STATISTICS
from exporters_beam.planning.plan import make
from exporters_beam.staging.run import Run
from exporters_beam.staging.segments import SUFFIX, Blocks, Staging, in_order, read_segment
from exporters_beam.transforms.dedupe import Losers
from exporters_beam.transforms.sightings import warnings
from exporters_beam.transforms.steps import FAILED, FlatMap, Keep, Map


class Outcome(NamedTuple):
    """What an export delivers, counts, sets aside and says: texts by group, counts, letters, what ended it, and of which
    fields it warns."""

    groups: dict[tuple[str, ...], bytes]
    counts: dict[str, int]
    letters: list[dict[str, Any]]
    error: str
    warnings: tuple[str, ...] = ()
    statistics: dict[str, Any] | None = None


def outcome(config: dict[str, Any]) -> Outcome:
    """Compression, and the borders between delivered files, are left out."""
    folder = tempfile.mkdtemp()
    try:
        with mock.patch("os.fsync", lambda handle: None):
            return _outcome(config, folder)
    finally:
        shutil.rmtree(folder)


def _outcome(config: dict[str, Any], folder: str) -> Outcome:
    plan = make(spec.load(config))
    source = graph.source_of(plan)
    staging = os.path.join(folder, "staging")
    os.makedirs(staging)
    run = Run("the export", Staging(staging), folder, folder)
    delivery = graph.delivery_of(plan, run, source)
    stages: list[list[Any]] = [[graph.decoder_of(plan, source)]]
    for step in plan.logical.others:
        if step.kind == "dedupe":
            dedupe = graph.dedupe_of(plan, step, run)
            stages[-1].append(dedupe.key)
            stages.append([dedupe.survivors])
        elif step.name == STATISTICS:
            stages[-1].append(LookAtFields(step.name, step.component))
        else:
            dofn = {"keep": Keep, "map": Map, "flat_map": FlatMap}[step.kind]
            stages[-1].append(dofn(step.name, step.component, plan.on_error).after(step.drawn))
    encoder = graph.encoder_of(plan, source, delivery, run)
    stages[-1].append(encoder.after(plan.drawn))
    out: list[Any] = []
    try:
        ready = source.ready()
        events = (event for unit in ready.units() for event in ready.events(unit, ready.span(unit)))
        elements: Iterable[Any] = (found for _, found, _ in events if found is not None)
        for stage in stages:
            for dofn in stage:
                dofn.setup()
                dofn.start_bundle()
            out = []
            for element in elements:
                _feed(stage, element, out)
            for dofn in stage:
                out += [TaggedOutput(each.tag, each.value.value) for each in dofn.finish_bundle() or ()]
            elements = _shuffled(out)
    except FailedRecord as failed:
        file, number = Places(source)(failed.failure.position)
        return Outcome({}, {}, [], f"{file}: record {number}: {failed.failure.step}: {failed.failure.message}")
    except ExportError as error:
        return Outcome({}, {}, [], str(error))
    marks = [each.value for each in out if isinstance(each, TaggedOutput) and each.tag == TALLIES]
    return _staged(staging, delivery)._replace(warnings=tuple(warnings(each for mark in marks for each in mark.sought)))


def _feed(steps: list[Any], element: Any, out: list[Any]) -> None:
    """An element and what becomes of it, depth first, as a fused stage does it."""
    produced: Iterable[Any] = steps[0].process(element) or ()
    for each in produced:
        if isinstance(each, TaggedOutput):
            if each.tag == FAILED:
                raise FailedRecord(each.value, "", 0)
            out.append(each)
        elif len(steps) > 1:
            _feed(steps[1:], each, out)
        else:
            out.append(each)


def _shuffled(elements: list[Any]) -> list[Any]:
    """What a `dupe` has put out, by range, with the positions that lose: in the order in which nothing came, since a shuffle
    promises none. Nothing behind the writer."""
    keys: dict[bytes, list[bytes]] = {}
    ranges: dict[bytes, list[bytes]] = {}
    for each in elements:
        if isinstance(each, TaggedOutput) and each.tag == "keys":
            keys.setdefault(each.value[0], []).append(each.value[1])
    losers = [loser for pair in keys.items() for loser in Losers().process(pair)]
    for key, value in [*losers, *(each for each in elements if not isinstance(each, TaggedOutput))]:
        ranges.setdefault(key, []).append(value)
    return [(key, values[::-1]) for key, values in sorted(ranges.items())]


def _staged(folder: str, delivery: Any) -> Outcome:
    names = [name for name in sorted(os.listdir(folder)) if name.endswith(SUFFIX)]  # Those of a `dupe` are not committed.
    segments = [read_segment(os.path.join(folder, name)) for name in names]
    refs: dict[Any, list[Any]] = {}
    marks = {}
    for segment in segments:
        assert segment is not None
        marks |= {(mark.unit.index, mark.range): mark for mark in segment.marks}
        for group, ref in segment.blocks:
            refs.setdefault(group, []).append(ref)
    letters = list(delivery.letters.letters(staged_lines(in_order(refs.pop(None, [])))))
    blocks = Blocks()
    groups = {group: _file(delivery.format, in_order(refs[group]), blocks) for group in sorted(refs)}
    blocks.close()
    found = OfRanges(delivery.statistics.fields if delivery.statistics is not None else None)
    for mark in marks.values():
        found.add(mark)
    statistics = found.as_dict() if delivery.statistics is not None else None
    return Outcome(groups, total_of(marks), json.loads(json.dumps(letters)), "", statistics=statistics)


def _file(form: Any, refs: list[Any], blocks: Blocks) -> bytes:
    """The records of a group as text, or the whole file where it is a table."""
    if not hasattr(form, "encode"):
        return bytes(form.separator.join(map(blocks.payload, refs)))
    out = io.BytesIO()
    schemas = list(dict.fromkeys(ref.schema for ref in refs if ref.schema))
    try:
        form.assemble([(blocks.payload(ref), None) for ref in refs], schemas, out)
    except RecordError as error:  # No record has a field.
        return str(error).encode()
    return out.getvalue()
