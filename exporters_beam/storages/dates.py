"""Dates as configs have them: `2016-01-31`, `yesterday`, `2 days ago`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, timedelta

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
    try:
        import dateparser  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        found = None
    else:
        found = dateparser.parse(str(text), settings={"RELATIVE_BASE": now})
    if found is None:
        raise ConfigError(f"{text!r} is not a date; write it as 2016-01-31, today, yesterday, 3 days ago or 2 weeks ago")
    result: date = found.date()
    return result
