"""JSONTestSuite: every valid file comes out as Python's json reads it, every other one is refused with its file and place.

The files are not part of the project: tests/shared.py says where they are looked for.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from shared import SHARED, needs_shared

from exporters_beam.cli.main import main
from exporters_beam.errors import RecordError, SourceError
from exporters_beam.formats.json import JsonDeserializer
from exporters_beam.formats.json_lines import JsonLinesDeserializer

from beamless import outcome

FOLDER = SHARED / "suites/json-test-suite"
FILES = sorted(FOLDER.glob("test_*/*.json"))
SPACE = b" \t\r\n"

pytestmark = needs_shared
each_file = pytest.mark.parametrize("path", FILES or [FOLDER], ids=lambda path: path.stem)


def read(deserializer: Any, data: bytes) -> list[Any]:
    """All records. Raises what says where the fault is: the record."""
    found: list[Any] = []
    before = 0
    for chunk, count, _ in deserializer.chunks(io.BytesIO(data)):
        try:
            found += deserializer.decode(chunk)
        except Exception:
            for number, record, _ in deserializer.decode_each(chunk):
                if isinstance(record, Exception):
                    raise SourceError(f"record {before + number + 1}: {record}") from None
                found.append(record)
        before += count
    return found


def python(data: bytes, lines: bool) -> list[Any] | None:
    """The records of a file as Python's json reads them; None where it is not JSON, or holds something else than objects."""
    try:
        value = json.loads(data.removeprefix(b"\xef\xbb\xbf").decode())
    except (ValueError, RecursionError):
        return None
    records = [value] if lines or not isinstance(value, list) else value
    return records if all(isinstance(record, dict) for record in records) else None


@each_file
@pytest.mark.parametrize("piece", [1, 3, 1 << 18])
def test_a_json_file(path: Path, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporters_beam.formats.json.PIECE", piece)
    data = path.read_bytes()
    if piece < 10 < len(data) / 1000:
        return  # It takes too long.
    expected = python(data, lines=False)
    if expected is None:
        with pytest.raises((SourceError, RecordError), match=r"^record [0-9]+: "):
            read(JsonDeserializer(), data)
    else:
        assert not path.name.startswith("n_")
        assert repr(read(JsonDeserializer(), data)) == repr(expected)


@each_file
def test_a_line(path: Path) -> None:
    data = path.read_bytes().strip(SPACE)
    if b"\n" in data or not data.removeprefix(b"\xef\xbb\xbf"):
        return  # It has several lines, or none.
    expected = python(data, lines=True)
    for around in (b"%s", b"%s\n", b'{"a":1}\n%s\n{"b":2}\n'):
        text = around.replace(b"%s", data)
        if expected is None or (data.startswith(b"\xef\xbb\xbf") and not text.startswith(b"\xef\xbb\xbf")):
            place = 2 if around.startswith(b"{") else 1
            with pytest.raises(SourceError, match=f"^record {place}: "):
                read(JsonLinesDeserializer(), text)
        else:
            assert not path.name.startswith("n_")
            others = [{"a": 1}, *expected, {"b": 2}] if around.startswith(b"{") else expected
            assert repr(read(JsonLinesDeserializer(), text)) == repr(others)


@each_file
def test_an_export_names_the_file(path: Path, tmp_path: Path) -> None:
    """Through all steps of an export, of JSON and of lines, with pushdown and without."""
    data = path.read_bytes()
    for deserializer in ("json", "jsonlines"):
        lines = deserializer == "jsonlines"
        expected = python(data, lines)
        if lines and not data.removeprefix(b"\xef\xbb\xbf").strip(SPACE):
            expected = []
        if lines and b"\n" in data.strip(SPACE):
            continue
        for pushdown in (True, False):
            found = outcome({
                "reader": {"name": "fs", "options": {"input": str(path)}},
                "decompressor": "none", "deserializer": deserializer,
                "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/"}},
                "exporter_options": {"pushdown": pushdown, "formatter": {"name": "json", "options": {"allow_nan": True}}},
            })  # fmt: skip
            if expected is None:
                assert found.error.startswith(f"{path}: record "), found
            else:
                assert found.error == ""
                text = found.groups.get((), b"")
                assert repr([json.loads(line) for line in text.split(b"\n") if line]) == repr(expected)


@pytest.mark.parametrize("name", ["n_structure_double_array", "n_structure_whitespace_formfeed", "n_structure_no_data"])
def test_a_whole_export_ends_with_the_place(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = FOLDER / f"test_parsing/{name}.json"
    (tmp_path / "c.json").write_text(json.dumps({
        "reader": {"name": "fs", "options": {"input": str(source)}}, "deserializer": "json",
        "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/"}},
    }))  # fmt: skip
    assert main(["run", str(tmp_path / "c.json"), "--quiet"]) == 1
    assert f"{source}: record 1: " in capsys.readouterr().err
