"""Records on their way through the steps, the grouper and the formatter of a plan, without a pipeline and without Beam.

It is for a few records: `preview` and tests of configs look at all of them behind each step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, cast

from exporters_beam.components.protocols import Filter, FlatTransform, TextFormat, Transform
from exporters_beam.components.ready import explain, ready
from exporters_beam.components.traits import FormatTraits, StepTraits
from exporters_beam.config.on_error import DESERIALIZER, GROUPER
from exporters_beam.engine.source import Source
from exporters_beam.planning.logical import StepPlan
from exporters_beam.planning.plan import Plan
from exporters_beam.records import Failure, Mark, Position
from exporters_beam.transforms.chance import apart, put
from exporters_beam.transforms.results import no_record, no_value, records_of

FAILED: Any = object()
"""What stands for the result of a record that failed and is set aside."""

Placed = tuple[Position, Any]
"""A record with its position in the input."""


class Following:
    """What is told of records on their way."""

    def failed(self, step: str, position: Position, message: str, record: object) -> None:
        """A record failed a step; it does not go on, unless this raises."""

    def dropped(self, step: str, position: Position) -> None:
        """A step left a record out."""

    def before(self, record: Any) -> Any:
        """The record as `failed` is to have it, before a step may change it."""
        return record

    def guarded(self, step: str, position: Position, record: Any, work: Callable[[Any], object]) -> Any:
        """What `work` makes of a record, FAILED where it fails."""
        before = self.before(record)
        try:
            return work(record)
        except Exception as error:
            self.failed(step, position, explain(error), before)
            return FAILED


def first(source: Source, following: Following) -> Iterator[Placed]:
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
                    following.failed(record.step or DESERIALIZER, position, record.message, record.record)
                else:
                    yield position, record


def behind_each_step(plan: Plan, records: list[Placed], following: Following) -> Iterator[tuple[StepPlan, list[Placed]]]:
    """Each step with the records that it leaves."""
    refuse = no_record if plan.objects else no_value
    for step in plan.steps:
        step = replace(step, component=ready(step.component))
        records = list(_applied(step, records, following, refuse))
        yield step, records


def grouped(plan: Plan, records: Iterable[Placed], following: Following) -> Iterator[tuple[Position, Any, tuple[str, ...]]]:
    """The records with their groups, () where there is no grouper."""
    grouper = ready(plan.grouper)
    chances = StepTraits.of(grouper).chances
    apart(chances, plan.drawn)
    for position, record in records:
        put(chances, position)
        group = () if grouper is None else following.guarded(GROUPER, position, record, grouper.key)
        if group is not FAILED:
            yield position, record, group


def in_text(plan: Plan) -> TextFormat | None:
    """The formatter, where it writes text to files."""
    return cast(TextFormat, ready(plan.format)) if FormatTraits.of(plan.format).text and plan.names is not None else None


def _applied(
    step: StepPlan, records: Iterable[Placed], following: Following, refuse: Callable[[object], Exception | None]
) -> Iterator[Placed]:
    if step.kind in ("look", "delta"):  # It counts, and nothing else; or nothing is known to compare with.
        yield from records
        return
    component: Any = step.component
    chances = StepTraits.of(component).chances
    apart(chances, step.drawn)
    seen: set[bytes] = set()
    work = {
        "keep": partial(_keeps, component),
        "map": partial(_one_of, component, refuse),
        "flat_map": partial(_all_of, component),
    }.get(step.kind) or component.key
    for position, record in records:
        put(chances, position)
        result = following.guarded(step.name, position, record, work)
        if result is FAILED:
            continue
        if step.kind == "map":
            results = [result]
        elif step.kind == "flat_map":
            results = result
        elif step.kind == "keep":
            results = [record] if result else []
        else:
            results = [] if result in seen else [record]
            seen |= {result} - {None}
        if not results:
            following.dropped(step.name, position)
        yield from ((position, each) for each in results)


def _keeps(component: Filter, record: Any) -> bool:
    return bool(component.keep(record))


def _all_of(component: FlatTransform, record: Any) -> list[Any]:
    return records_of(component.flat_map(record))


def _one_of(component: Transform, refuse: Callable[[object], Exception | None], record: Any) -> Any:
    result = component.map(record)
    problem = refuse(result)
    if problem is not None:
        raise problem
    return result
