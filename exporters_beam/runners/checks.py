"""`exporters-beam check`: whether what a config names can be reached, read and written. Nothing is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import islice

from exporters_beam.components.ready import ready
from exporters_beam.components.secret import hide
from exporters_beam.components.traits import NotifierTraits, ReaderTraits, StepTraits, WriterTraits
from exporters_beam.config.export import ExportSpec
from exporters_beam.errors import ExportError, dotted
from exporters_beam.planning.keys import check_keys
from exporters_beam.planning.plan import Plan, make_each
from exporters_beam.readers.units import units_of
from exporters_beam.runners.registering import table_of
from exporters_beam.runners.tables import fixed


def checks(spec: ExportSpec) -> Iterator[tuple[str, str]]:
    """(section and component, what is wrong with it, "" where nothing is) of the reader, the tables of steps, the writer, the
    keys of `encrypt`, the table and each notification.

    A reader that has no probe of its own lists its first unit. A writer that has none writes where there is nothing to ask.
    """
    plans = make_each(spec, datetime.now())
    plan = plans[0]

    def read() -> None:
        probe = ReaderTraits.of(ready(plan.reader)).probe
        if probe is not None:
            probe()
        elif not list(islice(units_of(plan.reader), 1)):
            raise ExportError("there is nothing to read")

    def write(plan: Plan) -> None:
        probe = WriterTraits.of(ready(plan.writer)).probe
        if probe is not None:
            probe()

    yield f"reader {spec.reader.entry.name}", _wrong(read)
    for step in plan.reading.steps:
        if beside := StepTraits.of(step.component).beside:
            alone = replace(plan, steps=(step,))
            yield f"{step.name} {step.component_name} {beside}", _wrong(partial(fixed, alone))
    for each in plans:
        yield f"writer {each.spec.to or each.spec.writer.entry.name}", _wrong(partial(write, each))
    for path, looked_at in {each.encrypt_at: each for each in spec.each if each.encrypt is not None}.items():
        yield f"{dotted(path)} pgp", _wrong(partial(check_keys, looked_at, resolving=True))
    for each in plans:
        if each.spec.table is not None:
            yield f"{dotted(each.spec.table_at)} {each.spec.table.kind}", _wrong(partial(_reach, each))
    for section in spec.notifications:
        look = NotifierTraits.of(section.component).check
        yield f"{dotted(section.path)} {section.entry.name}", "" if look is None else _wrong(look)


def _reach(plan: Plan) -> None:
    table_of(plan).look()


def _wrong(look: object) -> str:
    assert callable(look)
    try:
        look()
    except ExportError as error:
        return hide(str(error))
    except OSError as error:
        return hide(error.strerror or str(error))
    return ""
