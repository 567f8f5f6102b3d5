"""Whatever is in a file, `init --from` says in one sentence what is wrong, or writes a config that is valid and reads it."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporters_beam.cli.main import main

from examples import at_least

PIECES = [
    *("a", "b", "ü", "1", "0", "-", ".", ",", ";", "\t", "|", '"', "'", "\n", "\r\n", " ", "{", "}", "[", "]", ":", "<", ">"),
    *("/", "\\", "#", "true", "2026-01-31", "01/02/2026", "${x}", "\0", "\ufeff", "null", "&", "007", "1,5", "n/a", "x\ny"),
]

VALUES = st.recursive(
    st.sampled_from([None, True, 1, 1.5, "x", "", "ü", "a\nb", "${vars.x}"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(PIECES), inner, max_size=2),
    max_leaves=6,
)


def rows(table: list[list[str]], delimiter: str) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(table)
    return text.getvalue()


def lines(records: list[Any]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


TEXTS = (
    st.lists(st.sampled_from(PIECES), max_size=40).map("".join)
    | st.lists(st.dictionaries(st.sampled_from(PIECES), VALUES, max_size=4), max_size=4).map(lines)
    | st.builds(rows, st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(st.sampled_from(PIECES), min_size=n, max_size=n),
                                                                   min_size=1, max_size=6)), st.sampled_from(",;\t|"))
)  # fmt: skip

BYTES = st.binary(max_size=60) | st.builds(
    lambda text, encoding, pack: pack(text.encode(encoding, "replace")),
    TEXTS, st.sampled_from(["utf-8", "cp1252", "utf-16"]), st.sampled_from([bytes, gzip.compress]),
)  # fmt: skip


@settings(max_examples=at_least(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=BYTES, name=st.sampled_from(["f", "f.csv", "f.jl", "f.json", "f.xml", "f.txt"]))
def test_a_config_is_right_or_there_is_none(
    data: bytes, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for old in os.listdir():
        os.remove(old)
    Path(name).write_bytes(data)
    status = main(["init", "c.yaml", "--from", name])
    told = capsys.readouterr().err
    if status:
        assert status == 1
        assert told.startswith("error: f")
        assert told.count("\n") == 1
        assert not Path("c.yaml").exists()
    else:
        assert main(["validate", "c.yaml"]) == 0
        assert main(["preview", "c.yaml", "-n", "50"]) == 0
        assert "warning" not in capsys.readouterr().err
