"""The ParDo that makes records of chunks, and of those that the first filter keeps alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import compress, repeat
from operator import attrgetter, contains
from typing import Any

from apache_beam.pvalue import TaggedOutput

from exporters_beam.components.protocols import declared
from exporters_beam.config.on_error import OnError
from exporters_beam.engine.source import Source
from exporters_beam.records import MISSING, Batch, Chunk, Failure, Lines, Mark, Skipped
from exporters_beam.transforms.steps import Step, given, ready, sifted, taken_up

DESERIALIZER = "deserializer"


class Decode(Step):
    """Chunks into batches of records and, where the export begins with a filter, only of those it keeps.

    What a filter drops need not be decoded whole, nor become part of a batch. Counts and failures are the filter's all
    the same.
    """

    def __init__(
        self,
        source: Source,
        filter_name: str = "",
        component: Any = None,
        on_error: OnError = OnError(),  # noqa: B008
        fields: frozenset[str] | None = None,
        lines: bool = False,
        grouper: Any = None,
        complete: bool = False,
        added: tuple[str, ...] | None = None,
        later: frozenset[str] | None = None,
        typed: bool = False,
    ) -> None:
        super().__init__(filter_name, component, on_error)
        self._source, self._fields, self._lines, self._grouper = source, fields, lines, grouper
        self._complete, self._added, self._later, self._typed = complete, added, later, typed

    def setup(self) -> None:
        self._source = self._source.ready()
        self._verdicts: Answers | None = None
        self._seen_as: Callable[[Any], Any] | None = None
        self._groups: Answers | None = None
        if self._component is not None:
            super().setup()
        self._keep = None if self._component is None else self._component.keep
        self._types_of: Any = declared(self._source.deserializer, "types_of") if self._typed else None
        self._judge = None if self._component is None else declared(self._component, "judge", self._keep)
        self._glance = None
        self._whole_lines = declared(self._source.deserializer, "json_lines") if self._lines else None
        judged = self._fields is not None and (self._judge is not None or self._complete)
        if (self._whole_lines is None and self._lines) or judged or self._added is not None:
            self._glance = self._source.deserializer.glance(self._fields)
        self._some: Any = None
        self._partly = self._later is not None
        if self._judge is not None and self._later is not None:
            self._some = self._source.deserializer.decoder_of(self._later)
        self._key: Any = None
        if self._lines and self._grouper is not None:
            self._key = ready(self._grouper).key
        self._look_at_values()

    def _look_at_values(self) -> None:
        """Where filter and grouper look at one field each, these fields' values are all that is made of a record."""
        deserializer = self._source.deserializer
        if self._glance is None or self._complete or not self._fields or declared(deserializer, "glance_at") is None:
            return
        fields = sorted(self._fields)
        asked = [each for each in (self._component, self._grouper if self._key else None) if each is not None]
        if any(len(each.reads) != 1 for each in asked) or not asked:
            return
        self._glance = deserializer.glance_at(fields)
        self._seen_as = partial(_seen_as, fields)
        answers: list[Any] = [self._judge if each is self._component else self._key for each in asked]
        for each, answer in zip(asked, answers, strict=True):
            (field,) = each.reads
            value_of = attrgetter(f"f{fields.index(field)}")  # of what `glance_at` gives
            found = Answers(value_of, field, answer, declared(each, "steady", False))
            if each is self._component:
                self._verdicts = found
            else:
                self._groups = found

    def start_bundle(self) -> None:
        super().start_bundle()
        self._read = self._dropped = 0

    def process(self, element: Chunk | Mark) -> Iterable[Any]:
        if isinstance(element, Mark):
            self.count("read", self._read)
            if self._dropped:
                self.count(f"{self._name}.dropped", self._dropped)
            self._read = self._dropped = 0
            return [self.end_range(element._replace(counts=()))]
        if isinstance(element.data, Skipped):
            self._read += element.data.records
            self._dropped += element.data.records
            return []
        try:
            if self._whole_lines is not None:
                return self._rewritten(element)
            if self._glance is not None:
                return self._sifted(element)
            records = self._source.records(element)
        except Exception:
            return self._each(element)
        if self._source.letters:
            return self._again(element)
        self._read += len(records)
        unit, number, first, _ = element
        types = b"" if self._types_of is None else self._types_of(element.data)
        batch = Batch(unit, number, range(first, first + len(records)), records, types=types)
        return given(batch, []) if self._keep is None else self.batch(batch)

    def batch(self, batch: Batch) -> list[Any]:
        """The records that the filter keeps."""
        self.look(batch.records)
        kept, dropped, emitted = sifted(self, self._keep, batch)
        self._dropped += dropped
        return given(kept, emitted)

    def _rewritten(self, chunk: Chunk) -> list[Any]:
        """All records, as lines that the deserializer makes of them. Raises anything where one is at fault."""
        text = self._whole_lines(chunk.data)  # type: ignore[misc]
        *sizes, _ = map(len, text.split(b"\n"))
        self._read += len(sizes)
        return [Lines(chunk.unit, chunk.range, range(chunk.first, chunk.first + len(sizes)), text, sizes)]

    def _sifted(self, chunk: Chunk) -> list[Any]:
        """The records that the filter keeps, judged before they are decoded whole. Raises anything where one is at fault."""
        unit, number, first, data = chunk
        parts, lines_of, records_of = self._glance(data)  # type: ignore[misc]
        numbers: Sequence[int] = range(first, first + len(parts))
        flags, chosen = None, parts
        if self._sightings is not None and self._sightings.left:
            self.look(
                parts if self._seen_as is None else list(map(self._seen_as, parts)), lambda: self._source.records(chunk)
            )
        if self._judge is not None:
            flags = list(map(self._judge, parts)) if self._verdicts is None else self._verdicts.on(parts)
            numbers = list(compress(numbers, flags))
            if self._key is not None or self._complete or (self._added is not None and self._some is None):
                chosen = list(compress(parts, flags))
        texts: list[Any] = [] if self._complete else lines_of(flags)
        found: list[Any]
        if self._added is not None:
            records = chosen if self._some is None else self._some(texts)
            found = given(self._with_lines(Batch(unit, number, numbers, records), texts, records_of), [])
        elif self._lines:
            keys = None if self._key is None else self._keys(chosen)
            found = handed_on(chunk, numbers, list(map(bytes.strip, texts)), keys)
        else:
            records = chosen if self._complete else records_of(texts)
            if len(records) != len(numbers):
                raise ValueError("a line that was judged is not the line that was decoded")
            found = given(Batch(unit, number, numbers, records), [])
        self._read += len(parts)
        self._dropped += len(parts) - len(numbers)
        return found

    def _with_lines(self, batch: Batch, texts: list[bytes], records_of: Callable[[list[bytes]], list[Any]]) -> Batch:
        """The batch with its lines, but for records that have a field of those that steps add: these are decoded whole."""
        if len(batch.records) != len(texts):
            raise ValueError("a line that was judged is not the line that was decoded")
        lines, added = list(map(bytes.strip, texts)), frozenset(self._added or ())
        if not any(any(map(contains, batch.records, repeat(name))) for name in added):
            return batch._replace(lines=lines)
        records = records_of(texts) if self._partly else batch.records
        if self._some is not None:
            self._some = records_of
        elif self._partly:
            self._glance = self._source.deserializer.glance(None)
        self._partly = False  # Where one record has such a field, others will have it, too.
        for index, record in enumerate(records):
            if not added.isdisjoint(record):
                lines[index] = b""
        return batch._replace(records=records, lines=lines if any(lines) else ())

    def _keys(self, parts: list[Any]) -> list[tuple[str, ...]]:
        return list(map(self._key, parts)) if self._groups is None else self._groups.on(parts)

    def _again(self, chunk: Chunk) -> list[Any]:
        """Dead letters for the steps they name; those of records that could not be decoded are decoded here."""
        from exporters_beam.formats.json_lines import parse

        self._read += len(chunk.data)
        batch = taken_up(Batch(chunk.unit, chunk.range, (), (), tuple(chunk.data)), DESERIALIZER)

        def decoded(record: Any) -> Any:
            return record if isinstance(record, dict) else parse(record.encode() if isinstance(record, str) else record)

        records, batch, emitted = self.each(decoded, batch, DESERIALIZER)
        return given(batch._replace(records=records), emitted)

    def _each(self, chunk: Chunk) -> list[Any]:
        """One record after the other: a chunk in which some are at fault."""
        from exporters_beam.formats.json_lines import is_sound

        found: list[Any] = []
        for (unit, number, n), record, raw in self._source.decode_each(chunk):
            self._read += 1
            if isinstance(record, Failure):
                kept = [Batch(unit, number, (), (), (each,)) if each.__class__ is Failure else each
                        for each in self.give(record)]  # fmt: skip
            else:
                alone = Batch(unit, number, (n,), (record,))
                if self._added is not None and is_sound(raw) and record.keys().isdisjoint(self._added):
                    alone = alone._replace(lines=(raw.strip(),))
                kept = [alone] if self._keep is None else self.batch(alone)
                if (
                    self._lines
                    and self._whole_lines is None
                    and kept
                    and kept[0].__class__ is Batch
                    and kept[0].records
                ):
                    kept = self._line(alone, raw)
            found += kept
            if kept and kept[-1].__class__ is TaggedOutput:
                break  # It ends the export.
        return found

    def _line(self, alone: Batch, raw: bytes) -> list[Any]:
        """A kept record as its line, where that is sound; else as it is."""
        from exporters_beam.formats.json_lines import is_sound

        if not is_sound(raw):
            return [alone]
        try:
            keys = None if self._key is None else [self._key(alone.records[0])]
        except Exception:
            return [alone]  # the encoder meets the same error, and deals with it
        return handed_on(alone, alone.numbers, [raw.strip()], keys)


class Answers(dict[Any, Any]):
    """What a filter, or a grouper, says of records of which it looks at one field, by that field's value.

    Where it is `steady`, always says the same of the same value, it is asked once for each text: most fields that filters
    and groupers look at have few of them.
    """

    MOST = 10_000
    """Texts that are remembered. Where there are more, asking is hardly slower than looking one up."""

    def __init__(self, value_of: Callable[[Any], Any], field: str, ask: Callable[[Any], Any], steady: bool) -> None:
        self._value_of, self._field, self._ask, self._steady = value_of, field, ask, steady

    def on(self, parts: Sequence[Any]) -> list[Any]:
        """The answer for each of these, of which `value_of` gives the field's value, or MISSING. Raises what the component
        raises."""
        if self._steady and len(self) < self.MOST:
            try:
                return list(map(self.__getitem__, map(self._value_of, parts)))
            except TypeError:  # Lists and mappings cannot be looked up.
                pass
        return list(map(self._of, map(self._value_of, parts)))

    def on_texts(self, records: Sequence[Any]) -> list[Any] | None:
        """The answer for each of these, where all their values are plain texts, not too many; else None. Steps may have put in
        their place what equals a text and is not one."""
        values = list(map(self._value_of, records))
        known = len(self) < self.MOST and {*map(type, values)} == {str}
        return list(map(self.__getitem__, values)) if known else None

    def _of(self, value: Any) -> Any:
        return self._ask({} if value is MISSING else {self._field: value})

    def __missing__(self, value: Any) -> Any:
        answer = self._of(value)
        if value.__class__ is str:
            self[value] = answer
        return answer


def _seen_as(fields: Sequence[str], seen: Any) -> dict[str, Any]:
    """What `glance_at` gives, as a record."""
    values = ((field, getattr(seen, f"f{n}")) for n, field in enumerate(fields))
    return {field: value for field, value in values if value is not MISSING}


def handed_on(
    place: Chunk | Batch, numbers: Sequence[int], lines: list[bytes], keys: list[tuple[str, ...]] | None
) -> list[Any]:
    """Lines that nothing changes, as what the encoder takes."""
    if not lines:
        return []
    if keys is None:
        return [Lines(place.unit, place.range, numbers, b"\n".join((*lines, b"")), list(map(len, lines)))]
    return [Batch(place.unit, place.range, numbers, lines, lines=lines, groups=keys)]
