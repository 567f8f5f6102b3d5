"""Lines of JSON that nothing changes are staged as they came, also for writers that take values: these get the same records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from folder_target import there

import exporters_beam

TARGET = "folder_target:FolderTarget"

LINES = [
    b'{"a": 1, "b": [1.5, null, {"c": "\xc3\xa9"}]}',
    b'  {"b":2,"a":1,"a":3}\t',
    b"",
    b'{"big": 123456789012345678901234567890, "far": 1e999, "n": -0.0}',
    b'{"nan": NaN}',
    b'{"s": "\\ud800", "t": "a\\u0000b\\n"}',
    b'{"deep": ' + b"[" * 200 + b"]" * 200 + b"}",
    b"{}",
    b'{"a": {"b": {}}}\r',
    b"{nonsense",
]


@pytest.fixture(autouse=True)
def _books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def sent(tmp_path: Path, name: str, lines: list[bytes], **sections: Any) -> tuple[Any, str]:
    (tmp_path / name).mkdir()
    (tmp_path / "in.jl").write_bytes(b"\n".join(lines))
    report = exporters_beam.run({
        "reader": {"name": "fs", "options": {"input": str(tmp_path / "in.jl")}},
        "writer": {"name": TARGET, "options": {"folder": str(tmp_path / name), "items_per_buffer_write": 4}},
        "on_error": {"action": "dead_letter", "file": str(tmp_path / f"{name}.letters")},
        **sections,
    })  # fmt: skip
    path = tmp_path / f"{name}.letters"
    letters = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    told = [(letter["number"], letter["step"], letter["message"]) for letter in letters]
    return repr(there(tmp_path / name)), f"{told} {report.counts['written']}"


@pytest.mark.parametrize("lines", [LINES, [LINES[0], *LINES[7:]], LINES[:2] * 9])
def test_the_target_gets_the_same_records_as_of_lines_that_are_decoded_whole(tmp_path: Path, lines: list[bytes]) -> None:
    as_they_came = sent(tmp_path, "lines", lines)
    code = {"name": "pythonexp", "options": {"python_expression": "len(item) >= 0"}}  # It looks at all of a record.
    assert as_they_came == sent(tmp_path, "records", lines, filter=code)
