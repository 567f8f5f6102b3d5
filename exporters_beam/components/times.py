"""Times in records: texts in ISO 8601, numbers since 1970, or what a format makes of them; and time zones."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import lru_cache

from exporters_beam.components.words import did_you_mean
from exporters_beam.errors import ConfigError, RecordError

EPOCHS = {"seconds": 1_000_000, "milliseconds": 1000, "microseconds": 1}
"""Units of times that are numbers since 1970, in microseconds."""

_SINCE = datetime(1970, 1, 1, tzinfo=timezone.utc)

_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,]\d+)?)? ?(?:(Z)|([+-])(\d\d):?(\d\d)?)?)?\Z",
    re.ASCII | re.IGNORECASE,
)


def zone_of(name: str) -> tzinfo:
    """Raises ConfigError where there is no such time zone."""
    import zoneinfo

    if name == "UTC":
        return timezone.utc
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        hint = did_you_mean(name, sorted(zoneinfo.available_timezones()))
        hint = hint if "mean" in hint else "; write one like Europe/Copenhagen"
        raise ConfigError(f"zone: there is no time zone {name!r}{hint}") from None


def time_of(value: object, epoch: str | None = None) -> date | None:
    """A date, or a datetime to the second with or without a zone; None for null and the empty text. A number counts `epoch`s
    since 1970. Raises RecordError for what is not a time.

    >>> str(time_of("2026-11-28 14:00:07.5Z")), str(time_of(86400, "seconds")), time_of("")
    ('2026-11-28 14:00:07+00:00', '1970-01-02 00:00:00+00:00', None)
    """
    if value is None or value == "":
        return None
    try:
        if value.__class__ is str:
            return _of_text(str(value))
        if isinstance(value, date):
            return value
        if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
            if epoch is None:
                raise RecordError(f"{value!r:.100} is a number; say with epoch what it counts since 1970: {', '.join(EPOCHS)}")
            return _SINCE + timedelta(microseconds=int(value * EPOCHS[epoch]))
    except (ValueError, OverflowError, ArithmeticError):
        pass
    raise no_time(value)


_SECONDS = {f"{n:02d}": min(n, 59) for n in range(61)}
"""Seconds as texts have them. A leap second belongs to its minute."""


def minute_of(text: str) -> tuple[str, int] | None:
    """The minute of a time with its zone, and the seconds; None for a text that does not look so. Of very many times most are
    in the same few minutes: what a minute is has to be found once. That it is a time is not known yet.

    >>> minute_of("2026-11-28T14:00:07.25+01:00"), minute_of("2026-11-28")
    (('2026-11-28T14:00+01:00', 7), None)
    """
    seconds = _SECONDS.get(text[17:19])
    if seconds is None or text[16] != ":":
        return None
    rest = text[19:]
    if rest[:1] == ".":
        zone = rest[1:].lstrip("0123456789")
        return None if len(zone) + 1 == len(rest) else (text[:16] + zone, seconds)
    return text[:16] + rest, seconds


def no_time(value: object) -> RecordError:
    """What is wrong with a value that is not a time, or not one that there is in every zone."""
    return RecordError(f"{value!r:.100} is not a time; write it as 2026-11-28 or 2026-11-28T14:00:00Z")


@lru_cache(maxsize=4096)
def _of_text(text: str) -> date:
    """Raises ValueError."""
    found = _ISO.match(text.strip())
    if found is None:
        raise ValueError(text)
    year, month, day, hour, minute, second, utc, sign, ahead, minutes = found.groups()
    if hour is None:
        return date(int(year), int(month), int(day))
    offset = None
    if utc or sign:
        away = timedelta(hours=int(ahead or 0), minutes=int(minutes or 0))
        offset = timezone.utc if not away else timezone(-away if sign == "-" else away)
    seconds = 59 if second == "60" else int(second or 0)
    return datetime(int(year), int(month), int(day), int(hour), int(minute), seconds, tzinfo=offset)
