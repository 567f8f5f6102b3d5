"""Traits: what a component tells of itself beside its methods, so that less has to be done. One value for each kind.

A component tells a trait by an attribute or method of the same name; there is nothing to register, and a component without
traits is right, only slower. `of` is the only way to ask, when an export is planned or in `setup`, never for each record:

    FilterTraits.of(component).reads

A trait that belongs to methods of the component, `DESCRIBES`, counts only where it was told for these: where a class overrides
one of them and inherits the trait, the trait is left out, since it was told of another method.

>>> class Small:
...     reads = frozenset("a")
...     def keep(self, record): return record["a"] < 5
>>> class Smaller(Small):
...     def keep(self, record): return super().keep(record) and record["b"]
>>> FilterTraits.of(Small()).reads, FilterTraits.of(Smaller()).reads
(frozenset({'a'}), None)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, BinaryIO, Literal, Protocol, TypeGuard, TypeVar

from exporters_beam.components.names import FileNames, Folders
from exporters_beam.components.protocols import (
    AnyReader,
    Decompressor,
    Deserializer,
    FileWriter,
    TextFormat,
    Writer,
)
from exporters_beam.records import UNKNOWN, DeliveredFile, Key, Known, Record, Unit

T = TypeVar("T", bound="_Traits")

ABSENT: Any = object()

VALUE, METHOD, PRESENT, LATE = "value", "method", "present", "late"
"""How a trait is read: as it is; as a function, and not at all where it is none; only whether it is there; when it is asked."""

DESCRIBES: dict[str, tuple[str, ...]] = {
    "reads": ("keep", "key", "map"),
    "steady": ("keep", "key"),
    **dict.fromkeys(("judge", "may_keep"), ("keep",)),
    **dict.fromkeys(("adds", "map_columns", "arranges"), ("map",)),
    **dict.fromkeys(
        (
            "glance",
            "glance_at",
            "decoder_of",
            "json_lines",
            "gives_lines",
            "in_columns",
            "skipping",
            "types_of",
            "column_values",
            "tally",
        ),
        ("chunks", "decode", "decode_each"),
    ),
    **dict.fromkeys(("splits_on_lines", "row_groups", "chunks_of"), ("chunks",)),
    "needs": ("map", "format", "encode"),
    **dict.fromkeys(("takes_lines", "stages_lines", "format_all", "extend_all"), ("format", "encode")),
    **dict.fromkeys(("encode_columns", "encode_values"), ("encode",)),
    "sought": ("keep", "map", "key", "format", "encode"),
    "labels": ("key",),
    "gives": ("map",),
    "empty": ("header", "footer"),
    **dict.fromkeys(("splittable", "choose", "detect", "each"), ("open",)),
    "ranges": ("read",),
    "stored": ("open",),
    "takes_copies": ("publish",),
}
"""Traits by their names in components, and the methods that each has to agree with."""

StepMethod = Literal["keep", "map", "flat_map", "key"]

Glance = Callable[[Any], tuple[list[Any], Callable[[Any], list[Any]], Callable[[list[Any]], list[Record]]]]
"""What `glance` gives: of a chunk its records with few fields, its lines (those with a true flag), and what makes records of
lines."""


class Draw(Protocol):
    """What draws by chance, and has to know the position of the record that it draws for: unit, range, number in it. `stream`
    tells apart those that draw by the same expression in one export: the first has 0."""

    expression: str
    position: tuple[int, int, int] | None
    stream: int


def trait(default: Any = None, how: str = VALUE, name: str = "") -> Any:
    """A field of traits; `name` is that of the component's attribute where it is another one."""
    return field(default=default, metadata={"how": how, "name": name})


@dataclass(frozen=True, slots=True)
class _Traits:
    @classmethod
    def of(cls: type[T], component: object) -> T:
        """What this component tells, or its class, as far as that does not depend on options. Of None, which stands for no
        component, nothing is known."""
        if component is None:
            return cls()
        found = ((field, _read(component, name, how)) for field, name, how in _trusted(cls, type(component)))  # type: ignore[arg-type]
        return cls(**{field: value for field, value in found if value is not ABSENT})


@lru_cache(maxsize=256)
def _trusted(traits: type[_Traits], kind: type) -> tuple[tuple[str, str, str], ...]:
    """The traits that components of this class may tell: (field, attribute, how it is read)."""
    known = ((each.name, each.metadata["name"] or each.name, each.metadata["how"]) for each in fields(traits))
    return tuple((field, name, how) for field, name, how in known if not _overridden(kind, name))


def _overridden(kind: type, name: str) -> bool:
    """Whether a class inherits this and overrides a method that it describes."""
    classes = kind.__mro__
    offers = _first(classes, name)
    return offers < len(classes) and any(_first(classes, method) < offers for method in DESCRIBES.get(name, ()))


def _first(classes: tuple[type, ...], name: str) -> int:
    """Which of these classes, the most derived one first, is the first with an attribute; their number where none has it."""
    return next((n for n, kind in enumerate(classes) if name in vars(kind)), len(classes))


def _read(component: object, name: str, how: str) -> Any:
    if how == LATE:
        there = hasattr(type(component), name) or name in getattr(component, "__dict__", ())
        return partial(getattr, component, name) if there else ABSENT
    value = getattr(component, name, ABSENT)
    if value is ABSENT or (how == METHOD and not callable(value)):
        return ABSENT
    return True if how == PRESENT else value


@dataclass(frozen=True, slots=True)
class ComponentTraits(_Traits):
    """What a component of any kind may have."""

    kind: str = trait("")
    """What it is: a reader, a filter, …"""

    setup: Callable[[], object] | None = trait(how=METHOD)
    """Makes what cannot be pickled; workers call it once before the first record."""

    function: str | None = trait()
    """The function that an option names, as package.module:function."""

    check_function: Callable[[], object] | None = trait(how=METHOD)
    """Raises ConfigError where the function is not here."""

    attempts: int | None = trait()
    """How often it tries what can fail for a moment."""


@dataclass(frozen=True, slots=True)
class StepTraits(_Traits):
    """What steps ask of any component that they apply to records."""

    chances: tuple[Draw, ...] = trait(())
    """What it draws from: steps tell it each record's position."""

    expressions: tuple[str, ...] = trait(())
    """The expressions that it evaluates, for what `explain` says of them."""

    sought: tuple[tuple[str, Key], ...] = trait(())
    """The fields that it looks for, by what the config calls them: one that no record has is warned of."""

    at: Callable[[datetime], Any] | None = trait(how=METHOD)
    """The component as of the time at which the export began, where its options hold dates of the run."""

    dates: Callable[[datetime], tuple[str, ...]] | None = trait(how=METHOD)
    """These dates as texts: with others it is another export."""

    counted: Callable[[], Mapping[str, int]] | None = trait(how=METHOD)
    """What it has counted since it was asked last, beside what steps count themselves."""

    beside: str = trait("")
    """What it reads beside the records, as users know it."""

    digest: str = trait("")
    """A hash of that, where it was fixed."""

    fixed: Callable[[], Any] | None = trait(how=METHOD)
    """The same component, which takes what it reads beside the records as it is now and refuses any other. Raises
    ConfigError."""


@dataclass(frozen=True, slots=True)
class FilterTraits(StepTraits):
    """What a filter may tell beside `keep`."""

    reads: frozenset[str] | None = trait()
    """The top-level fields that decide, None for all. `keep` gives the same for a record that holds only these, and changes
    nothing."""

    steady: bool = trait(False)
    """Whether it always says the same of equal records, so that it need not be asked again."""

    judge: Callable[[Record], Any] | None = trait()
    """`keep` with one call less, for hot loops."""

    may_keep: Callable[[Mapping[str, Known]], bool] | None = trait(how=METHOD)
    """Whether it keeps any record of which this is known."""


@dataclass(frozen=True, slots=True)
class MapTraits(StepTraits):
    """What a transform may tell beside `map`."""

    reads: frozenset[str] | None = trait()
    """The top-level fields that it looks at, where it does nothing else than to add some; else None."""

    adds: tuple[str, ...] | None = trait()
    """The top-level fields that it adds, in order, where it is proved to do nothing else to a record."""

    needs: frozenset[str] | None = trait()
    """The top-level fields that decide all of what it gives, errors included, None for all: nothing of the others goes on."""

    map_columns: Callable[[dict[str, Sequence[Any]], int], dict[str, Sequence[Any]]] | None = trait(how=METHOD)
    """What `map` does, for so many records that all have the same fields, given as columns. It raises where `map` raises for
    one of them, and changes none of the columns that it is given."""

    arranges: Callable[[Sequence[str]], list[tuple[str, str]]] | None = trait(how=METHOD)
    """Of records that all have these fields the ones that go on, in order, each with its new name; where it does no more than
    that. It raises where `map` raises."""

    gives: str = trait("")
    """What it gives in the place of every record, where that is proved to be no object."""


@dataclass(frozen=True, slots=True)
class GrouperTraits(StepTraits):
    """What a grouper may tell beside `key`."""

    reads: frozenset[str] | None = trait()
    """The top-level fields that decide, None for all."""

    steady: bool = trait(False)
    """Whether it always says the same of equal records."""

    labels: tuple[str, ...] = trait(())
    """What each value of a group is called in the config: one that no record has is warned of."""

    nothing: str = trait(UNKNOWN)
    """The value of records that have none."""

    folders: Folders = trait(Folders())
    """The folders that files stand in by their groups, behind that of the writer's `filebase`."""

    removed: frozenset[str] = trait(frozenset())
    """The fields that files do not have, since their folders tell the values."""


@dataclass(frozen=True, slots=True)
class DecompressorTraits(_Traits):
    """What a decompressor may tell beside `open`."""

    splittable: bool = trait(False)
    """Whether its files are plain bytes, which can be entered anywhere."""

    choose: Callable[[BinaryIO], tuple[Decompressor, BinaryIO]] | None = trait(how=METHOD)
    """The decompressor for a file, and the file as it was before, where the content decides."""

    detect: Callable[[BinaryIO], Decompressor] | None = trait(how=METHOD)
    """The same for a file that can seek or peek and stays where it is."""

    each: Callable[[BinaryIO], Iterator[Any]] | None = trait(how=METHOD)
    """The members of an archive."""

    members: str | None = trait()
    """The members of an archive that are wanted, as a pattern."""

    max_ratio: int = trait(0)
    """How many times as large as a file its content may be; 0: no limit."""


@dataclass(frozen=True, slots=True)
class DecoderTraits(_Traits):
    """What a deserializer may tell beside `chunks`, `decode` and `decode_each`."""

    glance: Callable[[frozenset[str] | None], Glance] | None = trait(how=METHOD)
    """Decodes only some fields of records, and makes the others later of what is left."""

    glance_at: Callable[[Sequence[str]], Glance] | None = trait(how=METHOD)
    """`glance` that gives objects with the value of the first field as f0 and so on, and no records."""

    decoder_of: Callable[[frozenset[str]], Callable[[list[Any]], list[Record]]] | None = trait(how=METHOD)
    """Makes records with these fields only of lines that `glance` has passed."""

    json_lines: Callable[[Any], bytes] | None = trait(how=METHOD)
    """The records of a chunk as lines of JSON."""

    gives_lines: bool = trait(False)
    """Whether the lines of `glance` are lines of JSON, which may be handed on."""

    column_values: Callable[[Any], tuple[dict[str, Sequence[Any]], int]] | None = trait(how=METHOD)
    """The records of a chunk as columns, and how many there are. It raises where that takes more than to cut rows."""

    tally: Callable[[Any], Mapping[str, int]] | None = trait(how=METHOD)
    """What users should know of the records of a chunk, counted: names are those of `records.TOLD`."""

    types_of: Callable[[Any], bytes] | None = trait(how=METHOD)
    """The types that a chunk's columns have in the source."""

    in_columns: Callable[..., Deserializer] | None = trait(how=METHOD)
    """One whose chunks hold columns, of these fields only."""

    skipping: Callable[[Callable[[Mapping[str, Known]], bool]], Deserializer] | None = trait(how=METHOD)
    """One that leaves out parts of which statistics say that nothing is kept."""

    splits_on_lines: bool = trait(False)
    """Whether a stream may be entered at any line."""

    row_groups: Callable[[BinaryIO], int] | None = trait(how=METHOD)
    """How many parts a file has that can be read by themselves."""

    chunks_of: Callable[[BinaryIO, int], Iterator[tuple[Any, int, int]]] | None = trait(how=METHOD)
    """The chunks of one such part."""

    nanoseconds: str = trait("")
    """What becomes of times that are finer than those of Python: they `fail`, or are `cut`."""

    warnings: Callable[[BinaryIO], tuple[str, ...]] | None = trait(how=METHOD)
    """What users should know of a file that is read all the same."""


@dataclass(frozen=True, slots=True)
class FormatTraits(_Traits):
    """What a format may tell: of text, with `format`, or a table, with `encode`."""

    table: bool = trait(False, PRESENT, "encode")
    """Whether it holds many records together and compresses them itself."""

    text: bool = trait(False, PRESENT, "header")
    """Whether files are a header, records and a footer."""

    finds_types: bool = trait(False)
    """Whether columns and their types are found in the records."""

    needs: frozenset[str] | None = trait()
    """The top-level fields that files will have, None for all."""

    takes_lines: bool = trait(False)
    """Whether lines of JSON stand in files as they came."""

    stages_lines: bool = trait(False)
    """Whether lines of JSON are staged as they came, in the place of records: these are made of them later."""

    format_all: Callable[[Sequence[Any]], list[bytes]] | None = trait(how=METHOD)
    """`format` for many records at once."""

    extend_all: Callable[[Sequence[bytes], Sequence[Any], Sequence[str]], list[bytes]] | None = trait(how=METHOD)
    """Lines with the fields behind them that steps have added."""

    encode_columns: Callable[[Any, bytes], tuple[bytes, bytes]] | None = trait(how=METHOD)
    """`encode` for columns that did not become records."""

    encode_values: Callable[[Mapping[str, Sequence[Any]], int], tuple[bytes, bytes]] | None = trait(how=METHOD)
    """`encode` for so many records that all have the same fields, given as columns. It raises where one is at fault."""

    sought: tuple[tuple[str, Key], ...] = trait(())
    """The columns that the config names, by what it calls them."""

    empty: bytes | None = trait()
    """A file without records, where it is not the header with the footer behind."""


@dataclass(frozen=True, slots=True)
class ReaderTraits(_Traits):
    """What a reader may tell beside `units`, and `open` or `read`."""

    streams: bool = trait(False, PRESENT, "open")
    """Whether it gives streams, which are decompressed and decoded, and no records."""

    ranges: Callable[[Unit], int] | None = trait(how=METHOD)
    """How many ranges a unit has, where that is known before it is read."""

    place: Callable[[Unit, int], tuple[str, int]] | None = trait(how=METHOD)
    """Where a record is, as users know it: the file, and its number there."""

    before: Callable[[Unit, int], int] | None = trait(how=METHOD)
    """How many records a unit has before a range, so that they need not be read to be counted."""

    unchanged: Callable[[Unit, BinaryIO], object] | None = trait(how=METHOD)
    """Raises where what was opened may no longer be what was listed."""

    finds: Callable[[str, Writer, bool], bool] | None = trait(how=METHOD)
    """Whether it would read a file that the export's own writer delivers under a name."""

    reads: Callable[[str], bool] | None = trait(how=METHOD)
    """Whether it would read a file of a name, whoever puts it there."""

    check: Callable[[], Iterator[str] | Sequence[str]] | None = trait(how=METHOD)
    """Warnings before anything starts. Raises ConfigError for what is certainly wrong."""

    at: Callable[[datetime], AnyReader] | None = trait(how=METHOD)
    """The reader as of a time, where its options hold dates."""

    as_drawn: Callable[[str], AnyReader] | None = trait(how=METHOD)
    """The reader with what it has drawn at random in an earlier run."""

    on_this_machine: bool = trait(False)
    """Whether it reads files of this machine."""

    input: Any = trait(())
    """The files and folders that its options name."""

    stored: Callable[[Unit], Any] | None = trait(how=METHOD)
    """The object of a storage that a unit is, which may be copied as it is."""

    storage: Callable[[], Any] | None = trait(how=LATE)
    """The storage that it reads from, made when it is asked for."""

    folder: Callable[[], str] | None = trait(how=METHOD)
    """The folder there, with a slash at its end, below which the names of all units are distinct."""

    letters: bool = trait(False)
    """Whether it sends in dead letters again."""

    mark: str = trait("")
    """What names of what it delivers have in them beside others."""

    origin: str = trait("")
    """A hash of what the export read whose records it has, where that is another one."""

    identity: tuple[str, ...] | None = trait()
    """What makes its export another one than that of the same config."""

    fixed: bool = trait(False)
    """Whether what it lists is decided once, when the export begins: a run that goes on takes that listing and makes none."""

    since: Callable[[Sequence[Unit], float], AnyReader] | None = trait(how=METHOD)
    """The reader of what has come since these units were listed: of all that were ever listed, the last ones of their
    names, the newest last; none where nothing was read yet. What has come in so many last seconds is left out, where it
    tells that. Files are new by their names and what proves their content, and need none."""

    own_times: bool = trait(False)
    """Whether its units are partitions, in each of which time goes on by itself."""

    cannot_tell: str = trait("")
    """Why it cannot tell what is new with the options that it has, and what to do; "" where it can."""

    holds: Callable[[Unit], bool] | None = trait(how=METHOD)
    """Whether there is anything in a unit, where that is known before it is read."""

    proof: Callable[[Unit], str] | None = trait(how=METHOD)
    """What proves the content of a file, where that is less than its etag."""

    modified: Callable[[Unit], float] | None = trait(how=METHOD)
    """When a file was changed last, in seconds since 1970."""

    upto: Callable[[Sequence[Unit], int], list[Unit]] | None = trait(how=METHOD)
    """The units, with so many records at most in all of them."""

    gap: Callable[[Sequence[Unit], Sequence[Unit]], Iterable[str]] | None = trait(how=METHOD)
    """What lies between units, as `since` gets them, and those of the batch behind them, or is in both: a sentence for each."""

    may_be_empty: Callable[[], AnyReader] | None = trait(how=METHOD)
    """The reader for which it is no fault that there is nothing."""

    delete: Callable[[Unit], str] | None = trait(how=METHOD)
    """Removes what was read; gives why it could not be, "" where it is gone. It may be called again."""

    archive: Callable[[Unit, str], str] | None = trait(how=METHOD)
    """Moves what was read below a folder; the rest as in `delete`."""

    archived: Callable[[Unit, str], str] | None = trait(how=METHOD)
    """The name that it has there."""

    kept_in: Callable[[str], AnyReader] | None = trait(how=METHOD)
    """Of a source that gives everything once: the reader that writes down in a folder what it takes, when it lists its units,
    and reads it there. Without a folder it gives back what it looks at."""

    held: Callable[[], AbstractContextManager[None]] | None = trait(how=METHOD)
    """As long as the export runs: nobody else gets what was taken."""

    settle: Callable[[Sequence[Unit]], Iterable[str]] | None = trait(how=METHOD)
    """The manifest stands: acknowledges, archives or deletes what was read, given as the units that were listed. It may be
    called again, also by a later run. Gives what users should know: what could not be done, and is to be tried again."""

    only_copy: bool = trait(False)
    """Whether what was written down stands nowhere else any more, before it is delivered."""

    decode: Callable[[Any], Record] | None = trait(how=METHOD)
    """Makes a record of what stands in an `Undecoded` that it gave, when a letter is sent in again. Raises RecordError."""

    probe: Callable[[], object] | None = trait(how=METHOD)
    """Looks whether the source can be reached and read. Raises SourceError."""


@dataclass(frozen=True, slots=True)
class WriterTraits(_Traits):
    """What a writer may tell beside `publish`."""

    to_folders: bool = trait(False)
    """Whether it delivers to a file system."""

    remote: bool = trait(False)
    """Whether it delivers to a storage."""

    files: bool = trait(False, PRESENT, "filebase")
    """Whether it delivers named files, by `filebase`, and no result alone."""

    storage: Callable[[], Any] | None = trait(how=LATE)
    """The storage that it delivers to, made when it is asked for."""

    key: Callable[[str], str] = trait(str, METHOD)
    """A planned name as the storage has it."""

    listed_as: Callable[[str], str] = trait(str, METHOD)
    """What the file of checksums calls a delivered file."""

    without_case: str = trait("")
    """The service, where it does not tell capital letters from small ones."""

    takes_copies: bool | str = trait(False)
    """Whether objects of storages may be copied there as they are; a name: only those that the reader of this name finds."""

    staged_as: TextFormat | None = trait()
    """The format in which records are staged, where the writer reads them again and delivers no files of them."""

    tells_result: bool = trait(False, PRESENT, "empty_result")
    """Whether what it gives is a result, for the report."""

    empty_result: Any = trait()
    """The result without records."""

    tells_nothing: bool = trait(False)
    """Whether it is called for an export without records, too, since it tells somebody of that."""

    replace: bool = trait(False)
    """Whether files of runs before are to be removed that this one has not made."""

    probe: Callable[[], object] | None = trait(how=METHOD)
    """Looks before the work whether files can be delivered. Raises DestinationError."""

    admit: Callable[[Sequence[str]], object] | None = trait(how=METHOD)
    """Looks at the names of all files before the first is delivered. Raises DestinationError."""

    check: Callable[[DeliveredFile], object] | None = trait(how=METHOD)
    """`check_consistency`. Raises DestinationError where a file is not what was delivered."""

    left: Callable[[Mapping[str, Any]], str] | None = trait(how=METHOD)
    """Whether a file of a run before is there `as delivered`, or `changed`; "" where it is gone."""

    remove: Callable[[str], object] | None = trait(how=METHOD)
    """Removes a delivered file."""

    former: Callable[[FileNames, str], bytes] | None = trait(how=METHOD)
    """The manifest that a run before has put beside what it delivered."""

    finish: Callable[[bytes, FileNames, str], object] | None = trait(how=METHOD)
    """Puts the manifest beside what was delivered."""

    delivered_letters: Callable[[FileNames, str], list[str]] | None = trait(how=METHOD)
    """What the dead letters are known by that replays have delivered."""

    note_letters: Callable[[list[str], FileNames, str], object] | None = trait(how=METHOD)
    """Notes there what a replay has delivered."""

    sends: bool = trait(False, PRESENT, "send")
    """Whether it sends records in batches, and delivers no files."""

    at: Callable[[datetime], Writer] | None = trait(how=METHOD)
    """The writer as of a time, where its options hold dates."""

    target: Callable[[], str] | None = trait(how=LATE)
    """What the manifest calls what it sends to, without secrets."""

    delivers: str = trait("")
    """What is promised of what it sends: `exactly once`, or `at least once` and why."""

    begin: Callable[[str], object] | None = trait(how=METHOD)
    """Before the first batch of a delivery, also of one that goes on. Raises DestinationError."""

    complete: Callable[[str, int, int], object] | None = trait(how=METHOD)
    """When all batches of a delivery are there, so many with so many records; perhaps not for the first time."""

    count: Callable[[Mapping[str, Any]], int | None] | None = trait(how=METHOD)
    """How many records of a manifest's target are there; None where that cannot be told."""

    reset: Callable[[], object] | None = trait(how=METHOD)
    """Before a batch is sent again: lets go of connections."""

    close: Callable[[], object] | None = trait(how=METHOD)
    """At the end of the work."""

    attempts: int | None = trait()
    """1 where nothing is to be tried again."""

    retry_seconds: float = trait(0.0)
    """How long a batch is tried again."""

    concurrency: int = trait(1)
    """How many batches are sent at once."""

    records_per_second: int = trait(0)
    """How many records are sent in a second at most; 0: no limit."""

    delivery_id: str = trait("")
    """What tells deliveries of the same records apart."""

    @property
    def place(self) -> Literal["folders", "storage", "elsewhere"]:
        """Where what it delivers goes."""
        return "folders" if self.to_folders else "storage" if self.remote else "elsewhere"


@dataclass(frozen=True, slots=True)
class NotifierTraits(_Traits):
    """What a notification may tell beside `send`."""

    check: Callable[[], object] | None = trait(how=METHOD)
    """Before anything starts: raises ConfigError where it cannot work at all."""


@dataclass(frozen=True, slots=True)
class PersistenceTraits(_Traits):
    """What a section `persistence` may tell."""

    note: str = trait("")
    """What replaces it."""

    file_path: str = trait("")
    """The folder that holds staged files."""

    savepoint: str = trait("")
    """The savepoint or checkpoint of Flink that the export begins from."""

    checkpoint_seconds: int | None = trait()
    """Seconds between checkpoints of Flink."""


def delivers_files(writer: Writer) -> TypeGuard[FileWriter]:
    """Whether a writer delivers named files, and so has the options that say how."""
    return WriterTraits.of(writer).files


def work_of(component: object, method: StepMethod) -> Callable[[Record], Any]:
    """The method that `method_of` has named, of this component."""
    work: Callable[[Record], Any] = getattr(component, method)
    return work


def method_of(component: object) -> StepMethod | None:
    """The method of a step's component that does its work; None where it has none."""
    methods: tuple[StepMethod, ...] = ("keep", "map", "flat_map", "key")
    return next((name for name in methods if hasattr(component, name)), None)
