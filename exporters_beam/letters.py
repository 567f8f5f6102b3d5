"""Records that failed a step: what becomes of them (`on_error`), and the dead letters they are written as.

A dead letter is one line of JSON: the export and the step that failed, the file and the number of the record in it, what
went wrong, and the record as it reached the step, so that `replay` can send it through the rest of the export.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from exporters_beam.decimals import plain
from exporters_beam.errors import ExportError
from exporters_beam.options import option
from exporters_beam.records import DeliveredFile, Failure, Position, Unit
from exporters_beam.staging import destination, sync_folder

FAIL, SKIP, DEAD_LETTER = ACTIONS = ("fail", "skip", "dead_letter")
"""What may become of a record that fails."""

STEPS = ("deserializer", "filter_before", "transform", "filter_after", "grouper", "formatter")
"""The steps that records may fail at, in the order in which they pass them; the names are those of the config's sections."""

NAME = "<dead letters>"
"""What stands for the name of the dead letters among planned files. No delivered file can be called that."""

GROUP = b"null"
"""The key of dead letters where blocks are grouped; groups of records are JSON lists."""

FILE = "dead-letters.jl"

_COUNTED = {SKIP: "skipped", DEAD_LETTER: "dead_lettered"}


@dataclass(frozen=True, kw_only=True)
class OnErrorOptions:
    """What becomes of records that fail a step: the section `on_error`."""

    action: str = option("what becomes of a record that fails: fail ends the export", default=FAIL, choices=ACTIONS)
    max_records: int | None = option(
        "more failed records than this end the export", type="int", default=None, minimum=0
    )
    max_rate: float | None = option("a larger share of failed records than this, 0 to 1, ends the export", type="number",
                                    default=None, minimum=0)  # fmt: skip
    file: str | None = option("where dead letters go, with % dates; by default a hidden file beside the manifest",
                              default=None, example="letters/%Y-%m-%d.jl")  # fmt: skip


@dataclass(frozen=True)
class OnError:
    """What becomes of records that fail, step by step, and how many may. Frozen and picklable."""

    actions: tuple[tuple[str, str], ...] = ()
    max_records: int | None = None
    max_rate: float | None = None
    file: str | None = None

    def action(self, step: str) -> str:
        return dict(self.actions).get(step, FAIL)

    @property
    def limited(self) -> bool:
        return self.max_records is not None or self.max_rate is not None

    @property
    def writes(self) -> bool:
        """Whether some step's failed records become dead letters."""
        return any(action == DEAD_LETTER for _, action in self.actions)

    def exceeded(self, counts: Mapping[str, int], whole: bool = True) -> str:
        """Which budget these counts exceed, "" where none is. The rate is judged when the export is `whole`."""
        failed = {name: n for name, n in counts.items() if name.partition(".")[2] in _COUNTED.values()}
        total, read = sum(failed.values()), counts.get("read", 0)
        steps: dict[str, int] = {}
        for name, n in failed.items():
            steps[name.partition(".")[0]] = steps.get(name.partition(".")[0], 0) + n
        which = ", ".join(f"{step} {n:,}" for step, n in steps.items())
        if self.max_records is not None and total > self.max_records:
            return f"{total:,} records failed ({which}); on_error.max_records allows {self.max_records:,}"
        if whole and self.max_rate is not None and read and total / read > self.max_rate:
            return (f"{total:,} of {read:,} records failed ({which}), {total / read:.2%}; "
                    f"on_error.max_rate allows {self.max_rate:.2%}")  # fmt: skip
        return ""


def counted(step: str, action: str) -> str:
    """The name under which a step counts what it set aside.

    >>> counted("transform", "skip")
    'transform.skipped'
    """
    return f"{step}.{_COUNTED[action]}"


def set_aside(counts: Mapping[str, int], action: str = DEAD_LETTER) -> int:
    """How many records of an export were skipped, or became dead letters."""
    return sum(n for name, n in counts.items() if name.partition(".")[2] == _COUNTED[action])


def staged(failure: Failure) -> bytes:
    """A failure as it is staged: all of its letter but the record's number, which takes reading to find out."""
    unit, number, n = failure.position
    letter: dict[str, Any] = {"at": [list(unit), number, n], "step": failure.step, "message": failure.message}
    return json.dumps(letter | _record(failure), ensure_ascii=True).encode()


def _record(failure: Failure) -> dict[str, Any]:
    record = failure.record
    if failure.step == STEPS[0]:
        if isinstance(record, (bytes, bytearray)):
            try:
                return {"text": bytes(record).decode()}
            except UnicodeDecodeError:
                return {"bytes": base64.b64encode(record).decode()}
        if isinstance(record, str):
            return {"text": record}
    try:
        return {"record": _plain(record)}
    except (TypeError, ValueError, RecursionError):
        return {"unreadable": repr(record)[:100_000]}


_TYPES: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "bytes": (bytes, lambda value: base64.b64encode(value).decode(), base64.b64decode),
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, time.isoformat, time.fromisoformat),
    "decimal": (Decimal, plain, Decimal),
}
"""Values that JSON has no form for: {"$decimal": "1.50"} and the like, and back."""


def _plain(value: Any) -> Any:
    """A value as JSON holds it. Raises TypeError for what cannot be made again from it."""
    kind = type(value)
    if kind is str or value is None or kind is bool or kind is int or kind is float:
        return value
    if isinstance(value, Mapping):
        if not all(type(key) is str for key in value):
            raise TypeError("keys that are no texts")
        found = {key: _plain(member) for key, member in value.items()}
        return {"$object": found} if len(found) == 1 and next(iter(found)).startswith("$") else found
    if isinstance(value, (list, tuple)):
        return [_plain(member) for member in value]
    for name, (type_, forth, _) in _TYPES.items():
        if isinstance(value, type_):
            return {f"${name}": forth(value)}
    raise TypeError(type(value).__name__)


def _valued(value: Any) -> Any:
    """What `_plain` made a form of."""
    if isinstance(value, list):
        return [_valued(member) for member in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((key, member),) = value.items()
        if key == "$object":
            return {name: _valued(inner) for name, inner in member.items()}
        if key[:1] == "$" and key[1:] in _TYPES:
            return _TYPES[key[1:]][2](member)
    return {key: _valued(member) for key, member in value.items()}


def identity(letter: Mapping[str, Any]) -> str:
    """What a letter is known by: its export, file, number and step, whatever was mended in it.

    Of several records that a transform has made of one, those that fail at one step are told apart by `part`. A letter that
    failed again in a replay tells what it is known by.
    """
    if isinstance(letter.get("letter"), str):
        return str(letter["letter"])
    place = [letter.get(key) for key in ("export", "file", "number", "step")]
    return _digest([*place, letter["part"]] if letter.get("part") else place)


def child(letter: str, step: str, part: int) -> str:
    """What the letter of a record is known by that a replay has made, with others, of another letter's record."""
    return _digest([letter, step, part])


def _digest(told: Any) -> str:
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def read_letter(line: bytes | str) -> tuple[dict[str, Any], Any]:
    """(a letter, its record; the undecoded text where decoding had failed). Raises ValueError where it is none."""
    letter = json.loads(line)
    if not isinstance(letter, dict) or not {"export", "step", "file", "number", "message"} <= letter.keys():
        raise ValueError("it has no export, step, file, number and message")
    if "record" in letter:
        return letter, _valued(letter["record"])
    if "text" in letter:
        return letter, str(letter["text"])
    if "bytes" in letter:
        return letter, base64.b64decode(letter["bytes"])
    raise ValueError("it has no record that could be sent on; give one under `record`")


@dataclass(frozen=True)
class Letters:
    """Where an export's dead letters go and what each of them tells. `place` gives a position's file and record number."""

    path: str
    export_id: str
    reader: str
    config: str
    sections: tuple[tuple[str, str, str], ...]
    place: Callable[[Position], tuple[str, int]] = field(repr=False, compare=False)
    known_by: Callable[[Position, str, int], str] | None = field(default=None, repr=False, compare=False)

    def letters(self, lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
        """Staged failures as letters."""
        known = {name: (component, path) for name, component, path in self.sections}
        before: tuple[Any, ...] = ()
        parts: dict[str, int] = {}
        for line in lines:
            told = json.loads(line)
            unit, number, n = told.pop("at")
            position = (Unit(*unit), number, n)
            file, at = self.place(position)
            if before != position:
                before, parts = position, {}
            part = parts[told["step"]] = parts.get(told["step"], -1) + 1
            own = self.known_by(position, told["step"], part) if self.known_by else ""
            component, path = known.get(told["step"], ("", told["step"]))
            yield {
                "export": self.export_id,
                "reader": self.reader,
                "config": self.config,
                "path": path,
                "step": told.pop("step"),
                "component": component,
                "file": file,
                "number": at,
                **({"part": part} if part else {}),
                **({"letter": own} if own else {}),
                **told,
            }

    def write(self, lines: Iterable[bytes]) -> DeliveredFile:
        """Put the letters in place, whole; doing it twice gives the same file. Raises DestinationError."""
        digest, size, records = hashlib.md5(usedforsecurity=False), 0, 0
        folder = os.path.dirname(self.path) or "."
        half_built = os.path.join(folder, f".{os.path.basename(self.path)}.part")
        with destination("cannot write the dead letters", self.path):
            os.makedirs(folder, exist_ok=True)
            try:
                with open(half_built, "wb", buffering=1 << 20) as out:
                    for letter in self.letters(lines):
                        data = json.dumps(letter, ensure_ascii=True).encode() + b"\n"
                        out.write(data)
                        digest.update(data)
                        size, records = size + len(data), records + 1
                    out.flush()
                    os.fsync(out.fileno())
                os.replace(half_built, self.path)
            finally:
                if os.path.exists(half_built):
                    os.remove(half_built)
            sync_folder(folder)
        return DeliveredFile(NAME, (), records, size, digest.hexdigest())

    def first(self, lines: Iterable[bytes]) -> str:
        """The first of these as the end of a sentence, for the message of an export that gives up."""
        for letter in self.letters(lines):
            return f"; for example {letter['file']}: record {letter['number']}: {letter['step']}: {letter['message']}"
        return ""


class TooManyFailed(ExportError):
    """More records failed than the budget of `on_error` allows; nothing is delivered."""
