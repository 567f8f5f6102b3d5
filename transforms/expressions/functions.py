"""Functions that expressions have beside those of Python: hashes, dates and slugs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import date
from typing import Any

from exporters_beam.errors import RecordError
from exporters_beam.transforms.expressions.values import TooMuch
from exporters_beam.transforms.fields import dates, types
from exporters_beam.transforms.fields.paths import Unfit

LONGEST_DATE = 1_000
"""Characters of a date that is read, and of the format of one."""

LONGEST_SLUG = 100_000
"""Characters of a text that a slug is made of. What Unicode makes of a single one may be 18."""

_LETTERS = str.maketrans({
    "ß": "ss", "æ": "ae", "ø": "o", "œ": "oe", "đ": "d", "ð": "d", "þ": "th", "ł": "l", "ħ": "h", "ı": "i",
    "ĸ": "k", "ŋ": "n", "ŧ": "t",
})  # fmt: skip
"""Latin letters that Unicode does not take for others with a mark."""


def slugify(text: str) -> str:
    """Small letters and digits of ASCII with hyphens between them: the text without marks, and without letters that are not
    Latin.

    >>> slugify(" Crème brûlée, 2 × Ærø!")
    'creme-brulee-2-aero'
    """
    if not isinstance(text, str):
        raise TypeError(f"slugify takes a text, not {type(text).__name__}")
    if len(text) > LONGEST_SLUG:
        raise TooMuch(f"a slug is made of {LONGEST_SLUG:,} characters at most; the text has {len(text):,}")
    plain = unicodedata.normalize("NFKD", text.lower().translate(_LETTERS)).encode("ascii", "ignore").decode()
    return re.sub("[^a-z0-9]+", "-", plain.lower()).strip("-")


def _fitting(change: Callable[[Any], str], value: Any) -> str | None:
    if value is None:
        return None
    try:
        return change(value)
    except Unfit as unfit:
        raise RecordError(unfit.what) from None


def sha256(value: Any) -> str | None:
    """The SHA-256 of a value's text, as the transform `fields` makes it; None of None.

    >>> sha256("a")[:8], sha256(None)
    ('ca978112', None)
    """
    return _fitting(types.sha256, value)


def hmac_sha256(value: Any, key: str) -> str | None:
    """The HMAC with SHA-256 of a value's text, with this key; None of None."""
    if not isinstance(key, str) or not key:
        raise TypeError("the key of hmac_sha256 is a text that is not empty")
    return _fitting(types.hmac_sha256(key), value)


def parse_date(text: str, format: str = dates.ISO, zone: str | None = None) -> date:
    """The date, or date with a time, that a text is. A time without offset is one of the zone, where one is given, and comes in
    UTC; so does one with an offset.

    >>> parse_date("31/12/2025", "%d/%m/%Y"), parse_date("2026-07-01T12:00", zone="Europe/Copenhagen").hour
    (datetime.date(2025, 12, 31), 10)
    """
    for given in (text, format, "" if zone is None else zone):
        if not isinstance(given, str):
            raise TypeError(f"parse_date takes texts, not {type(given).__name__}")
        if len(given) > LONGEST_DATE:
            raise TooMuch(f"a date or its format has {len(given):,} characters; at most {LONGEST_DATE:,} are allowed")
    return dates.parse_date(text, format, zone)


FUNCTIONS: dict[str, Any] = {each.__name__: each for each in (hmac_sha256, parse_date, sha256, slugify)}
