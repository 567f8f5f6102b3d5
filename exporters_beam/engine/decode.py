"""The ParDo that makes records of chunks, and of those that the first filter keeps alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import compress, repeat
from operator import attrgetter, contains
from typing import Any

from apache_beam.pvalue import TaggedOutput

from exporters_beam.components.ready import ready
from exporters_beam.components.traits import DecoderTraits, FilterTraits, GrouperTraits
from exporters_beam.config.on_error import DESERIALIZER, OnError
from exporters_beam.engine.source import Source
from exporters_beam.records import MISSING, Batch, Chunk, Failure, Key, Lines, Mark, Skipped
from exporters_beam.stages import Decoding, Extend, Fields, HandOn, Sift, Transcribe
from exporters_beam.transforms.sightings import Sightings, names_in
from exporters_beam.transforms.steps import Step, given, sifted, taken_up

NO_ERRORS = OnError()

DROPPED = 0.1
"""Where a filter drops at most this share of a chunk, it costs more to look first than to decode all
(docs/performance.md)."""

UNSEEN = 15
"""So many chunks are then decoded without looking first."""


class Decode(Step):
    """Chunks into batches of records and, where the export begins with a filter, only of those it keeps: `Whole`.

    Those that do less for a record (below) do the same for it. Where anything at all is wrong in a chunk they leave it to
    `_each`, which goes from record to record, so that counts, failures and what is delivered are the same.
    """

    def __init__(
        self, source: Source, first: Any = None, on_error: OnError = NO_ERRORS, grouper: Any = None, typed: bool = False
    ) -> None:
        super().__init__(first.name if first else "", first.component if first else None, on_error)
        self._source, self._grouper, self._typed = source, grouper, typed

    def setup(self) -> None:
        self._source = self._source.ready()
        self._decoder = DecoderTraits.of(self._source.deserializer)
        if self._component is not None:
            super().setup()
        self._traits = FilterTraits.of(self._component)
        self._keep = None if self._component is None else self._component.keep
        self._judge = self._traits.judge or self._keep
        self._types_of: Any = self._decoder.types_of if self._typed else None

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
        if self._source.letters:
            return self._again(element)
        if self._decoder.tally is not None:
            for name, n in self._decoder.tally(element.data).items():
                self.count(name, n)
        try:
            return self.decoded(element)
        except Exception:
            return self._each(element)

    def decoded(self, chunk: Chunk) -> list[Any]:
        """What becomes of a chunk. Raises anything where a record is at fault."""
        records = self._source.records(chunk)
        self._read += len(records)
        unit, number, first, data = chunk
        types = b"" if self._types_of is None else self._types_of(data)
        batch = Batch(unit, number, range(first, first + len(records)), records, types=types)
        return given(batch, []) if self._keep is None else self.batch(batch)

    def batch(self, batch: Batch) -> list[Any]:
        """The records that the filter keeps."""
        self.look(batch.records)
        kept, dropped, emitted = sifted(self, self._keep, batch)
        self._dropped += dropped
        return given(kept, emitted)

    def _again(self, chunk: Chunk) -> list[Any]:
        """Dead letters for the steps they name; those of records that could not be decoded are decoded here."""
        from exporters_beam.formats.json_lines import parse

        own = self._source.given.decode
        self._read += len(chunk.data)
        batch = taken_up(Batch(chunk.unit, chunk.range, (), (), tuple(chunk.data)), DESERIALIZER)

        def decoded(record: Any) -> Any:
            if isinstance(record, dict):
                return record
            return parse(record.encode() if isinstance(record, str) else record) if own is None else own(record)

        records, batch, emitted = self.each(decoded, batch, DESERIALIZER)
        return given(batch._replace(records=records), emitted)

    def _each(self, chunk: Chunk) -> list[Any]:
        """One record after the other: a chunk in which some are at fault."""
        found: list[Any] = []
        for (unit, number, n), record, raw in self._source.decode_each(chunk):
            self._read += 1
            if isinstance(record, Failure):
                kept = [Batch(unit, number, (), (), (each,)) if each.__class__ is Failure else each
                        for each in self.give(record)]  # fmt: skip
            else:
                alone = self.alone(Batch(unit, number, (n,), (record,)), raw)
                kept = [alone] if self._keep is None else self.batch(alone)
                if kept and kept[0].__class__ is Batch and kept[0].records:
                    kept = self.passed(alone, raw, kept)
            found += kept
            if kept and kept[-1].__class__ is TaggedOutput:
                break  # It ends the export.
        return found

    def alone(self, batch: Batch, raw: object) -> Batch:
        """A batch of one record, whose undecoded text is `raw`, as the filter is to get it."""
        return batch

    def passed(self, alone: Batch, raw: object, kept: list[object]) -> list[Any]:
        """What goes on of one record that the filter keeps."""
        return kept


class Transcribing(Decode):
    """`Transcribe`: all records, as lines that the deserializer makes of them."""

    def decoded(self, chunk: Chunk) -> list[Any]:
        assert self._decoder.json_lines is not None
        text = self._decoder.json_lines(chunk.data)
        *sizes, _ = map(len, text.split(b"\n"))
        self._read += len(sizes)
        return [Lines(chunk.unit, chunk.range, range(chunk.first, chunk.first + len(sizes)), text, sizes)]


class Glancing(Decode):
    """What looks at some fields of records first, None for all, and goes on with what the filter keeps of them."""

    seen_of_kept = False
    """Whether what was seen of the records that the filter keeps goes on."""

    at_values = True
    """Whether the values alone may be made where filter, and grouper, look at one field each."""

    def __init__(self, source: Source, fields: Fields | None, *args: Any) -> None:
        super().__init__(source, *args)
        self._fields = fields

    def setup(self) -> None:
        super().setup()
        assert self._decoder.glance is not None
        self._glance = self._decoder.glance(self._fields)
        self._verdicts: Answers | None = None
        self._seen_as: Callable[[Any], Any] | None = None
        self.look_at_values([(self._component, self._traits, self._judge)] if self._component is not None else [])

    def look_at_values(self, asked: list[tuple[Any, FilterTraits | GrouperTraits, Any]]) -> list[Answers]:
        """Where those that are asked look at one field each, these fields' values are all that is made of a record; gives what
        they answer by it, in order."""
        if not (self.at_values and self._fields and asked and self._decoder.glance_at is not None):
            return []
        if any(traits.reads is None or len(traits.reads) != 1 for _, traits, _ in asked):
            return []
        fields = sorted(self._fields)
        self._glance = self._decoder.glance_at(fields)
        self._seen_as = partial(_seen_as, fields)
        found = []
        for component, traits, answer in asked:
            field = next(iter(traits.reads or ()))
            value_of = attrgetter(f"f{fields.index(field)}")  # of what `glance_at` gives
            found.append(Answers(value_of, field, answer, traits.steady))
            if component is self._component:
                self._verdicts = found[-1]
        return found

    def decoded(self, chunk: Chunk) -> list[Any]:
        """The records that the filter keeps, judged before they are decoded whole."""
        parts, lines_of, records_of = self._glance(chunk.data)
        numbers: Sequence[int] = range(chunk.first, chunk.first + len(parts))
        flags, kept = None, parts
        if self._sightings is not None and self._sightings.left:
            looked_at = parts if self._seen_as is None else Each(self._seen_as, parts)
            self.look(looked_at, lambda: self._source.records(chunk))
        if self._judge is not None:
            flags = list(map(self._judge, parts)) if self._verdicts is None else self._verdicts.on(parts)
            numbers = list(compress(numbers, flags))
            if self.seen_of_kept:
                kept = list(compress(parts, flags))
        types = b"" if self._types_of is None else self._types_of(chunk.data)
        seen = Batch(chunk.unit, chunk.range, numbers, kept, types=types)
        found = self.kept(seen, partial(lines_of, flags), records_of)
        self._read += len(parts)
        self._dropped += len(parts) - len(numbers)
        return found

    def kept(self, seen: Batch, lines: Callable[[], list[Any]], records_of: Callable[[list[Any]], list[Any]]) -> list[Any]:
        """What goes on of the records that the filter keeps: `seen` of them, their lines, and what makes records of lines."""
        raise NotImplementedError


class Sifting(Glancing):
    """`Sift`: what the filter keeps is decoded whole. While it drops next to nothing, looking first is work for nothing: then
    chunks are decoded as for `Whole`, and now and then one is looked at again."""

    _left = 0
    """How many chunks are yet to be decoded without looking first."""

    def decoded(self, chunk: Chunk) -> list[Any]:
        if self._left:
            self._left -= 1
            return Decode.decoded(self, chunk)
        read, dropped = self._read, self._dropped
        found = super().decoded(chunk)
        if self._dropped - dropped <= DROPPED * (self._read - read):
            self._left = UNSEEN
        return found

    def kept(self, seen: Batch, lines: Callable[[], list[Any]], records_of: Callable[[list[Any]], list[Any]]) -> list[Any]:
        return given(seen._replace(records=_as_many(records_of(lines()), seen)), [])


class Projecting(Glancing):
    """`Project`: what was seen is all there is to a record. Later steps do not see which other name of a field may have been
    meant, so that is looked up here."""

    seen_of_kept, at_values = True, False
    _sought: tuple[tuple[str, tuple[tuple[str, Key], ...]], ...] = ()

    def hinting(self, sought: tuple[tuple[str, tuple[tuple[str, Key], ...]], ...]) -> Projecting:
        """With what later steps look for, by their names."""
        self._sought = sought
        return self

    def start_bundle(self) -> None:
        super().start_bundle()
        self._hints = [Sightings(step, sought) for step, sought in self._sought]

    def decoded(self, chunk: Chunk) -> list[Any]:
        found = super().decoded(chunk)
        for batch in found if self._hints else ():
            missing = [hint for hint in self._hints if hint.left and hint.look(batch.records)]
            with suppress(Exception):  # What is wrong with a record is told elsewhere.
                names = names_in(self._source.records(chunk)) if missing else []
                for hint in missing:
                    hint.compare(names)
        return found

    def end_range(self, mark: Mark) -> Mark:
        hints = (each._replace(known=False) for hint in self._hints for each in hint.noted() if each.near)
        mark = super().end_range(mark)
        return mark._replace(sought=(*mark.sought, *hints))

    def kept(self, seen: Batch, lines: Callable[[], list[Any]], records_of: Callable[[list[Any]], list[Any]]) -> list[Any]:
        return given(seen, [])


class HandingOn(Glancing):
    """`HandOn`: what the filter keeps goes on as lines, with the group of each where there is a grouper."""

    def setup(self) -> None:
        self._groups: Answers | None = None
        self._key: Callable[[Any], tuple[str, ...]] | None = None
        if self._grouper is not None:
            self._grouper = ready(self._grouper)
            self._key, self.seen_of_kept = self._grouper.key, True
        super().setup()

    def look_at_values(self, asked: list[tuple[object, FilterTraits | GrouperTraits, object]]) -> list[Answers]:
        if self._key is not None:
            asked = [*asked, (self._grouper, GrouperTraits.of(self._grouper), self._key)]
        found = super().look_at_values(asked)
        if found and self._key is not None:
            self._groups = found[-1]
        return found

    def kept(self, seen: Batch, lines: Callable[[], list[Any]], records_of: Callable[[list[Any]], list[Any]]) -> list[Any]:
        keys = None
        texts = lines()
        if self._key is not None:
            keys = list(map(self._key, seen.records)) if self._groups is None else self._groups.on(seen.records)
        return handed_on(seen, list(map(bytes.strip, texts)), keys)

    def passed(self, alone: Batch, raw: Any, kept: list[Any]) -> list[Any]:
        """A kept record as its line, where that is sound; else as it is."""
        from exporters_beam.formats.json_lines import is_sound

        if not is_sound(raw):
            return kept
        try:
            keys = None if self._key is None else [self._key(alone.records[0])]
        except Exception:
            return kept  # the encoder meets the same error, and deals with it
        return handed_on(alone, [raw.strip()], keys)


class Extending(Glancing):
    """`Extend`: records with their lines, but for those that have a field of those that steps add: these are decoded whole."""

    def __init__(self, source: Source, extend: Extend, *args: Any) -> None:
        super().__init__(source, extend.fields, *args)
        self._added, self._later = frozenset(extend.added), extend.later

    def setup(self) -> None:
        super().setup()
        self._partly = self._later is not None
        self._some: Callable[[list[Any]], list[Any]] | None = None
        if self._component is not None and self._later is not None:
            assert self._decoder.decoder_of is not None
            self._some = self._decoder.decoder_of(self._later)
        self.seen_of_kept = self._some is None

    def kept(self, seen: Batch, lines: Callable[[], list[Any]], records_of: Callable[[list[Any]], list[Any]]) -> list[Any]:
        texts = lines()
        records = seen.records if self._some is None else self._some(texts)
        batch = seen._replace(records=records)
        if len(records) != len(texts):
            raise ValueError(_OTHER_LINE)
        stripped = list(map(bytes.strip, texts))
        if not any(any(map(contains, records, repeat(name))) for name in self._added):
            return given(batch._replace(lines=stripped), [])
        if self._partly:
            records = records_of(texts)
            if self._some is not None:
                self._some = records_of
            else:
                assert self._decoder.glance is not None
                self._glance = self._decoder.glance(None)
            self._partly = False  # Where one record has such a field, others will have it, too.
        for index, record in enumerate(records):
            if not self._added.isdisjoint(record):
                stripped[index] = b""
        return given(batch._replace(records=records, lines=stripped if any(stripped) else ()), [])

    def alone(self, batch: Batch, raw: Any) -> Batch:
        from exporters_beam.formats.json_lines import is_sound

        with_line = is_sound(raw) and batch.records[0].keys().isdisjoint(self._added)
        return batch._replace(lines=(raw.strip(),)) if with_line else batch


_OTHER_LINE = "a line that was judged is not the line that was decoded"


def _as_many(records: list[object], seen: Batch) -> list[Any]:
    if len(records) != len(seen.numbers):
        raise ValueError(_OTHER_LINE)
    return records


def decoder(decoding: Decoding, source: Source, *args: Any) -> Decode:
    """The ParDo for what a plan decodes; `args` are those of `Decode`."""
    if isinstance(decoding, Sift):
        return Sifting(source, decoding.fields, *args)
    if isinstance(decoding, HandOn):
        return HandingOn(source, decoding.fields, *args)
    if isinstance(decoding, Extend):
        return Extending(source, decoding, *args)
    return Transcribing(source, *args) if isinstance(decoding, Transcribe) else Decode(source, *args)


class Answers(dict[Any, Any]):
    """What a filter, or a grouper, says of records of which it looks at one field, by that field's value.

    Where it is `steady`, always says the same of the same value, it is asked once for each text: most fields that filters
    and groupers look at have few of them.
    """

    MOST = 10_000
    """Texts that are remembered. Where there are more, asking is hardly slower than looking one up."""

    def __init__(self, value_of: Callable[[Any], Any], field: str, ask: Callable[[Any], Any], steady: bool) -> None:
        self._value_of, self._field, self._ask, self._steady = value_of, field, ask, steady

    def on(self, parts: Sequence[object]) -> list[Any]:
        """The answer for each of these, of which `value_of` gives the field's value, or MISSING. Raises what the component
        raises."""
        if self._steady and len(self) < self.MOST:
            try:
                return list(map(self.__getitem__, map(self._value_of, parts)))
            except TypeError:  # Lists and mappings cannot be looked up.
                pass
        return list(map(self._of, map(self._value_of, parts)))

    def on_texts(self, records: Sequence[object]) -> list[Any] | None:
        """The answer for each of these, where all their values are plain texts, not too many; else None. Steps may have put in
        their place what equals a text and is not one."""
        values = list(map(self._value_of, records))
        known = len(self) < self.MOST and {*map(type, values)} == {str}
        return list(map(self.__getitem__, values)) if known else None

    def _of(self, value: object) -> Any:
        return self._ask({} if value is MISSING else {self._field: value})

    def __missing__(self, value: object) -> Any:
        answer = self._of(value)
        if value.__class__ is str:
            self[value] = answer
        return answer


class Each:
    """What a function makes of each of these, made while one looks: mostly the first is enough."""

    def __init__(self, make: Callable[[Any], Any], of: Sequence[Any]) -> None:
        self._make, self._of = make, of

    def __iter__(self) -> Iterator[Any]:
        return map(self._make, self._of)


def _seen_as(fields: Sequence[str], seen: object) -> dict[str, Any]:
    """What `glance_at` gives, as a record."""
    values = ((field, getattr(seen, f"f{n}")) for n, field in enumerate(fields))
    return {field: value for field, value in values if value is not MISSING}


def handed_on(seen: Batch, lines: list[bytes], keys: list[tuple[str, ...]] | None) -> list[Any]:
    """Lines that nothing changes, as what the encoder takes."""
    if not lines:
        return []
    if keys is None:
        return [Lines(seen.unit, seen.range, seen.numbers, b"\n".join((*lines, b"")), list(map(len, lines)))]
    return [Batch(seen.unit, seen.range, seen.numbers, lines, lines=lines, groups=keys)]
