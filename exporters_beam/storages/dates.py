"""Dates as configs have them: `2016-01-31`, `yesterday`, `2 days ago`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone

from exporters_beam.errors import ConfigError

_AGO = re.compile(r"(?:(an?|\d+)\s+(day|week)s?\s+ago|in\s+(an?|\d+)\s+(day|week)s?)\Z")
_NAMED = {"today": 0, "now": 0, "yesterday": -1, "tomorrow": 1}


def days(given: str | Sequence[str], now: datetime) -> tuple[date, ...]:
    """Every day of a range: one text, or the first and the last day. Raises ConfigError, without an option's name."""
    texts = (given, given) if isinstance(given, str) else tuple(given)
    if len(texts) != 2:
        raise ConfigError(f"give one date, or the first and the last one; there are {len(texts)}")
    first, last = (day(text, now) for text in texts)
    if last < first:
        raise ConfigError(f"the last day, {last}, is before the first one, {first}")
    return tuple(first + timedelta(days=n) for n in range((last - first).days + 1))


def day(text: str, now: datetime) -> date:
    """The day that a text names. With the package dateparser it is whatever that one understands.

    >>> day("2 days ago", datetime(2026, 3, 1, 13)), day("2016-01-31", datetime(2026, 3, 1))
    (datetime.date(2026, 2, 27), datetime.date(2016, 1, 31))
    """
    plain = " ".join(str(text).lower().split())
    if plain in _NAMED:
        return now.date() + timedelta(days=_NAMED[plain])
    match = _AGO.match(plain)
    if match:
        number, unit = (match[1], match[2]) if match[1] else (match[3], match[4])
        many = (1 if number.startswith("a") else int(number)) * (7 if unit == "week" else 1)
        return now.date() + timedelta(days=-many if match[1] else many)
    try:
        return datetime.fromisoformat(str(text).strip()).date()
    except (ValueError, OverflowError):
        pass
    found = _parsed(str(text), now)
    if found is None:
        raise ConfigError(f"{text!r} is not a date; write it as 2016-01-31, today, yesterday, 3 days ago or 2 weeks ago")
    result: date = found.date()
    return result


def moment(given: int | str, now: datetime) -> int:
    """The time that a text names, in UTC, as milliseconds since 1970; a number is one already. Raises ConfigError.

    What is no date of ISO 8601 is for the package dateparser.

    >>> [moment(given, datetime(2026, 3, 1)) for given in ("2015-09-11T03:00:00", "2015-09-11", "1441940400000", 12)]
    [1441940400000, 1441929600000, 1441940400000, 12]
    """
    text = str(given).strip()
    if isinstance(given, int) or re.fullmatch(r"\d{13,}", text):
        return int(given)
    now = now.astimezone(timezone.utc)
    found = now if text.lower() == "now" else None
    if found is None:
        try:
            found = datetime.fromisoformat(text)
        except (ValueError, OverflowError):
            found = _parsed(text, now.replace(tzinfo=None))
    if found is None:
        raise ConfigError(f"{text!r} is not a date; give milliseconds since 1970, or write it as 2016-01-31T12:00 or now")
    if found.tzinfo is None:
        found = found.replace(tzinfo=timezone.utc)
    return round(found.timestamp() * 1000)


def _parsed(text: str, now: datetime) -> datetime | None:
    """A date as people write it, where the package dateparser is here."""
    try:
        import dateparser  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        return None
    settings = {"RELATIVE_BASE": now}
    found: datetime | None = dateparser.parse(text, languages=["en"], settings=settings)
    return found or dateparser.parse(text, settings=settings)  # It takes seconds to try all languages.
