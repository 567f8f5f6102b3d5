"""What follows where an export delivers only what is different from the delivery before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from exporters_beam.components.names import expand_dates
from exporters_beam.components.protocols import Format
from exporters_beam.components.traits import FormatTraits, ReaderTraits, delivers_files
from exporters_beam.config.checks import HOLD
from exporters_beam.config.delta import DELTA, Delta
from exporters_beam.errors import Problem
from exporters_beam.planning.linked import names_of
from exporters_beam.planning.logical import StepPlan
from exporters_beam.transforms.delta import Told

if TYPE_CHECKING:
    from exporters_beam.config.export import ExportSpec


def told_by(delta: Delta) -> Told:
    return Told(delta.key, delta.field, delta.deletes)


def step_of(delta: Delta) -> StepPlan:
    return StepPlan(DELTA, DELTA, cast(Any, told_by(delta)), DELTA)


def delta_misfits(spec: ExportSpec, form: Format) -> Iterator[Problem]:
    """What does not go together with deltas."""
    if spec.delta is None:
        return
    at = (DELTA,)
    reader, writer = ReaderTraits.of(spec.reader.component), spec.writer.component
    if spec.new_only is not None:
        yield spec.problem(at, "with `new_only` a run reads a part, and deltas are those of whole snapshots; leave out "
                           "one of the two")  # fmt: skip
    elif reader.letters or reader.kept_in is not None:
        yield spec.problem(at, f"{'dead letters' if reader.letters else spec.reader.entry.name} "
                           f"{'are' if reader.letters else 'gives'} no whole snapshot; leave this section out")  # fmt: skip
    if spec.to:
        yield spec.problem(at, "deltas go to one `writer`; give each of several an export of its own")
        return
    if not delivers_files(writer):
        yield spec.problem(at, f"the writer {spec.writer.entry.name} delivers no files; deltas are files")
        return
    if writer.items_limit:
        yield spec.problem((*spec.writer.path, "options", "items_limit"), "what lies behind the limit would count as "
                           "deleted; leave it out")  # fmt: skip
    if spec.write_buffer is not None:
        yield spec.problem(at, "of a sample nobody knows what is gone; leave out one of the two")
    if spec.checks is not None and spec.checks.on_fail == HOLD:
        yield spec.problem(("checks", "on_fail"), "what is held would be compared again when it is released; take fail or warn")
    needs = FormatTraits.of(form).needs
    for name in sorted({spec.delta.field} - needs) if needs is not None else ():
        yield spec.problem(at, f"files have no {name}, which says what became of a record; add it to the formatter's fields")
    now = datetime(2001, 2, 3, 4, 5, 6)
    for path, name in names_of(spec):
        if expand_dates(name, now) == name:
            yield spec.problem(path, "the next delivery would replace this one, which it is compared with; put % dates into "
                               "the name that differ from run to run, as in %Y-%m-%d/items-")  # fmt: skip
