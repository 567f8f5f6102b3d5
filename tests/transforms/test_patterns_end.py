"""Regular expressions of filters end, whatever the records hold."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exporters_beam.components.names import FileNames
from exporters_beam.errors import ConfigError, RecordError
from exporters_beam.reporting.report import Report
from exporters_beam.transforms.filters import JsonSchemaFilter, KeyValueFilter, KeyValueRegexFilter

EVIL = "(a|aa)+(b|$)"
LONG = "a" * 60

FILTERS: list[tuple[Any, dict[str, Any]]] = [
    (KeyValueRegexFilter, {"keys": ({"name": "t", "value": EVIL},)}),
    (KeyValueRegexFilter, {"keys": ({"name": "t", "value": EVIL}, {"name": "t", "value": "a"})}),
    (KeyValueFilter, {"keys": ({"name": "t", "value": EVIL, "operator": "re_match"},)}),
    (JsonSchemaFilter, {"schema": {"properties": {"t": {"type": "string", "pattern": EVIL}}}}),
]


@pytest.mark.parametrize(("kind", "options"), FILTERS)
def test_a_filter_whose_expression_backtracks_fails_the_record(kind: Any, options: dict[str, Any]) -> None:
    made = kind(**options)
    assert made.keep({"t": "aaab"})
    started = time.process_time()
    with pytest.raises(RecordError, match="takes more than 1 second on a text of"):
        made.keep({"t": LONG * 100 + "!"})
    assert time.process_time() - started < 6


def test_it_becomes_a_dead_letter_and_the_rest_goes_on(tmp_path: Path, export: Callable[..., Report]) -> None:
    rows = [{"t": "aab"}, {"t": LONG * 100 + "!"}, {"t": "x"}, {"t": "ab"}]
    (tmp_path / "a.jl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    keys = {"keys": [{"name": "t", "value": EVIL}]}
    report = export(str(tmp_path / "a.jl"), filter_before={"name": "key_value_regex", "options": keys}, on_error="dead_letter")
    assert (report.written, report.counts["filter_before.dead_lettered"]) == (2, 1)


def test_numbers_of_files_have_no_million_digits() -> None:
    with pytest.raises(ConfigError, match="has no need of so many digits"):
        FileNames("p-{file_number:0999999999d}", 0, ".jl")
