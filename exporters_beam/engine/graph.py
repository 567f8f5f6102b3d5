"""From a plan to a Beam graph. This is the only module that connects PCollections.

Labels are the names of the config's sections: they are the metric names too, and changing one breaks the update of a
running pipeline. The graph uses elements, GroupByKey and the ends of bundles, nothing else, so that it runs on every
runner.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

import apache_beam as beam
from apache_beam import coders
from apache_beam.pvalue import TaggedOutput

from exporters_beam.components.names import Naming
from exporters_beam.components.protocols import Keyed, StepComponent
from exporters_beam.components.traits import DecoderTraits, FilterTraits, ReaderTraits
from exporters_beam.config.delta import DELTA
from exporters_beam.config.window import WINDOW
from exporters_beam.engine.admit import Enough
from exporters_beam.engine.branching import Apart, NotAgain, Tolerant, in_all
from exporters_beam.engine.checking import KEYS, Look, Repeated
from exporters_beam.engine.closing import WriteManifest, booked
from exporters_beam.engine.dead_letters import Letters
from exporters_beam.engine.decode import Decode, Projecting, decoder
from exporters_beam.engine.delivery import TALLIES, TYPED, Delivery, staged_block, typed_range
from exporters_beam.engine.delta import STATE, Compare, Differing, Hash, buckets
from exporters_beam.engine.encode import EncodeBlocks
from exporters_beam.engine.failures import FailTheExport
from exporters_beam.engine.field_statistics import LookAtFields
from exporters_beam.engine.publishing import CheckNames, ClearDone, PlanFiles, PublishFile
from exporters_beam.engine.reading import WARNED, ListPieces, ListUnits, ReadChunks, ReadPieces
from exporters_beam.engine.sending import SendBatches
from exporters_beam.engine.source import RANGE_BYTES, Places, Source
from exporters_beam.engine.windows import LookAtTimes, completing
from exporters_beam.errors import ConfigError
from exporters_beam.handover import HandsOver
from exporters_beam.planning.keys import recipients_of
from exporters_beam.planning.logical import StepPlan
from exporters_beam.planning.looking import STATISTICS
from exporters_beam.planning.plan import Plan
from exporters_beam.readers.dead_letters import LettersReader
from exporters_beam.records import Limits, Position, Sampling, Typed
from exporters_beam.stages import Columns, Extend, MakeColumns, Project
from exporters_beam.staging.letters import FILE
from exporters_beam.staging.run import Run
from exporters_beam.staging.segments import Committed, Resumed, read_segment
from exporters_beam.transforms.steps import FAILED, FlatMap, Keep, Map, Step

KeyedBytes = tuple[bytes, bytes]


class Flowing:
    """The element type of batches on their way from step to step, and of what tells of them; see `FlowingCoder`."""


class FlowingCoder(coders.Coder):
    """Pickles records where a runner moves them, and guesses their size.

    Beam measures every thousandth element or so by encoding it, and its usual coder fails at lone surrogates and at
    deep nesting, which records may well have.
    """

    def encode(self, value: Any) -> bytes:
        return pickle.dumps(value, 5)

    def decode(self, encoded: bytes) -> Any:
        return pickle.loads(encoded)

    def estimate_size(self, value: Any) -> int:
        return 256

    def is_deterministic(self) -> bool:
        return False


coders.registry.register_coder(Flowing, FlowingCoder)


@dataclass(frozen=True)
class Outputs:
    """What an export gives: the delivered files, what failed at each step by the step's name and, last, the manifest."""

    delivered: Any
    failed: dict[str, Any]
    manifest: Any


def source_of(plan: Plan) -> Source:
    deserializer, decoding = plan.deserializer, plan.physical.decoding
    in_columns = DecoderTraits.of(deserializer).in_columns
    if isinstance(decoding, Columns) and in_columns is not None:
        deserializer = in_columns(decoding.read, decoding.judged)
    if plan.physical.skips and plan.logical.first is not None:
        skipping, may_keep = (
            DecoderTraits.of(deserializer).skipping,
            FilterTraits.of(plan.logical.first.component).may_keep,
        )
        assert skipping is not None and may_keep is not None, "the rule has asked for both"
        deserializer = skipping(may_keep)
    if ReaderTraits.of(plan.reader).kept_in is not None:
        raise ConfigError(plan.spec.problem((*plan.spec.reader.path, "name"),
                          "messages are taken before the pipeline is made, and acknowledged by the process that waits for its "
                          "end; run it with `exporters-beam run`"))  # fmt: skip
    return Source(plan.reader, plan.decompressor, deserializer, RANGE_BYTES)


def delivery_of(plan: Plan, run: Run, source: Source) -> Delivery:
    path = plan.on_error.file or os.path.join(run.books, FILE)
    letters = Letters(path, run.export_id, plan.origin, plan.spec.file, plan.sections, Places(source),
                      LettersReplayed(plan.reader) if isinstance(plan.reader, LettersReader) else None)  # fmt: skip
    decoding = plan.physical.decoding
    return Delivery(
        writer=plan.writer,
        format=plan.format,
        codec=plan.codec,
        naming=Naming(plan.names, plan.md5, plan.empty, plan.done, _in_utc(plan.now), plan.bundle),
        letters=letters,
        limits=Limits(plan.limit, plan.items_per_file, plan.bytes_per_file),
        sampling=Sampling(plan.sample, plan.seed),
        told=_told(plan),
        on_error=plan.on_error,
        checks=plan.spec.checks,
        statistics=plan.spec.statistics,
        deletes=plan.spec.delta is None or plan.spec.delta.deletes,
        added=decoding.added if isinstance(decoding, Extend) else (),
        recipients=recipients_of(plan.spec),
        windows=completing(plan, plan.now, plan.spec.link.windows if plan.spec.link is not None else None),
    )


def _in_utc(now: str) -> str:
    return datetime.fromisoformat(now).astimezone(timezone.utc).isoformat() if now else ""


@dataclass(frozen=True)
class LettersReplayed:
    """What letters are known by that fail again in a replay."""

    reader: LettersReader

    def __call__(self, position: Position, step: str, part: int) -> str:
        unit, _, n = position
        return self.reader.known_by(unit, n, step, part)


def _told(plan: Plan) -> tuple[tuple[str, Any], ...]:
    """What `verify` has to know to read the files again."""
    section = plan.spec.formatter
    name, options = (section.entry.name, dict(section.options)) if section else ("json", {})
    return ("name", name), ("options", options), ("compression", plan.codec.name)


def build(plan: Plan, pipeline: Any, run: Run, *others: tuple[Plan, Run]) -> Outputs:
    """Put an export into a pipeline. `others` are the plans and runs of its other writers, for which nothing is read again."""
    source = replace(source_of(plan), folder=run.folder)
    if plan.copied:
        return copies(plan, pipeline, run, source, delivery_of(plan, run, source))
    destinations = ((plan, run), *others)
    reading = next((each for each, _ in destinations if each.on_error.writes), plan).reading
    common = replace(run, resumed=in_all([each for _, each in destinations]), again=run.again and not others)
    start = pipeline | "Impulse" >> beam.Impulse()
    # Where workers are elsewhere, files are cut into pieces and not put together.
    together = plan.physical.together and not run.pieces
    units, warned = listed(start, source, run, together, tuple(each.books for _, each in others))
    records, undecoded = read(reading, units, common, source)
    records.element_type = Flowing
    failed = {"deserializer": undecoded}
    booked = {"Units": units, "Warned": warned, "Once": start}
    records, steps, repeated = stepped(reading, reading.logical.others, common, records, booked)
    failed |= steps
    flows = [undecoded, *steps.values()]
    outputs = []
    for each, its in destinations:
        destination = Destination(each, its, source, booked, common.resumed, repeated)
        outputs.append(records | each.spec.to >> destination if each.spec.to else destination.expand(records))
    for found in outputs:
        failed |= found.failed
        flows += [*found.failed.values(), found.manifest]
    for name, failures in failed.items():
        # Straight behind each step, so that the first record that fails ends the export at once.
        failures | f"{name}.on_error" >> beam.ParDo(FailTheExport(Places(source), name.rpartition(".")[0]))
    for flow in flows:
        flow.element_type = Flowing
    return Outputs(outputs[0].delivered, failed, outputs[0].manifest)


def stepped(
    plan: Plan, steps: tuple[StepPlan, ...], run: Run, records: Any, booked: dict[str, Any]
) -> tuple[Any, dict[str, Any], Any]:
    """The records behind the steps, what fails at each of them, by its name, and how many records are not unique, bucket by
    bucket, where that is asked for. What the manifest tells of them goes to what is `booked`."""
    failed, repeated = {}, None
    for step in steps:
        if step.kind == "dedupe":
            records, failures = records | step.name >> dedupe_of(plan, step, run)
        elif step.kind == DELTA:
            delta = DeltaOf(plan, step, run, booked["Once"])
            records, failures, booked["State"] = records | step.name >> delta
        elif step.name == STATISTICS:
            records, failures = records | step.name >> beam.ParDo(LookAtFields(step.name, step.component)), None
        elif step.name == WINDOW:
            records, failures = records | step.name >> beam.ParDo(LookAtTimes(step.name, step.component)), None
        elif step.kind == "look":
            looked = records | step.name >> beam.ParDo(Look(step.name, step.component)).with_outputs(KEYS, main="records")
            records, failures = looked["records"], None
            if plan.checks is not None and plan.checks.unique:
                repeated = _repeated(looked[KEYS])
        else:
            dofn: Step
            if step.kind == "map":
                dofn = Map(step.name, step.component, plan.on_error, values=not plan.objects)
            else:
                dofn = {"keep": Keep, "flat_map": FlatMap}[step.kind](step.name, step.component, plan.on_error)
            outputs = records | step.name >> beam.ParDo(dofn.after(step.drawn)).with_outputs(FAILED, main="records")
            records, failures = outputs["records"], outputs[FAILED]
        records.element_type = Flowing
        if failures is not None:
            failed[step.name] = failures
    return records, failed, repeated


def _repeated(keys: Any) -> Any:
    return (
        keys
        | "KeyTypes" >> beam.Map(_same).with_output_types(KeyedBytes)
        | "ByKey" >> beam.GroupByKey()
        | "Repeated" >> beam.ParDo(Repeated()).with_output_types(bytes)
    )


class Destination(beam.PTransform):
    """From records to what one writer has, and its manifest. `booked` is what the manifests of all writers count, and what the
    `common` runs of all have committed is not read again."""

    def __init__(self, plan: Plan, run: Run, source: Source, booked: dict[str, Any], common: Resumed, repeated: Any) -> None:
        super().__init__()
        self._plan, self._run, self._source, self._booked, self._common = plan, run, source, booked, common
        self._repeated = repeated

    def expand(self, records: Any) -> Outputs:
        plan, run = self._plan, self._run
        delivery = delivery_of(plan, run, self._source)
        if run.resumed.covered != self._common.covered:
            records = records | "NotAgain" >> beam.ParDo(NotAgain(run.resumed.covered))
            records.element_type = Flowing
        if any(step.kind == "map" for step in plan.own):
            records = records | "Apart" >> beam.ParDo(Apart())
            records.element_type = Flowing
        records, failed, _ = stepped(plan, plan.own, run, records, self._booked)
        encoder = encoder_of(plan, self._source, delivery, run).after(plan.drawn)
        encoded = records | "writer" >> beam.ParDo(encoder).with_outputs(FAILED, TALLIES, TYPED, main="blocks")
        failed["writer"] = encoded[FAILED]
        blocks = encoded["blocks"] | "Blocks" >> beam.Map(_same).with_output_types(KeyedBytes)
        tallies, types = encoded[TALLIES], typed_ranges(encoded[TYPED])
        if run.resumed.segments:
            blocks, tallies, types = _with_earlier(delivery, records.pipeline, run, blocks, tallies, types)
        booked = {"Tallies": tallies, **self._booked}
        if plan.limit or plan.on_error.limited or plan.checks is not None:
            blocks, booked["Late"] = _admitted(delivery, run, blocks, tallies, booked["Once"], self._repeated)
        elif delivery.finds_types:
            blocks, booked["Late"] = settled(delivery, run, blocks, types)
        delivered, manifest = deliver(delivery, run, records.pipeline, blocks, booked)
        prefix = f"{plan.spec.to}." if plan.spec.to else ""
        return Outputs(delivered, {f"{prefix}{name}": flow for name, flow in failed.items()}, manifest)


def dedupe_of(plan: Plan, step: StepPlan, run: Run) -> beam.PTransform:
    """What applies a `dupe`. Records have no values in common where they were decoded one by one and only filters had them."""
    from exporters_beam.transforms.dedupe import Dedupe

    assert isinstance(step.component, Keyed)
    return Dedupe(step.name, step.component, plan.on_error, run if plan.physical.stages else None, _share(plan, step))


def _share(plan: Plan, step: StepPlan) -> bool:
    """Whether records may have values in common when they come to a step."""
    before = plan.steps[: plan.steps.index(step)]
    return plan.logical.decoder.glance is None or any(each.kind in ("map", "flat_map") for each in before)


class DeltaOf(beam.PTransform):
    """What is different from the delivery before: its records, what fails, and the buckets of the snapshot's state."""

    def __init__(self, plan: Plan, step: StepPlan, run: Run, once: Any) -> None:
        super().__init__()
        if run.against is None:
            raise ConfigError(plan.spec.problem((DELTA,), "a pipeline of your own cannot know the delivery before; run it with "
                                                "`exporters-beam run`"))  # fmt: skip
        told: Any = step.component
        stage = run if plan.physical.stages else None
        self._hash = Hash(step.name, told, plan.on_error, stage, _share(plan, step))
        self._compare = Compare(told, run, run.against)
        self._differing = Differing(step.name, told, stage)
        self._run, self._once = run, once

    def expand(self, records: Any) -> Any:
        split = records | "Hash" >> beam.ParDo(self._hash).with_outputs("keys", FAILED, main="ranges")
        keys = split["keys"] | "KeyTypes" >> beam.Map(_same).with_output_types(KeyedBytes)
        compared = (
            (keys, self._once | "Buckets" >> beam.FlatMap(buckets).with_output_types(KeyedBytes))
            | "Snapshot" >> beam.Flatten()
            | "SnapshotInOrder" >> _Rebalanced(self._run)
            | "ByBucket" >> beam.GroupByKey()
            | "Compare" >> beam.ParDo(self._compare).with_outputs(STATE, main="told")
        )
        told = compared["told"] | "Told" >> beam.Map(_same).with_output_types(KeyedBytes)
        kept = split["ranges"] | "RangeTypes" >> beam.Map(_same).with_output_types(KeyedBytes)
        differing = (
            (kept, told)
            | "Meet" >> beam.Flatten()
            | "MeetInOrder" >> _Rebalanced(self._run)
            | "ByRange" >> beam.GroupByKey()
            | "Differing" >> beam.ParDo(self._differing)
        )
        return differing, split[FAILED], compared[STATE]


def typed_ranges(types: Any) -> Any:
    """What ranges say of the types of their blocks, all under one key."""
    return types | "TypesOfRanges" >> beam.Map(_typed).with_output_types(KeyedBytes)


def settled(delivery: Delivery, run: Run, blocks: Any, types: Any) -> tuple[Any, Any]:
    """The blocks and what all of them together say of the types of columns; and how counts change by that."""
    from exporters_beam.engine.settling import Settle

    found = (
        types
        | "TypesInOrder" >> _Rebalanced(run)
        | "TypesAtOnce" >> beam.GroupByKey()
        | "Settle" >> beam.ParDo(Settle(delivery, run)).with_outputs(TALLIES, main="told")
    )
    told = found["told"] | "Told" >> beam.Map(_same).with_output_types(KeyedBytes)
    return (blocks, told) | "BlocksAndTypes" >> beam.Flatten() | "TypedInOrder" >> _Rebalanced(run), found[TALLIES]


def deliver(delivery: Delivery, run: Run, pipeline: Any, blocks: Any, booked: dict[str, Any]) -> tuple[Any, Any]:
    """The files that are made of staged blocks, and the manifest. `booked` is what it counts: tallies, listed units."""
    planned = (
        blocks
        | "GroupBlocks" >> beam.GroupByKey()
        | "PlanFiles" >> beam.ParDo(PlanFiles(delivery)).with_output_types(tuple[str, bytes])
    )
    if delivery.ambiguous or delivery.to.admit is not None or delivery.says_done or delivery.naming.bundle:
        planned = (
            planned
            | "Planned" >> beam.Map(_planned).with_output_types(tuple[bytes, tuple[str, bytes]])
            | "AllNames" >> beam.GroupByKey()
            | "CheckNames" >> beam.ParDo(CheckNames(delivery, run)).with_output_types(tuple[str, bytes])
        )
    if delivery.to.sends:
        delivered = (
            planned
            | "Batches" >> beam.Map(_batch).with_output_types(tuple[int, bytes])
            | "AllBatches" >> beam.GroupByKey()
            | "SendBatches" >> beam.ParDo(_alone(SendBatches(delivery, run), run))
        )
    else:
        publish = _alone(PublishFile(delivery, run), run)
        delivered = planned | "ByName" >> beam.GroupByKey() | "PublishFile" >> beam.ParDo(publish)
    return delivered, closed(pipeline, run, delivery, {"Files": delivered, **booked})


def _alone(dofn: Any, run: Run, books: str = "") -> Any:
    """What delivers to one of several writers, and does not end the export for the others where it fails."""
    return Tolerant(dofn, books) if run.tolerant else dofn


def closed(pipeline: Any, run: Run, delivery: Delivery, booked: dict[str, Any]) -> Any:
    """The manifest, from all that was delivered, tallied and listed.

    `Once` is any single element, so that an export of nothing has a manifest too. It comes from the one Impulse there is:
    Flink makes up names for sources, and takes one's checkpoint for the other's where there are two.
    """
    if "Once" not in booked:
        booked = {**booked, "Once": pipeline | "Once" >> beam.Create([b"once"], reshuffle=False)}
    return (
        # Mapped before they are flattened: the fuser of Beam's Java runners refuses a ParDo behind such a Flatten.
        tuple(flow | f"Book{name}" >> beam.Map(_booked).with_output_types(tuple[int, bytes]) for name, flow in booked.items())
        | "Books" >> beam.Flatten()
        | "BooksInOrder" >> _Rebalanced(run)
        | "Close" >> beam.GroupByKey()
        | "WriteManifest" >> beam.ParDo(_alone(WriteManifest(delivery, run), run, run.books))
    )


def copies(plan: Plan, pipeline: Any, run: Run, source: Source, delivery: Delivery) -> Outputs:
    """The graph of a bypass: list, copy, manifest."""
    from exporters_beam.engine.copying import CopyObjects, ReadCopied

    assert plan.names is not None
    start = pipeline | "Impulse" >> beam.Impulse()
    cleared = start | "ClearDone" >> beam.ParDo(ClearDone(delivery, run)) if delivery.naming.done else start
    units, warned = listed(cleared, source, run)
    copy = CopyObjects(source, plan.writer, plan.codec, plan.names, run)
    done = units | "Reshuffle" >> beam.Reshuffle() | "copy" >> beam.ParDo(copy).with_outputs(TALLIES, main="files")
    booked = {"Files": done["files"], "Tallies": done[TALLIES], "Units": units, "Warned": warned, "Once": start}
    if run.resumed.segments:
        paths = [segment.path for segment in run.resumed.segments]
        earlier = pipeline | "Earlier" >> beam.Create(paths, reshuffle=False)
        before = earlier | "ReadCopied" >> beam.ParDo(ReadCopied()).with_outputs(TALLIES, main="files")
        booked |= {"EarlierFiles": before["files"], "EarlierTallies": before[TALLIES]}
    manifest = closed(pipeline, run, replace(delivery, told=()), booked)
    manifest.element_type = Flowing
    return Outputs(done["files"], {}, manifest)


def listed(start: Any, source: Source, run: Run, together: bool = False, books: tuple[str, ...] = ()) -> tuple[Any, Any]:
    """The units of the source, small ones together where that is wanted, and what its reader warns of. They are noted in the
    books of the run, and in these."""
    found = start | "ListUnits" >> beam.ParDo(ListUnits(source, run, together, books)).with_outputs(WARNED, main="units")
    return found["units"], found[WARNED]


def read(plan: Plan, units: Any, run: Run, source: Source) -> tuple[Any, Any]:
    """The records of the source in batches, with marks, and what could not be decoded."""
    enough = Enough(run.staging, plan.limit) if plan.limit else None
    if enough is None:
        if run.pieces:
            units = units | "Cut" >> beam.ParDo(ListPieces(source, run.pieces, run.resumed))
        units = units | "Reshuffle" >> beam.Reshuffle()  # With a limit units are read one after the other, in order.
    pieces = 0 if enough else 8
    reader = ReadChunks(source, run.bundle_seconds, enough, pieces, run.resumed)
    if run.pieces and not enough:
        # What a dedupe lets through depends on all records: then nothing that was staged counts.
        again = None if plan.keys_in_full else run
        reader = ReadPieces(source, run.bundle_seconds, enough, pieces, run.resumed, run=again)
    chunks = units | "reader" >> beam.ParDo(reader)
    chunks.element_type = Flowing
    decoded = chunks | "deserializer" >> beam.ParDo(decoder_of(plan, source)).with_outputs(FAILED, main="records")
    return decoded["records"], decoded[FAILED]


def _with_earlier(delivery: Delivery, pipeline: Any, run: Run, blocks: Any, tallies: Any, types: Any) -> tuple[Any, Any, Any]:
    """Blocks and marks of this run together with those that an earlier run has committed."""
    segments = pipeline | "Earlier" >> beam.Create([segment.path for segment in run.resumed.segments], reshuffle=False)
    footers = ReadFooter(delivery.finds_types)
    earlier = segments | "ReadFooters" >> beam.ParDo(footers).with_outputs(TALLIES, TYPED, main="blocks")
    before = earlier["blocks"] | "EarlierBlocks" >> beam.Map(_same).with_output_types(KeyedBytes)
    return (
        (blocks, before) | "AllBlocks" >> beam.Flatten(),
        (tallies, earlier[TALLIES]) | "AllTallies" >> beam.Flatten(),
        (types, earlier[TYPED] | "EarlierTypes" >> beam.Map(_typed).with_output_types(KeyedBytes))
        | "AllTypes" >> beam.Flatten(),
    )


class ReadFooter(HandsOver, beam.DoFn):
    """A committed segment's blocks, as the encoder emits them, its marks, and the types of its ranges."""

    def __init__(self, typed: bool) -> None:
        self._typed = typed

    def process(self, path: str) -> Any:
        segment = read_segment(path)
        if segment is None:
            return
        for group, ref in segment.blocks:
            yield staged_block(group, ref)
        for mark in segment.marks:
            yield TaggedOutput(TALLIES, mark)
        if self._typed:
            yield from (TaggedOutput(TYPED, typed) for typed in _types_of(segment))


def _types_of(segment: Committed) -> Iterator[Typed]:
    own: dict[tuple[int, int], list[Any]] = {(mark.unit.index, mark.range): [] for mark in segment.marks}
    for group, ref in segment.blocks:
        own[ref.first[0].index, ref.first[1]].append((group, ref))
    for mark in segment.marks:
        if refs := own[mark.unit.index, mark.range]:
            yield typed_range(mark, segment.path, refs)


def decoder_of(plan: Plan, source: Source) -> Decode:
    """The ParDo for what the plan decodes; it has the filter that the steps begin with in it."""
    decoding = plan.physical.decoding
    args = source, plan.logical.first, plan.on_error, plan.grouper, plan.logical.format.finds_types
    if isinstance(decoding, Project):
        return Projecting(source, decoding.fields, *args[1:]).hinting(plan.logical.sought)
    if isinstance(decoding, MakeColumns):
        from exporters_beam.engine.tables import ToColumns

        return ToColumns(_named(plan), *args)
    if isinstance(decoding, Columns):
        from exporters_beam.engine.columns import SiftColumns

        return SiftColumns(_named(plan), *args)
    return decoder(decoding, *args)


def _named(plan: Plan) -> list[tuple[str, StepComponent]]:
    """The steps behind the decoder, by their names."""
    return [(step.name, step.component) for step in plan.logical.others]


def encoder_of(plan: Plan, source: Source, delivery: Delivery, run: Run) -> EncodeBlocks:
    """The ParDo that stages what the plan makes of records."""
    decoding = plan.physical.decoding
    if isinstance(decoding, Columns):
        from exporters_beam.engine.columns import EncodeColumns

        maps = [component for _, component in _named(plan)]
        return EncodeColumns("writer", delivery, run, None, deserializer=source.deserializer, maps=maps)
    if isinstance(decoding, MakeColumns):
        from exporters_beam.engine.tables import EncodeTables

        return EncodeTables("writer", delivery, run, plan.grouper)
    return EncodeBlocks("writer", delivery, run, plan.grouper)


def _admitted(delivery: Delivery, run: Run, blocks: Any, tallies: Any, once: Any, repeated: Any) -> tuple[Any, Any]:
    """What of the blocks is delivered. `once` is an element that there is in any case: an export of nothing is judged, too."""
    from exporters_beam.engine.settling import Admit

    counted = tallies | "CountRanges" >> beam.Map(_tallied).with_output_types(KeyedBytes)
    staged = blocks | "CountBlocks" >> beam.Map(_staged).with_output_types(KeyedBytes)
    told = [counted, staged, once | "AtAll" >> beam.Map(_at_all).with_output_types(KeyedBytes)]
    if repeated is not None:
        told.append(repeated | "CountRepeated" >> beam.Map(_under_one_key).with_output_types(KeyedBytes))
    found = (
        told
        | "AllStaged" >> beam.Flatten()
        | "StagedInOrder" >> _Rebalanced(run)
        | "AtOnce" >> beam.GroupByKey()
        | "Admit" >> beam.ParDo(Admit(delivery, run)).with_outputs(TALLIES, main="admitted")
    )
    return found["admitted"] | "Admitted" >> beam.Map(_same).with_output_types(KeyedBytes), found[TALLIES]


class _Rebalanced(beam.PTransform):
    """On Flink: an operator with a name of its own behind a Flatten, so that a checkpoint is found again.

    Beam's job server gives the one before a GroupByKey no name; Flink then makes one up from its inputs, whose order
    behind a Flatten is another each time.
    """

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._needed = run.again

    def expand(self, flow: Any) -> Any:
        if not self._needed:
            return flow
        return flow | "Reshuffle" >> beam.Reshuffle() | "Same" >> beam.Map(_same).with_output_types(flow.element_type)


def _batch(planned: tuple[str, bytes]) -> tuple[int, bytes]:
    """One worker sends all batches."""
    return 0, planned[1]


def _same(pair: KeyedBytes) -> KeyedBytes:
    return pair


def _planned(file: tuple[str, bytes]) -> tuple[bytes, tuple[str, bytes]]:
    return b"", file


def _booked(value: Any) -> tuple[int, bytes]:
    return 0, booked(value)


def _at_all(_: Any) -> KeyedBytes:
    return b"", pickle.dumps(("at all", None), 5)


def _under_one_key(value: bytes) -> KeyedBytes:
    return b"", value


def _typed(typed: Typed) -> KeyedBytes:
    return b"", pickle.dumps(typed, 5)


def _tallied(mark: Any) -> KeyedBytes:
    return b"", pickle.dumps(("tally", mark._replace(statistics=b"")), 5)


def _staged(pair: KeyedBytes) -> KeyedBytes:
    return b"", pickle.dumps(("block", pair), 5)
