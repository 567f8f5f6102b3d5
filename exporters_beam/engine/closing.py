"""The end of an export: what was read and delivered is counted, and the manifest is written."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, BinaryIO, NamedTuple

import apache_beam as beam

from exporters_beam.components.ready import ready
from exporters_beam.config import contract
from exporters_beam.config.checks import MOST_RUNS, Checks
from exporters_beam.config.on_error import DEAD_LETTER, WRITER
from exporters_beam.decimals import beyond_json
from exporters_beam.engine.checking import measured
from exporters_beam.engine.dead_letters import TooManyFailed
from exporters_beam.engine.delivery import Delivery, staged_lines, total_of
from exporters_beam.engine.delta import stated, without_gone
from exporters_beam.engine.done import clear, deliver_done, in_place, refuse_their_names
from exporters_beam.engine.field_statistics import OfRanges, changes, sentences
from exporters_beam.engine.publishing import PublishFile
from exporters_beam.engine.sending import complete, refused_counts, target_of
from exporters_beam.errors import DestinationError
from exporters_beam.files import destination, write_whole
from exporters_beam.handover import HandsOver
from exporters_beam.records import (
    TOLD,
    DeliveredFile,
    Json,
    Mark,
    PlannedFile,
    Recount,
    Sought,
    Undelivered,
    Unit,
    Units,
    Warned,
)
from exporters_beam.reporting.leftovers import Entry, former, left_behind, remove
from exporters_beam.reporting.manifest import check_ranges, manifest_checksum, manifest_text, unbalanced
from exporters_beam.staging.books import Books, sweep
from exporters_beam.staging.deltas import Bucket
from exporters_beam.staging.history import runs_before, tell_run
from exporters_beam.staging.letters import FILE, NAME, identity
from exporters_beam.staging.run import Run, enter
from exporters_beam.transforms import sightings

MOST_WARNINGS = 100
"""So many warnings stand in a manifest."""


def some_of(warnings: list[str]) -> list[str]:
    """The first warnings, and how many more there are."""
    more = len(warnings) - MOST_WARNINGS
    return warnings if more <= 0 else [*warnings[:MOST_WARNINGS], f"and {more:,} more warnings"]


def _added(counts: dict[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """The counts, with these added to them."""
    for name, n in more.items():
        counts[name] = counts.get(name, 0) + n
    return counts


def _number_of(batch: DeliveredFile) -> int:
    return int(batch.name.rpartition("-")[2])


def booked(value: Any) -> bytes:
    """What the manifest is made of, on its way there: marks, of which there may be very many, as plain tuples."""
    if isinstance(value, Mark):
        unit, *rest, sought, statistics, latest = value
        return pickle.dumps((tuple(unit), *rest, [tuple(each) for each in sought], statistics, latest), 5)
    return pickle.dumps(value, 5)


def _unbooked(data: bytes) -> Any:
    value = pickle.loads(data)
    if type(value) is tuple:
        unit, number, counts, last, staged, warnings, sought, *rest = value
        return Mark(Unit(*unit), number, counts, last, staged, warnings, tuple(Sought(*each) for each in sought), *rest)
    return value


class WriteManifest(HandsOver, beam.DoFn):
    """The last step: checks that every record is accounted for, then writes the manifest and sweeps what was staged, where
    the launcher does not.

    Takes one element with every listed unit, every tally and every delivered file. The manifest is the only thing that
    says the export is whole.
    """

    def __init__(self, delivery: Delivery, run: Run) -> None:
        self._delivery, self._run = delivery, run

    def setup(self) -> None:
        self._delivery = replace(self._delivery, writer=ready(self._delivery.writer))
        enter(self._run.folder)

    def process(self, element: tuple[Any, Iterable[Any]]) -> Iterator[Json]:
        asked = self._delivery.statistics
        fields = OfRanges(asked.fields) if asked is not None else None
        gathered = _gathered(map(_unbooked, element[1]), fields)
        if gathered.undelivered is not None:
            raise DestinationError(gathered.undelivered.why)
        tallies, listed, delivered, warned, late, _, buckets = gathered
        if fields is not None:
            warned.update(dict.fromkeys(fields.warnings()))
        letters = delivered.pop(NAME, None)
        files = sorted(delivered.values(), key=lambda file: file.name)
        target, counts = None, _added(total_of(tallies), late)
        if self._delivery.to.sends:
            letters, target, files = self._ended(letters, sorted(delivered.values(), key=_number_of), counts)
        if not files and self._delivery.naming.empty:
            files = [self._empty_file()]
        if not self._delivery.limits.items:
            check_ranges(listed, tallies)
        warned.update((text, None) for place in sorted(tallies) for text in tallies[place].warnings)
        warned.update((TOLD[name][n > 1].format(n), None) for name, n in counts.items() if name in TOLD)
        warned.update(dict.fromkeys((*sightings.without_match(counts), *contract.warnings(counts))))
        sought = (each for place in sorted(tallies) for each in tallies[place].sought)
        warned.update(dict.fromkeys(sightings.warnings(sought)))
        before, unread = former(self._delivery.writer, self._run.manifest, self._delivery.naming.names, self._run.export_id)
        done = in_place(self._delivery).values()
        left, told = left_behind(self._delivery.writer, before, (*(file.name for file in files), *done))
        warned.update(dict.fromkeys([unread, *told] if unread else told))
        of_fields = self._of_fields(fields) if fields is not None else {}
        warned.update(dict.fromkeys(sentences(of_fields["drift"]["changes"] if "drift" in of_fields else ())))
        manifest = self._manifest(tallies, counts, files, letters, list(warned), left, target, of_fields)
        self._check(manifest["counts"], files, letters)
        if self._run.against is not None:
            manifest["delta"] = stated(self._run, buckets, counts["written"], self._delivery.deletes)
        if self._delivery.naming.checksums:
            self._checksums(files)
        complete = self._complete(manifest, listed, tallies, files)
        if self._delivery.naming.done or complete:
            manifest["began"] = self._delivery.naming.when
            manifest["done"] = deliver_done(self._delivery, self._run, manifest, files, complete)
        manifest["checksum"] = manifest_checksum(manifest)
        text = manifest_text(manifest)
        to, names = self._delivery.to, self._delivery.naming.names
        if to.finish is not None and names:
            to.finish(text, names, self._run.export_id)
        write_whole(self._run.manifest, text, "cannot write the manifest")
        self._tell_run(counts, of_fields)
        remove(self._delivery.writer, left)
        if "letters" in manifest and to.note_letters is not None and names:
            to.note_letters(manifest["letters"], names, manifest["origin"])
        if letters is None and os.path.exists(os.path.join(self._run.books, FILE)):
            os.remove(os.path.join(self._run.books, FILE))  # of an earlier run
        if self._run.sweeps:
            sweep(Books(self._run.books, self._run.scratch, True))
        yield manifest

    def _complete(
        self,
        manifest: Json,
        listed: Mapping[int, Unit],
        tallies: Mapping[tuple[int, int], Mark],
        files: Sequence[DeliveredFile],
    ) -> list[tuple[str, str]]:
        """The files that say which windows are complete; what is known of windows goes into the manifest."""
        windows = self._delivery.windows
        if windows is None:
            return []
        manifest["windows"] = windows.told(listed.values(), tallies.values(), files)
        return [*windows.success(manifest["windows"], self._delivery.naming.names)]

    def _tell_run(self, counts: Mapping[str, int], of_fields: Json) -> None:
        """For runs to come: how many records this one had, and what was in their fields, where that is asked for."""
        if self._run.history:
            told = {"export": self._run.export_id, "began": self._run.began, **self._measured(counts)}
            if "statistics" in of_fields:
                told["statistics"] = of_fields["statistics"]
            tell_run(self._run.history, told, MOST_RUNS)

    def _of_fields(self, fields: OfRanges) -> Json:
        """The statistics of fields, and what is different from those of the run before, where there was one."""
        assert self._delivery.statistics is not None
        found = {"statistics": fields.as_dict()}
        before = [
            each for each in runs_before(self._run.history, (self._run.export_id, self._run.began)) if "statistics" in each
        ]
        if before:
            changed = changes(before[-1]["statistics"], found["statistics"], self._delivery.statistics.most)
            found["drift"] = {"export": before[-1]["export"], "began": before[-1]["began"], "changes": changed}
        return found

    def _ended(
        self, staged: DeliveredFile | None, batches: list[DeliveredFile], counts: dict[str, int]
    ) -> tuple[DeliveredFile | None, Json, list[DeliveredFile]]:
        """The end of a delivery to a target: dead letters, those of refused records behind the others, and the target's entry
        in the manifest; no files. What was refused is added to the counts. Raises TooManyFailed where more failed than
        `on_error` allows."""
        refused = [line for batch in batches for line in batch.result or ()]
        _added(counts, refused_counts(self._delivery, len(refused)))
        exceeded = self._delivery.on_error.exceeded(counts)
        if refused and exceeded:
            raise TooManyFailed(exceeded + self._delivery.letters.first(refused))
        lines = [*(staged_lines(staged.result) if staged else ())]
        lines += refused if self._delivery.on_error.action(WRITER) == DEAD_LETTER else []
        letters = self._delivery.letters.write(lines) if lines else None
        records = sum(batch.records for batch in batches)
        known = complete(self._delivery, self._run, len(batches), records)
        return letters, target_of(self._delivery, known, batches), []

    def _manifest(
        self,
        tallies: dict[tuple[int, int], Mark],
        counts: dict[str, int],
        files: list[DeliveredFile],
        letters: DeliveredFile | None,
        warned: list[str],
        left: list[Entry],
        target: Json | None,
        of_fields: Json,
    ) -> Json:
        names = self._delivery.naming.names
        units = without_gone({tallies[place].unit.index: tallies[place].unit for place in sorted(tallies)})
        counts["written"] = sum(file.records for file in files) if target is None else target["records"]
        result = files[0].result if files else self._delivery.to.empty_result
        manifest = {
            "export": self._run.export_id,
            **dict(self._run.about),
            "format": dict(self._delivery.told),
            **({"filebase": names.filebase} if names else {}),
            "limit": self._delivery.limits.items,
            "sample": self._delivery.sampling.size,
            "counts": counts,
            **({"checks": self._measured(counts)} if self._delivery.checks is not None else {}),
            **of_fields,
            "warnings": some_of(warned),
            "units": [],
            "files": [],
            **({"targets": [target]} if target else {}),
            **({"dead_letters": self._told_of(letters)} if letters else {}),
            **({"result": result} if self._delivery.to.tells_result else {}),
        }
        manifest = json.loads(json.dumps(manifest, ensure_ascii=False, default=beyond_json))
        if "letters" in manifest:
            again = self._failed_again() if letters else set()
            manifest["letters"] = [known for known in manifest["letters"] if known not in again]
        manifest["units"] = [{"name": u.name, "bytes": u.size, "etag": u.etag} for u in units.values()]
        manifest["files"] = [file.as_dict() for file in files if file.name != "<result>"]
        if left:
            manifest["left"] = [dict(entry) for entry in left]
        return manifest

    def _measured(self, counts: Mapping[str, int]) -> Json:
        return measured(self._delivery.checks or Checks(), counts)

    def _empty_file(self) -> DeliveredFile:
        publisher = PublishFile(self._delivery, self._run)
        refuse_their_names(self._delivery, [publisher.empty_file.name])
        clear(self._delivery, self._run)
        publisher.setup()
        publisher.start_bundle()
        file = publisher.publish_empty()
        publisher.finish_bundle()
        return file

    def _failed_again(self) -> set[str]:
        """What the letters are known by that a replay has sent in and has left again."""
        path = self._delivery.letters.path
        with destination("cannot read the dead letters", path), open(path, "rb") as file:
            return {identity(json.loads(line)) for line in file}

    def _told_of(self, letters: DeliveredFile) -> Json:
        return {
            "name": self._delivery.letters.path,
            "records": letters.records,
            "bytes": letters.size,
            "md5": letters.md5,
        }

    def _check(self, counts: dict[str, int], files: list[DeliveredFile], letters: DeliveredFile | None) -> None:
        difference = unbalanced(
            counts, self._delivery.limits.items, self._delivery.sampling.size, letters.records if letters else 0
        )
        if difference:
            raise DestinationError(f"{difference}; nothing may be missing, so the export has failed")
        check = self._delivery.to.check
        if self._delivery.writer.check_consistency and check is not None:
            for file in files:
                check(file)

    def _checksums(self, files: list[DeliveredFile]) -> None:
        listed_as = self._delivery.to.listed_as
        text = "".join(f"{file.md5} {listed_as(file.name)}\n" for file in files).encode()
        names = self._delivery.naming.names
        name = names.checksums if names else "md5checksum.md5"

        def fill(out: BinaryIO) -> None:
            out.write(text)

        self._delivery.writer.publish(PlannedFile(name, (), 0, 0, ()), fill, self._run.scratch)


class _Gathered(NamedTuple):
    """What comes from all over the export."""

    marks: dict[tuple[int, int], Mark]
    listed: dict[int, Unit]
    delivered: dict[str, DeliveredFile]
    warned: dict[str, None]
    late: dict[str, int]
    undelivered: Undelivered | None
    buckets: list[Bucket]


def _gathered(values: Iterable[object], fields: OfRanges | None) -> _Gathered:
    """Marks by range, listed units, delivered files by name, warnings, and counts that changed late. What marks have of fields
    goes to `fields` at once: it may be much."""
    tallies: dict[tuple[int, int], Mark] = {}
    listed: dict[int, Unit] = {}
    delivered: dict[str, DeliveredFile] = {}
    warned: dict[str, None] = {}
    units: dict[Unit, Unit] = {}
    counts: dict[tuple[tuple[str, int], ...], tuple[tuple[str, int], ...]] = {}
    late: dict[str, int] = {}
    undelivered: Undelivered | None = None
    buckets: list[Bucket] = []
    # There may be very many, most of them alike: each unit and tuple of counts is held once.
    for value in values:
        if isinstance(value, Mark):
            unit = units.setdefault(value.unit, value.unit)
            same = counts.setdefault(value.counts, value.counts)
            if fields is not None:
                fields.add(value)
            tallies[unit.index, value.range] = Mark(unit, value.range, same, value.last, "", value.warnings, value.sought,
                                                   latest=value.latest)  # fmt: skip
        elif isinstance(value, Recount):
            late = dict(value.counts)
        elif isinstance(value, Warned):
            warned[value.text] = None
        elif isinstance(value, DeliveredFile):
            delivered[value.name] = value
        elif isinstance(value, Undelivered):
            undelivered = undelivered or value
        elif isinstance(value, Bucket):
            buckets.append(value)
        elif isinstance(value, (Unit, Units)):
            for each in value.units if isinstance(value, Units) else (value,):
                listed[each.index] = units.setdefault(each, each)
    return _Gathered(tallies, listed, delivered, warned, late, undelivered, buckets)
