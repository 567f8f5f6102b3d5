"""What texts could be: numbers, booleans, dates. What is sure is told apart from what is not, and why."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from exporters_beam.components.options import build
from exporters_beam.components.words import in_json
from exporters_beam.errors import RecordError
from exporters_beam.transforms.fields.paths import EACH, Path, written
from exporters_beam.transforms.fields.transform import FieldsTransform

_INTEGER = re.compile(r"-?(?:0|[1-9]\d*)\Z", re.ASCII)
_DIGITS = re.compile(r"[-+]?\d+\Z", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?\Z", re.ASCII)
_EXPONENT = re.compile(r"-?\d+(?:\.\d+)?[eE][-+]?\d+\Z", re.ASCII)
_COMMA = re.compile(r"[-+]?(?:\d{1,3}(?:[. ]\d{3})+|\d+),\d+\Z", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?\s?(Z|[-+]\d\d:?\d\d)?\Z", re.ASCII)
_DAY = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}(?:[ T]\d{1,2}:\d\d(?::\d\d)?)?\Z", re.ASCII)

_DAYS = ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%m.%d.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d")
_HOURS = ("", " %H:%M", " %H:%M:%S", "T%H:%M:%S")

_MARKERS = ("\\N", "NULL", "null", "NA", "N/A", "n/a", "None", "nil", "-", "?")

EXACT = 15
"""Digits that a number of 64 bits keeps."""

CODE = 8
"""Digits from which on numbers that all have the same length may be codes."""


@dataclass(frozen=True)
class Guess:
    """A type for the option `types` of the transform `fields`, None where it has none for them; `why` it is not sure, or ""."""

    type: Any
    why: str = ""

    @property
    def sure(self) -> bool:
        return self.type is not None and not self.why


def guess_of(path: Path, texts: Iterable[str]) -> Guess | None:
    """What all the texts at a path could be, None where they are just texts. Empty ones count for nothing."""
    values = [text.strip() for text in texts if text.strip()]
    if not values:
        return None
    found = _numbers(values) or _words(values) or _times(values) or _json(values) or _but_for_a_marker(path, values)
    if found is not None and found.sure:
        wrong = _misfit(path, found.type, values)
        if wrong:
            return Guess(found.type, wrong)
    return found


def _numbers(values: Sequence[str]) -> Guess | None:
    if all(map(_DIGITS.match, values)):
        return _integers(values)
    if all(map(_NUMBER.match, values)):
        exact = max(sum(map(str.isdigit, value.lstrip("-0."))) for value in values)
        return Guess("decimal" if exact > EXACT else "number")
    numbers = [value for value in values if _NUMBER.match(value) or _DIGITS.match(value) or _EXPONENT.match(value)]
    if len(numbers) == len(values):
        zeros = next((value for value in values if not _NUMBER.match(value)), "")
        return Guess("number", f"{in_json(zeros, 30)} may be a code and not a number")
    if all(_COMMA.match(value) or _DIGITS.match(value) for value in values) and any("," in value for value in values):
        comma = next(value for value in values if "," in value)
        why = "may have a decimal comma or thousands; `numbers` of the deserializer csv says which"
        return Guess(None, f"{in_json(comma, 30)} {why}")
    return None


def _integers(values: Sequence[str]) -> Guess:
    odd = next((value for value in values if not _INTEGER.match(value)), None)
    if odd is not None:
        return Guess("integer", f"{in_json(odd, 30)} would lose its first character, as codes and telephone numbers do")
    lengths = {len(value.lstrip("-")) for value in values}
    if max(lengths) > 18:
        return Guess("integer", f"with {max(lengths)} digits they may be codes")
    if len(lengths) == 1 and lengths == {8} and len(values) > 1 and not _unfit(values, "%Y%m%d"):
        return Guess({"type": "date", "format": "%Y%m%d"}, "they may be dates or integers")
    if len(lengths) == 1 and max(lengths) >= CODE and len(values) > 1:
        return Guess("integer", f"all have {max(lengths)} digits, so they may be codes")
    if {*values} == {"0", "1"}:
        return Guess("integer", "0 and 1 may be booleans")
    return Guess("integer")


def _words(values: Sequence[str]) -> Guess | None:
    words = {value.lower() for value in values}
    if words <= {"true", "false"}:
        return Guess("boolean")
    return Guess("boolean", "yes and no may be words") if words <= {"yes", "no"} else None


def _times(values: Sequence[str]) -> Guess | None:
    if all(map(_DATE.match, values)):
        return Guess("date")
    times = [_TIME.match(value) for value in values]
    if all(times):
        offsets = {bool(match and match.group(1)) for match in times}
        return Guess("datetime", "some have an offset and some have none; give a zone" if len(offsets) > 1 else "")
    if not all(map(_DAY.match, values)):
        return None
    formats = [day + hours for day in _DAYS for hours in _HOURS if not _unfit(values, day + hours)]
    if not formats:
        return None
    kind = "datetime" if "%H" in formats[0] else "date"
    guess = {"type": kind, "format": formats[0]}
    if len(formats) > 1:
        return Guess(guess, f"{in_json(values[0], 30)} does not tell day and month apart: {' or '.join(formats)}")
    return Guess(guess)


def _json(values: Sequence[str]) -> Guess | None:
    if not all(value[0] in "{[" for value in values):
        return None
    try:
        for value in values:
            json.loads(value)
    except (ValueError, RecursionError):
        return None
    return Guess("json", "they are JSON, and stay texts where they are only passed on")


def _but_for_a_marker(path: Path, values: Sequence[str]) -> Guess | None:
    """What all texts are but for one that stands for null."""
    marker = next((each for each in _MARKERS if each in values), None)
    rest = [value for value in values if value != marker]
    found = guess_of(path, rest) if marker is not None and rest else None
    if found is None or not found.sure:
        return None
    return Guess(found.type, f"but for {in_json(marker, 30)}, which null_marker of the deserializer csv reads as null")


def _unfit(values: Sequence[str], form: str) -> bool:
    try:
        for value in values:
            datetime.strptime(value, form)
    except ValueError:
        return True
    return False


def _misfit(path: Path, type: Any, values: Sequence[str]) -> str:
    """What the transform itself says of the first value that it does not convert."""
    transform = build(FieldsTransform, {"types": {written(path): type}}, {})
    try:
        for value in values:
            made: Any = value
            for part in reversed(path):
                made = [made] if part is EACH else {part: made}
            transform.map(made)
    except RecordError as error:
        return str(error)
    return ""
