"""The compiled graph in words and as a Mermaid diagram, from the plan alone: nothing is started or read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from exporters_beam.components.options import options_of
from exporters_beam.components.secret import without_credentials
from exporters_beam.components.traits import GrouperTraits, ReaderTraits, StepTraits, WriterTraits
from exporters_beam.components.words import shortened
from exporters_beam.config.checks import FAIL, HOLD, WARN
from exporters_beam.config.delta import DELTA
from exporters_beam.config.on_error import WRITER
from exporters_beam.config.sections import ONE_FILE
from exporters_beam.config.window import WINDOW, Window
from exporters_beam.errors import printable
from exporters_beam.formats.without import whole
from exporters_beam.planning.bypass import NO_STORAGES
from exporters_beam.planning.logical import StepPlan
from exporters_beam.planning.looking import STATISTICS
from exporters_beam.planning.place import history_of
from exporters_beam.planning.plan import Plan
from exporters_beam.planning.table_files import told as of_table
from exporters_beam.stages import Extend, HandOn
from exporters_beam.transforms.expressions.shape import asks_the_clock

Stage = tuple[str, str, str]
"""The name of a stage, what it does, and its kind: source, step, shuffle or sink."""


def text(*plans: Plan, decisions: Sequence[str] = ()) -> str:
    """The graph, one stage a line, with the options that are not at their defaults, the decisions behind it, with others that
    are given, and what became of each rule of the planner. Of several writers each has its own stages behind what is done for
    all."""
    lines = []
    common, branches = _forked(plans)
    width = max(len(name) for stages in (common, *branches.values()) for name, _, _ in stages)
    lines += [f"{'  ' if n == 0 else '→ '}{name:<{width}}  {what}" for n, (name, what, _) in enumerate(common)]
    for to, stages in branches.items():
        lines += ["", f"{to}:", *(f"→ {name:<{width}}  {what}" for name, what, _ in stages)]
    told = [[*_decisions(plan)] for plan in plans]
    of_all = [each for each in told[0] if all(each in other for other in told)]
    lines += ["", *(f"- {decision}" for decision in (*of_all, *decisions))]
    for plan, own in zip(plans, told, strict=True):
        lines += [f"- {plan.spec.to}: {decision}" for decision in own if decision not in of_all]
    trace = plans[0].physical.trace
    width = max((len(applied.rule) for applied in trace), default=0)
    lines += ["", "rules of the planner (--without RULE leaves one out):"] if trace else []
    lines += [f"{'✓' if done else '·'} {rule:<{width}}  {'' if done else 'no: '}{why}" for rule, done, why in trace]
    return "\n".join(map(printable, lines)) + "\n"


def mermaid(*plans: Plan) -> str:
    """The same as a Mermaid flowchart."""
    lines, arrows = ["flowchart TD"], []
    common, branches = _forked(plans)
    total, fork = 0, ""
    for to, stages in {"": common, **branches}.items():
        before = fork
        for name, what, shape in stages:
            label = f"<b>{_html(f'{to}: {name}' if to else name)}</b><br/>{_html(what)}"
            left, right = {"source": ("([", "])"), "shuffle": ("{{", "}}"), "sink": ("[(", ")]")}.get(shape, ("[", "]"))
            lines.append(f'  s{total}{left}"{label}"{right}')
            arrows += [f"  {before} --> s{total}"] if before else []
            before = f"s{total}"
            total += 1
        fork = fork or before
    return "\n".join(map(printable, lines + arrows)) + "\n"


def _forked(plans: Sequence[Plan]) -> tuple[list[Stage], dict[str, list[Stage]]]:
    """The stages that all writers have in common, and behind them those of each, where there are several."""
    stages = [*_stages(plans[0])]
    if not plans[0].spec.to:
        return stages, {}
    shared = len(stages) - len([*_stages_of_writer(plans[0])])
    return stages[:shared], {plan.spec.to: [*_stages_of_writer(plan)] for plan in plans}


def _stages(plan: Plan) -> Iterator[Stage]:
    spec = plan.spec
    yield "reader", _component(spec.reader.entry.name, plan.reader), "source"
    if plan.copied:
        yield "copy", "every object as it is, nothing is decoded", "step"
        yield "writer", _component(spec.writer.entry.name, plan.writer), "sink"
        yield "manifest", "written last: the export is complete", "sink"
        return
    if plan.deserializer is not None:
        decompressor = spec.decompressor.entry.name if spec.decompressor else "auto"
        deserializer = spec.deserializer.entry.name if spec.deserializer else "jsonlines"
        yield "decompressor", _component(decompressor, plan.decompressor), "step"
        yield "deserializer", _component(deserializer, plan.deserializer), "step"
    yield from _steps(plan, plan.reading.steps)
    yield from _stages_of_writer(plan)


def _steps(plan: Plan, steps: Sequence[StepPlan]) -> Iterator[Stage]:
    for step in steps:
        shape = "shuffle" if step.kind in ("dedupe", DELTA) else "step"
        if step.name == STATISTICS:
            chosen = plan.spec.statistics.fields if plan.spec.statistics is not None else None
            yield step.name, f"of {', '.join(chosen)}" if chosen else "of all fields", shape
            continue
        if step.name == WINDOW and plan.spec.window is not None:
            yield step.name, f"of {plan.spec.window.size} by {plan.spec.window.field}", shape
            continue
        if step.name == DELTA and plan.spec.delta is not None:
            yield step.name, f"by {', '.join(plan.spec.delta.key)}, against {plan.spec.delta.against}", shape
            continue
        section = plan.spec.step(step.name)
        yield step.name, _component(section.entry.name if section else "", step.component), shape


def _of_windows(window: Window, goes_on: bool) -> str:
    """When windows are complete."""
    if not goes_on:
        return "window: every window is complete at the end, since everything is read"
    late = f" and {window.lateness}" if window.lateness_seconds else ""
    idle = f", or has had none for {window.max_wait}" if window.max_wait is not None else ""
    return (f"window: one is complete when each partition of the source has a record of its end{late}{idle}; what is later is "
            "one more file of it")  # fmt: skip


def _stages_of_writer(plan: Plan) -> Iterator[Stage]:
    """What is done for this writer alone, where there are several."""
    spec = plan.spec
    yield from _steps(plan, plan.own)
    if plan.grouper is not None and spec.grouper is not None:
        yield "grouper", _component(spec.grouper.entry.name, plan.grouper), "step"
    form = spec.formatter.entry.name if spec.formatter else "json"
    encoded = "records" if WriterTraits.of(plan.writer).staged_as is not None else _component(form, whole(plan.format))
    yield "formatter", f"{encoded}, staged as blocks", "step"
    if plan.limit:
        yield "items_limit", f"the first {plan.limit:,} records in input order", "shuffle"
    yield (
        "GroupByKey",
        "blocks of each group, in input order" if plan.grouper else "all blocks, in input order",
        "shuffle",
    )
    yield "writer", _component(spec.writer.entry.name, plan.writer), "sink"
    yield "manifest", "written last: the export is complete", "sink"


def _component(name: str, component: object) -> str:
    options = []
    for o in options_of(type(component)):
        value = o.value(component)
        if value != o.default and not (isinstance(value, tuple) and list(value) == o.default):
            options.append(f"{o.name}={'***' if o.secret else _short(value)}")
    return f"{name}({', '.join(options)})" if options else name


def _decisions(plan: Plan) -> Iterator[str]:
    if plan.copied:
        assert plan.names is not None
        there, source = WriterTraits.of(plan.writer).storage, ReaderTraits.of(plan.reader).storage
        inside = there is not None and source is not None and there().beside(source())
        way = "inside the service where that is allowed, else" if inside else "streamed"
        yield f"bypass: nothing changes the records, so objects are copied: {way} through this machine"
        yield f"files: {plan.names.filebase}<name of the object below the folder of the prefix>"
        yield from _done(plan)
        yield "exporter_options.prevent_bypass: true forces the pipeline, with its names and sizes of files"
        return
    yield from plan.spec.as_before
    if plan.why_not_copied != NO_STORAGES:
        yield f"no bypass: {plan.why_not_copied}"
    if plan.names is not None:
        windowed = plan.names.windows
        group = (*["<window>"] * windowed, *(f"<group {n}>" for n in range(plan.names.groups - windowed)))
        yield f"files: {_example(plan, group)}"
        if removed := GrouperTraits.of(plan.grouper).removed:
            yield f"files are without {', '.join(sorted(removed))}, which their folders tell (columns: keep leaves it there)"
        limits = [f"{plan.items_per_file:,} records"] if plan.items_per_file else []
        limits += [f"{plan.bytes_per_file:,} bytes"] if plan.bytes_per_file else []
        if plan.sample:
            yield f"a sample of {plan.sample:,} records of each group, one file each"
        elif limits:
            yield f"a file is closed at {' or '.join(limits)}"
    to = WriterTraits.of(plan.writer)
    if to.sends:
        yield f"batches of up to {plan.items_per_file:,} records, in input order; delivered {to.delivers} (docs/delivery.md)"
    elif to.delivers:
        yield f"each file is delivered {to.delivers} (docs/delivery.md)"
    if plan.spec.empty == ONE_FILE:
        yield "empty: where there are no records, one file without any is delivered"
    yield from _done(plan)
    if (first := plan.reading.logical.first) is not None:
        yield f"{first.name}: runs in the deserializer's loop, so that only what it keeps becomes an element"
    decoding = plan.physical.decoding
    if isinstance(decoding, HandOn):
        yield "lines are handed on as they are: nothing changes a record (formatter option reencode: true writes them anew)"
    if isinstance(decoding, Extend):
        names = ", ".join(decoding.added)
        what = f"{names} {'is' if len(decoding.added) == 1 else 'are'} added behind it" if names else "nothing is added"
        yield f"lines keep what stands in them: {what} (formatter option reencode: true writes them anew)"
    for step in plan.steps:
        if step.kind == DELTA:
            yield (f"{step.name}: hashes of keys and records are shuffled in 256 buckets, and compared with the state of the "
                   "delivery before; on the local runner they stand in memory; a resumed run reads again")  # fmt: skip
        if step.kind == "dedupe":
            what = "keys are shuffled" if plan.physical.stages else "keys are shuffled, and then the records"
            yield f"{step.name}: {what}; on the local runner they stand in memory"
    for name, component in [*((step.name, step.component) for step in plan.steps), ("grouper", plan.grouper)]:
        if StepTraits.of(component).chances:
            yield f"{name}: random draws by each record's place in the input, the same in every run"
        if any(map(asks_the_clock, StepTraits.of(component).expressions)):
            yield f"{name}: asks the clock, and so may give something else in every run and for every record"
    for action, what in (("skip", "is dropped, and counted"), ("dead_letter", "becomes a dead letter")):
        failing = [name for name, given in plan.on_error.actions if given == action and _has(plan, name)]
        if failing:
            yield f"on_error: a record that fails at {' or '.join(failing)} {what}"
    if plan.checks is not None:
        otherwise = {FAIL: "else nothing is", WARN: "else there is a warning", HOLD: "else it is held, for `release`"}
        yield f"checks: everything is staged and judged before anything is delivered; {otherwise[plan.checks.on_fail]}"
    if plan.spec.statistics is not None:
        kept = history_of(plan)
        compared = "compared with those of the run before" if kept else "not compared with others: add `staging: FOLDER`"
        yield f"statistics: of what comes to the writer, decoded for that; in the report and the manifest, and {compared}"
    if plan.spec.window is not None and plan.names is not None:
        yield _of_windows(plan.spec.window, plan.spec.new_only is not None)
    if plan.on_error.limited:
        yield "on_error: nothing is delivered before all is staged and its failed records are counted"
    if plan.limit:
        yield "items_limit: units are read one after the other, in order, until nothing earlier can still come"
    else:
        yield (
            "records do not cross a shuffle on the way to files: only references to staged blocks do"
            if not any(step.kind in ("dedupe", DELTA) for step in plan.steps)
            else "behind that only references to staged blocks cross a shuffle"
        )


def _done(plan: Plan) -> Iterator[str]:
    encrypt = plan.spec.encrypt
    if encrypt is not None:
        keys = f"{len(encrypt.pgp)} key{'s' if len(encrypt.pgp) > 1 else ''}"
        yield f"encrypt: each file is encrypted to {keys} of OpenPGP when it is built, and staged until the export is whole"
    if plan.bundle:
        yield f"bundle: one worker puts all files into {plan.bundle}, with these names below the folder of filebase"
    if plan.done:
        names = ", then ".join(name for _, name in plan.done)
        yield f"done: when all files stand, {names}; one of an earlier run is removed before the first file is delivered"
    yield from of_table(plan)


def _has(plan: Plan, step: str) -> bool:
    """Whether there is such a step; a deserializer and a formatter there are without a section, too."""
    present = {"deserializer": plan.deserializer, "formatter": plan.format}
    if step == WRITER:
        return WriterTraits.of(plan.writer).sends
    return bool(present.get(step, dict(plan.spec.failing).get(step)))


def _example(plan: Plan, group: tuple[str, ...]) -> str:
    assert plan.names is not None
    from urllib.parse import unquote

    name = unquote(plan.names.name(group, plan.names.start))
    writer = WriterTraits.of(plan.writer)
    return writer.storage().url(writer.key(name)) if writer.storage is not None else name


def _short(value: object) -> str:
    return shortened(without_credentials(repr(value)), 80)


def _html(text: str) -> str:
    for char, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(char, name)
    return text
