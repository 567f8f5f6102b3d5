"""Hostile input, end to end: it is delivered faithfully, or the export ends in one sentence and delivers nothing."""

from __future__ import annotations

import gzip
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import zstandard

import exporters_beam
from exporters_beam.components.names import safe_part
from exporters_beam.config.spec import load
from exporters_beam.errors import ConfigError, ExportError

from helpers import delivered, hidden, jsonl, visible

GOOD = [{"id": n, "text": f"n{n}"} for n in range(50)]
MIB = 1 << 20


def config(tmp_path: Path, source: Path, **sections: Any) -> dict[str, Any]:
    return {
        "reader": {"name": "fs", "options": {"input": str(source)}},
        "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/part-", "compression": "none"}},
        **sections,
    }


def refused(tmp_path: Path, source: Path, **sections: Any) -> str:
    """The one sentence in which the export ends; nothing may have been delivered."""
    with pytest.raises(ExportError) as caught:
        exporters_beam.run(config(tmp_path, source, **sections))
    text = str(caught.value)
    assert text.startswith(f"{source}: ")
    assert "\n" not in text and "Traceback" not in text and text.isprintable()
    assert len(text) < 700
    assert visible(tmp_path / "out") == {}
    assert not [name for name in hidden(tmp_path / "out") if name.endswith("manifest.json")]
    return text.removeprefix(f"{source}: ")


def faithful(tmp_path: Path, source: Path, **sections: Any) -> bytes:
    exporters_beam.run(config(tmp_path, source, **sections))
    return b"".join(path.read_bytes() for path in visible(tmp_path / "out").values())


def written(tmp_path: Path, data: bytes, name: str = "data.jl") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


# Compressed input


@pytest.mark.parametrize("cut", [-1, -20])
def test_truncated_gzip(tmp_path, cut):
    path = written(tmp_path, gzip.compress(jsonl(GOOD))[:cut], "data.jl.gz")
    assert "the gzip data is truncated" in refused(tmp_path, path)


def test_bad_checksum(tmp_path):
    data = bytearray(gzip.compress(jsonl(GOOD)))
    data[-8:-4] = struct.pack("<I", 0xDEADBEEF)
    assert "the gzip data is damaged" in refused(tmp_path, written(tmp_path, bytes(data), "data.jl.gz"))


def test_bad_checksum_of_a_later_member(tmp_path):
    data = bytearray(gzip.compress(jsonl(GOOD)) * 3)
    data[-8:-4] = struct.pack("<I", 0xDEADBEEF)
    assert "the gzip data is damaged" in refused(tmp_path, written(tmp_path, bytes(data), "data.jl.gz"))


def test_joined_members_are_read_as_one(tmp_path):
    text = jsonl(GOOD)
    path = written(tmp_path, gzip.compress(text[:100]) + gzip.compress(b"") + gzip.compress(text[100:]), "data.jl.gz")
    assert [json.loads(line) for line in faithful(tmp_path, path).splitlines()] == GOOD


def test_something_behind_the_members(tmp_path):
    path = written(tmp_path, gzip.compress(jsonl(GOOD)) + b"\n<html>not gzip</html>", "data.jl.gz")
    assert "something that is not gzip follows the compressed data" in refused(tmp_path, path)


@pytest.fixture(scope="module")
def bomb(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("bomb") / "data.jl.gz"
    with gzip.open(path, "wb", 6) as out:
        out.write(b'{"id": 1}\n')
        for _ in range(200):
            out.write(bytes(MIB))
    return path


def test_zip_bomb(tmp_path, bomb):
    """gzip expands to 1032 times its size at most, so by default it is the line that is noticed first."""
    assert "record 2: the line is longer than 104,857,600 bytes" in refused(tmp_path, bomb)
    strict = {"name": "auto", "options": {"max_ratio": 400}}
    assert re.search(r"decompress to .*max_ratio", refused(tmp_path, bomb, decompressor=strict))


def test_a_bomb_of_a_stronger_compression(tmp_path):
    path = written(tmp_path, zstandard.ZstdCompressor().compress(jsonl(GOOD) + b"\n" * (100 * MIB)), "data.jl.zst")
    assert re.search(r"decompress to .*max_ratio", refused(tmp_path, path))


def test_zip_bomb_whose_ratio_is_allowed_is_a_line_too_long(tmp_path, bomb):
    text = refused(
        tmp_path,
        bomb,
        decompressor={"name": "zlib", "options": {"max_ratio": 0}},
        deserializer={"name": "jsonlines", "options": {"max_record_bytes": 10 * MIB}},
    )
    assert text.startswith("record 2: the line is longer than 10,485,760 bytes;") and "max_record_bytes" in text


# Lines


def test_a_very_long_line_is_refused_above_the_limit_and_delivered_below(tmp_path):
    record = {"id": 2, "text": "x" * 5 * MIB}
    path = written(tmp_path, jsonl([GOOD[0], record, GOOD[1]]))
    limited = {"name": "jsonlines", "options": {"max_record_bytes": MIB}}
    assert refused(tmp_path, path, deserializer=limited).startswith("record 2: the line is longer than 1,048,576 bytes")
    assert [json.loads(line) for line in faithful(tmp_path, path).splitlines()] == [GOOD[0], record, GOOD[1]]


def test_a_very_long_line_over_several_ranges(tmp_path):
    """Workers begin in the middle of an uncompressed file; the line belongs to the range in which it begins."""
    path = written(tmp_path, jsonl([GOOD[0]]) + b'{"text": "' + b"x" * (40 * MIB) + b'"}\n' + jsonl([GOOD[1]]))
    out = faithful(tmp_path, path).splitlines()
    assert [len(line) > 40 * MIB for line in out] == [False, True, False]


@pytest.mark.parametrize(
    "line, what",
    [
        ('{"id": 1, "text": "caf\u00e9"}'.encode("latin-1"), "not valid UTF-8: byte 0xe9 at byte 23"),
        ('{"id": 1}'.encode("utf-16"), "not valid UTF-8: byte 0xff at byte 1"),
        (b'{"id": "\xed\xa0\x80"}', "not valid UTF-8: byte 0xed"),
        (b"\0" * 20, "not valid JSON"),
        (b'{"id": "a\0b"}', "not valid JSON"),
        (b'{"id": 1', "not valid JSON"),
        (b"[1, 2]", "not a JSON object but a list"),
        (b"9" * 5000, "an integer has more than 4300 digits"),
        (b'{"deep": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "values are nested too deep"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, "values are nested too deep"),
        (b"\x80\x04\x95\x10cposix\nsystem\n\x93.", "not valid UTF-8: byte 0x80 at byte 1"),
    ],
)
def test_what_is_no_record_is_named_by_file_and_number(tmp_path, line, what):
    source = written(tmp_path, jsonl(GOOD[:2]) + line.replace(b"\n", b" ") + b"\n" + jsonl(GOOD[2:]))
    text = refused(tmp_path, source)
    assert text.startswith("record 3: deserializer: ") and what in text


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e400"])
def test_numbers_that_json_cannot_write_are_refused(tmp_path, number):
    """1e400 is JSON, and handed on as it is; as a number of Python's it is infinite."""
    source = written(tmp_path, jsonl(GOOD[:2]) + b'{"a": {"b": [0, %s]}}\n' % number.encode())
    anew = {"formatter": {"name": "json", "options": {"reencode": True}}}
    text = refused(tmp_path, source, **(anew if number == "1e400" else {}))
    assert text.startswith("record 3: ") and 'is not JSON at "a.b.1"; set allow_nan' in text


@pytest.mark.parametrize(
    "line",
    [
        b'{"big":1180591620717411303424,"small":-1180591620717411303424,"huge":' + b"9" * 4000 + b"}",
        b'{"half":"\\ud800","pair":"\xf0\x9f\x98\x80","reverse":"\\udc00\\ud800"}',
        b'{"nul":"a\\u0000b","\\u0000":1}',
        b'{"":{"":[]},"_id":null,"__class__":"x","$ref":"y"}',
        '{"bidi":"\u202egpj.exe","bom":"\ufeff","separator":"\u2028"}'.encode(),
        b'{"float":1e-400,"exact":0.1,"negative":-0.0}',
        b'{"deep":' + b"[" * 500 + b"]" * 500 + b"}",
    ],
)
def test_what_is_odd_but_valid_is_delivered_as_it_is(tmp_path, line):
    out = faithful(tmp_path, written(tmp_path, line + b"\n"))
    assert json.loads(out) == json.loads(line)
    assert list(json.loads(out)) == list(json.loads(line))
    if b"1e-400" not in line:
        assert out == line.replace(b"\\ud800\\udc00", "\U00010000".encode()) + b"\n"


def test_lone_surrogates_and_deep_values_pass_every_step(tmp_path):
    lines = [b'{"key":"\\ud800%d","deep":' % (n % 2) + b"[" * 200 + b"]" * 200 + b"}" for n in range(4)]
    out = faithful(
        tmp_path,
        written(tmp_path, b"\n".join(lines)),
        filter_before={"name": "dupe", "options": {"key_field": "key"}},
        grouper={"name": "file_key", "options": {"keys": ["key"]}},
    )
    assert sorted(out.splitlines()) == sorted(lines[:2])


def test_what_is_nested_too_deep_for_a_shuffle_is_named(tmp_path):
    source = written(tmp_path, jsonl(GOOD[:2]) + b'{"id": 1, "deep": ' + b"[" * 900 + b"]" * 900 + b"}")
    text = refused(tmp_path, source, filter_before={"name": "dupe", "options": {"key_field": "id"}})
    assert text.startswith("record 3: filter_before: ")


def test_the_wrong_encoding_of_csv(tmp_path):
    source = written(tmp_path, "id,name\n1,a\n2,caf\u00e9\n".encode("latin-1"), "data.csv")
    assert "record 2: deserializer: " in refused(tmp_path, source, deserializer="csv")
    out = faithful(tmp_path, source, deserializer={"name": "csv", "options": {"encoding": "latin-1"}})
    assert json.loads(out.splitlines()[1]) == {"id": "2", "name": "caf\u00e9"}


def test_a_quote_that_is_never_closed(tmp_path):
    source = written(tmp_path, b'id,name\n1,a\n2,"' + b"x\n" * 100_000, "data.csv")
    assert "record 2: a quote opens a value here and is never closed" in refused(tmp_path, source, deserializer="csv")


# Group keys

KEYS = [
    "../../../etc/passwd", "..", ".", "", "/etc/passwd", "//", "a/b", "a\\b", "C:\\x", "a\0b", "%2e%2e%2f", "%2e", "%",
    "%empty", "x" * 300, "x" * 301, "\u00e9" * 200, "Same", "same", "SAME", "~", "~root", ".hidden", "-rf", "a\nb",
    "con", "\ud800", "{file_number}", "{groups[0]}", "${HOME}", "$(id)", "*", "\u202e", " ", "a ", "caf\u00e9", "cafe\u0301",
]  # fmt: skip


@pytest.mark.parametrize("filebase", ["{groups[0]}/part-", "part-", "{groups[0]}/{groups[0]}-{file_number:02d}"])
def test_hostile_group_keys_stay_inside_the_destination(tmp_path, filebase):
    records = [{"key": key, "n": n} for n, key in enumerate(KEYS * 2)]
    source = written(tmp_path, jsonl(records))
    before = sorted(os.listdir(tmp_path))
    exporters_beam.run(
        {
            "reader": {"name": "fs", "options": {"input": str(source)}},
            "grouper": {"name": "file_key", "options": {"keys": ["key"]}},
            "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/out/{filebase}", "compression": "none"}},
        }
    )
    assert sorted(os.listdir(tmp_path)) == sorted([*before, "out"])
    files = {
        str(path.relative_to(tmp_path / "out")): path
        for path in (tmp_path / "out").rglob("*")
        if path.is_file() and ".exporters" not in path.parts
    }
    found = [[json.loads(line) for line in path.read_bytes().splitlines()] for path in files.values()]
    assert len(files) == len(KEYS)
    assert all(len({record["key"] for record in group}) == 1 and len(group) == 2 for group in found)
    assert sorted(record["n"] for group in found for record in group) == list(range(len(records)))
    for name, path in files.items():
        assert path.resolve().is_relative_to((tmp_path / "out").resolve()) and not path.is_symlink()
        assert all(len(os.fsencode(part)) <= 255 and part.isprintable() for part in name.split("/"))


def test_names_of_different_groups_differ():
    assert len({safe_part(key) for key in KEYS}) == len(KEYS)


# Configs


@pytest.mark.parametrize(
    "line",
    [
        "x: !!python/object/apply:os.system ['touch {path}']",
        "x: !!python/object/new:os.system ['touch {path}']",
        "x: !!python/name:os.system",
        "x: !!python/module:os",
        "x: !!python/object:exporters_beam.config.spec.Settings {{}}",
    ],
)
def test_python_objects_in_yaml_are_refused(tmp_path, line):
    path = tmp_path / "export.yaml"
    path.write_text("reader: fs\nwriter: console\n" + line.format(path=tmp_path / "owned") + "\n")
    with pytest.raises(ConfigError, match=r"export\.yaml:3:"):
        load(path)
    assert not (tmp_path / "owned").exists()


CLASS_PATHS = [
    "os:system", "os.system", "subprocess:Popen", "builtins:eval", "builtins:dict", "pickle:Unpickler",
    "exporters_beam.config.spec:load", "exporters_beam.records:Unit", "../evil:X", ".:X", ":", "os:", ":system", "os:system:x",
]  # fmt: skip


@pytest.mark.parametrize("section", ["reader", "writer", "filter", "transform", "grouper", "deserializer", "formatter"])
def test_class_paths_that_are_no_components_are_refused(tmp_path, section):
    source = written(tmp_path, jsonl(GOOD))
    for name in CLASS_PATHS:
        given = config(tmp_path, source)
        given[section] = {"name": name, "options": {"command": f"touch {tmp_path}/owned"}}
        with pytest.raises(ConfigError) as caught:
            exporters_beam.run(given)
        assert str(caught.value).startswith(f"{section}.name: ") and "\n" not in str(caught.value)
        assert not (tmp_path / "owned").exists() and not (tmp_path / "out").exists()


def test_the_command_line_says_one_sentence(tmp_path):
    source = written(tmp_path, gzip.compress(jsonl(GOOD))[:-9], "data.jl.gz")
    path = tmp_path / "export.json"
    path.write_text(json.dumps(config(tmp_path, source)))
    ran = subprocess.run(
        [sys.executable, "-m", "exporters_beam", "run", str(path)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    errors = [line for line in ran.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and errors[0].startswith(f"error: {source}: the gzip data is truncated")
    assert delivered(tmp_path / "out") == {}
