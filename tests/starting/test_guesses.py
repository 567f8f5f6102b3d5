"""What texts could be, and when that is sure."""

from __future__ import annotations

from typing import Any

import pytest

from exporters_beam.starting.guesses import guess_of

TEXTS: dict[str, tuple[list[str], Any, str]] = {
    "integers": (["1", "-20", " 300 ", ""], "integer", ""),
    "zeros in front": (["1", "007"], "integer", '"007" would lose its first character'),
    "telephone numbers": (["+4512", "+4513"], "integer", '"+4512" would lose its first character'),
    "codes of one length": (["57000001", "57999999"], "integer", "all have 8 digits, so they may be codes"),
    "many digits": (["1234567890123456789"], "integer", "with 19 digits they may be codes"),
    "0 and 1": (["0", "1", "0"], "integer", "0 and 1 may be booleans"),
    "dates of digits": (["20260131", "20260228"], {"type": "date", "format": "%Y%m%d"}, "they may be dates or integers"),
    "numbers": (["1.5", "-2", "0.25"], "number", ""),
    "numbers with many digits": (["0.1234567890123456789"], "decimal", ""),
    "numbers with zeros in front": (["1.5", "01.5"], None, ""),
    "exponents": (["1e5", "2e7"], "number", '"1e5" may be a code and not a number'),
    "decimal commas": (["1,5", "1.234,50"], None, '"1,5" may have a decimal comma or thousands'),
    "booleans": (["true", "False"], "boolean", ""),
    "yes and no": (["yes", "no"], "boolean", "yes and no may be words"),
    "dates": (["2026-01-31", "2026-12-01"], "date", ""),
    "days that are none": (["2026-02-30"], "date", '"2026-02-30" is not a date'),
    "times": (["2026-01-31T10:00:00Z", "2026-01-31 10:00:00.5+01:00"], "datetime", ""),
    "times with and without an offset": (["2026-01-31T10:00Z", "2026-01-31T10:00"], "datetime", "some have an offset"),
    "days first": (["31/01/2026", "01/02/2026"], {"type": "date", "format": "%d/%m/%Y"}, ""),
    "months first": (["01/31/2026", "01/02/2026"], {"type": "date", "format": "%m/%d/%Y"}, ""),
    "days or months first": (["01/02/2026"], {"type": "date", "format": "%d/%m/%Y"},
                             "does not tell day and month apart: %d/%m/%Y or %m/%d/%Y"),
    "days with hours": (["31.01.2026 10:30"], {"type": "datetime", "format": "%d.%m.%Y %H:%M"}, ""),
    "days of no format": (["31/31/2026"], None, ""),
    "a marker of null": (["1", "n/a", "20"], "integer", 'but for "n/a", which null_marker'),
    "JSON": (['{"a": 1}', "[]"], "json", "they are JSON"),
    "words": (["1", "x"], None, ""),
    "nothing": (["", " "], None, ""),
}  # fmt: skip


@pytest.mark.parametrize("case", TEXTS)
def test_what_texts_could_be(case: str) -> None:
    texts, wanted, why = TEXTS[case]
    found = guess_of(("a", "b"), texts)
    if wanted is None and not why:
        assert found is None
        return
    assert found is not None
    assert found.type == wanted
    assert why in found.why
    assert found.sure == (wanted is not None and not why)
