"""Dates and times that stand in texts: their formats, and zones."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from exporters_beam.components.words import did_you_mean

ISO, UNIX, UNIX_MS = "iso", "unix", "unix_ms"

NAMED = (ISO, UNIX, UNIX_MS)
"""Formats that are no patterns."""

DIRECTIVES = "YmdHMSfzyjbBaApIGVu%"
"""What may stand behind % in a format. The others depend on the machine (%c, %x, %X, %Z) or say no date alone."""

_DATES = ("Ymd", "ymd", "Ybd", "ybd", "YBd", "yBd", "Yj", "yj", "GVu", "GVa", "GVA")
"""What a format needs, that a date follows from it: year, month and day, or other names of them."""

AMBIGUOUS = ("earlier", "later", "error")

_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,6})\d*)?)? ?(Z|z|[+-]\d\d(?::?[0-5]\d)?)?)?", re.ASCII
)

Found = date | datetime
"""A date, or a date with a time, without or with an offset."""


class Impossible(ValueError):
    """A text is of its format, and yet there is no such time."""


def wrong_format(form: str, timed: bool) -> str:
    """What is wrong with a format of dates, or with one of dates with a time; "" where nothing is."""
    if form in NAMED:
        return ""
    directives = re.findall("%(.?)", form, re.DOTALL)
    if not directives:
        return f"{form!r} is not a format: it has no %, as %Y-%m-%d has{did_you_mean(form, NAMED)}"
    for each in directives:
        if each not in DIRECTIVES or not each:
            known = " ".join(f"%{letter}" for letter in DIRECTIVES)
            return f"{form!r} is not a format: %{each} is not known; known: {known}"
    twice = next((each for each in directives if each != "%" and directives.count(each) > 1), "")
    if twice:
        return f"{form!r} is not a format: %{twice} stands there twice"
    if not any(set(needed) <= set(directives) for needed in _DATES):
        return f"{form!r} does not say which day it is: it needs year, month and day (%Y %m %d)"
    if not timed and set("HIMSfpz") & set(directives):
        return f"{form!r} has a time, and the type is date; take datetime, or leave the time out"
    if ("I" in directives) != ("p" in directives):
        return f"{form!r}: %I goes with %p; %H has 24 hours"
    return ""


def wrong_zone(name: str) -> str:
    """What is wrong with the name of a time zone; "" where nothing is."""
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # KeyError: ZoneInfoNotFoundError
        known = sorted(available_timezones())
        if not known:
            return f"there is no time zone {name!r} here, and no other one: pip install tzdata"
        near = did_you_mean(name, known)
        hint = near if "did you mean" in near else "; zones have names such as Europe/Copenhagen and UTC"
        return f"there is no time zone {name!r} here{hint}"
    return ""


def in_utc(found: datetime, zone: tzinfo, ambiguous: str = "earlier") -> datetime:
    """A time without offset, in a zone, as a time of UTC. Raises Impossible where the zone has no such time, or has it twice
    and `ambiguous` is error.

    >>> in_utc(datetime(2026, 7, 1, 12), ZoneInfo("Europe/Copenhagen"))
    datetime.datetime(2026, 7, 1, 10, 0, tzinfo=datetime.timezone.utc)
    """
    first, second = zone.utcoffset(found), zone.utcoffset(found.replace(fold=1))
    assert first is not None and second is not None
    if first < second:
        raise Impossible(f"there is no {found:%H:%M} on that day in {zone}: clocks were put forward")
    if first > second and ambiguous == "error":
        raise Impossible(f"there are two times {found:%H:%M} on that day in {zone}: clocks were put back")
    try:
        return (found - (second if ambiguous == "later" else first)).replace(tzinfo=timezone.utc)
    except OverflowError:
        raise Impossible("it is out of range") from None


def in_zone(found: datetime, zone: tzinfo | None = timezone.utc) -> datetime:
    """A time with an offset as a time of a zone. Raises ValueError."""
    try:
        return found.astimezone(zone)
    except OverflowError:
        raise Impossible("it is out of range") from None


def of_iso(text: str) -> Found:
    """What a text of ISO 8601 says: a date, or a date with a time. Digits beyond microseconds are cut. Raises ValueError."""
    match = _ISO.fullmatch(text)
    if match is None:
        raise ValueError
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    if hour is None:
        return date(int(year), int(month), int(day))
    micro = int(fraction.ljust(6, "0")) if fraction else 0
    zone = None
    if offset:
        zone = timezone.utc if offset in "Zz" else timezone(_offset(offset))
    return datetime(int(year), int(month), int(day), int(hour), int(minute), int(second or 0), micro, zone)


def _offset(text: str) -> timedelta:
    digits = text[1:].replace(":", "")
    found = timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0))
    return -found if text[0] == "-" else found


_QUICK = {"Y": r"(\d{4})", "f": r"(\d{1,6})", **dict.fromkeys("mdHMS", r"(\d{1,2})")}


@lru_cache(maxsize=64)
def wrong_given(form: str, zone: str | None) -> str:
    """What is wrong with a format and a zone that an expression gives."""
    return wrong_format(form, timed=True) or ("" if zone is None else wrong_zone(zone))


@lru_cache(maxsize=256)
def parser(form: str) -> Callable[[str], Found]:
    """What reads texts of a format: dates with a time where the format has one. Raises ValueError."""
    if form == ISO:
        return of_iso
    if form in NAMED:
        return lambda text: of_unix(_number(text), form)
    timed = bool(set("HIMSfpz") & set(re.findall("%(.)", form)))
    quick = _quick(form)
    if quick is not None:
        return quick
    if timed:
        return lambda text: datetime.strptime(text, form)
    return lambda text: datetime.strptime(text, form).date()


def _quick(form: str) -> Callable[[str], Found] | None:
    """`parser` for formats of numbers alone, in a fifth of the time that `strptime` takes."""
    order = re.findall("%(.)", form)
    if not {"Y", "m", "d"} <= set(order) <= _QUICK.keys():
        return None
    parts = re.split("%(.)", form)
    pattern = "".join(_QUICK[part] if n % 2 else re.sub(r"(\\?\s)+", r"\\s+", re.escape(part)) for n, part in enumerate(parts))
    match = re.compile(pattern, re.ASCII).fullmatch
    at = [order.index(name) + 1 if name in order else 0 for name in "YmdHMSf"]
    timed = len(order) > 3

    def read(text: str) -> Found:
        found = match(text)
        if found is None:
            raise ValueError
        year, month, day, hour, minute, second = (int(found[n]) if n else 0 for n in at[:6])
        if not timed:
            return date(year, month, day)
        return datetime(year, month, day, hour, minute, second, int(found[at[6]].ljust(6, "0")) if at[6] else 0)

    return read


def _number(text: str) -> int | float:
    if re.fullmatch(r"[-+]?\d{1,18}(\.\d+)?", text, re.ASCII) is None:
        raise ValueError
    return float(text) if "." in text else int(text)


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def of_unix(number: Any, form: str) -> datetime:
    """The time so many seconds, or milliseconds, after the beginning of 1970, in UTC. Raises ValueError."""
    try:
        return _EPOCH + (timedelta(milliseconds=number) if form == UNIX_MS else timedelta(seconds=number))
    except (OverflowError, TypeError):
        raise Impossible("it is out of range") from None


def reader(formats: Sequence[str]) -> Callable[[str], Found]:
    """What reads texts of one of these formats, tried in order. Raises ValueError."""
    parsers = [parser(form) for form in formats]
    if len(parsers) == 1:
        return parsers[0]

    def read(text: str) -> Found:
        for each in parsers:
            try:
                return each(text)
            except ValueError:
                pass
        raise ValueError

    return read


def parse_date(text: str, form: str = ISO, zone: str | None = None) -> Found:
    """The date, or date with a time, that a text is. A time without offset is one of the zone, where one is given, and comes in
    UTC; so does one with an offset. Raises ValueError."""
    wrong = wrong_given(form, zone)
    if wrong:
        raise ValueError(wrong)
    try:
        found = parser(form)(text.strip())
    except Impossible:
        raise
    except ValueError:
        raise ValueError(f"{text:.80} is not a date of the format {form}") from None
    if not isinstance(found, datetime):
        return found
    if found.tzinfo is not None:
        return in_zone(found)
    return found if zone is None else in_utc(found, ZoneInfo(zone))
