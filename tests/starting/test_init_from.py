"""`exporters-beam init --from`: what it writes is valid, and `preview` shows the records that are there."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import os
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporters_beam.cli.main import main

Said = tuple[int, str, str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    def run(*args: str) -> Said:
        status = main(list(args))
        printed = capsys.readouterr()
        return status, printed.out, printed.err

    return run


def put(path: str, data: bytes | str) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


@pytest.fixture
def looked(run: Callable[..., Said]) -> Callable[..., tuple[Any, list[Any], str]]:
    """(the config, the records that `preview` shows behind the reader, the config's text) of what is looked at."""

    def looked(source: str, *options: str) -> tuple[Any, list[Any], str]:
        Path("c.yaml").unlink(missing_ok=True)
        status, out, err = run("init", "c.yaml", "--from", source, *options)
        assert (status, out) == (0, "c.yaml: written; look at it with: exporters-beam preview c.yaml\n"), err
        assert run("validate", "c.yaml") == (0, "c.yaml: ok\n", "")
        status, out, err = run("preview", "c.yaml", "-n", "3")
        assert (status, err) == (0, "")
        first = out.partition("\n")[2].partition("\ntransform")[0].partition("\nfile name")[0]
        first = re.sub(r"\\x(..)", r"\\u00\1", first)  # what a terminal would take for a command is escaped
        shown = [json.loads(line) for line in first.splitlines() if line.startswith("  {")]
        text = Path("c.yaml").read_text(encoding="utf-8")
        return yaml.safe_load(text), shown, text

    return looked


def refused(run: Callable[..., Said], source: str, *options: str) -> tuple[int, str]:
    status, out, err = run("init", "c.yaml", "--from", source, *options)
    assert (out, Path("c.yaml").exists()) == ("", False)
    return status, err.removeprefix("error: ").removesuffix("\n")


def zipped(**files: str) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("_", "."), text)
    return made.getvalue()


def tarred(name: str, data: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return made.getvalue()


LINES = '{"a": 1, "s": {"t": "x"}}\n{"a": 2}\n'
TWO = [{"a": 1, "s": {"t": "x"}}, {"a": 2}]
AB = [{"a": "1", "b": "ü"}, {"a": "2", "b": "ö"}]
ROWS = "a,b\n1,ü\n2,ö\n"

READ: dict[str, tuple[bytes | str, Any, list[dict[str, Any]]]] = {
    "lines.jl": (LINES, None, TWO),
    "lines.jl.gz": (gzip.compress(LINES.encode()), None, TWO),
    "no-suffix": (bz2.compress(LINES.encode()), None, TWO),
    "lines.tgz": (tarred("in/a.jl", LINES.encode()), None, TWO),
    "archive.zip": (zipped(a_jl='{"a": 1}\n', b_jl='{"a": 2}\n'), None, [{"a": 1}, {"a": 2}]),
    "one.jl": ('{"a": 1}', None, [{"a": 1}]),
    "array.json": ('[{"a": 1},\n {"a": 2}]', "json", [{"a": 1}, {"a": 2}]),
    "empty-array.json": ("[]", "json", []),
    "pretty.json": ('{\n "a": 1\n}\n{\n "a": 2\n}\n', "json", [{"a": 1}, {"a": 2}]),
    "lines.json": ('{"a": 1}\n{"a": 2}\n', None, [{"a": 1}, {"a": 2}]),
    "huge-line.jl": (json.dumps({"a": "x" * 1_500_000}) + '\n{"a": 1}\n', None, [{"a": "x" * 1_500_000}, {"a": 1}]),
    "empty.jl": ("", None, []),
    "blank.jl": ("\n\n", None, []),
    "empty.csv": ("", "csv", []),
    "empty.tsv": ("", {"delimiter": "\t"}, []),
    "header.csv": ("id,name\n", "csv", []),
    "header-alone.csv": ("id,name", "csv", []),
    "utf-8.csv": (ROWS, "csv", AB),
    "mark.csv": (b"\xef\xbb\xbf" + ROWS.encode(), "csv", AB),
    "utf-16.csv": (ROWS.encode("utf-16"), {"encoding": "utf-16"}, AB),
    "utf-16-without-mark.csv": (ROWS.encode("utf-16-le"), {"encoding": "utf-16-le"}, AB),
    "cp1252.csv": (ROWS.encode("cp1252"), {"encoding": "cp1252"}, AB),
    "latin-1.csv": ("a,b\n1,ü\x81\n".encode("latin-1"), {"encoding": "latin-1"}, [{"a": "1", "b": "ü\x81"}]),
    "semicolons.txt": ("a;b\nx,5;y,5\nz,5;4\n", {"delimiter": ";"}, [{"a": "x,5", "b": "y,5"}, {"a": "z,5", "b": "4"}]),
    "decimal-commas.csv": ("a;b;c\n1,5;x;1\n1.299,50;y;2\n",
                           {"delimiter": ";", "numbers": {"columns": ["a"], "decimal": ",", "thousands": "."}},
                           [{"a": "1.5", "b": "x", "c": "1"}, {"a": "1299.50", "b": "y", "c": "2"}]),
    "thousands.csv": ('a,b\n"1,234",x\n"5,678",y\n', "csv", [{"a": "1,234", "b": "x"}, {"a": "5,678", "b": "y"}]),
    "titles.csv": ("Sales of May\n\nas of today\na,b\n1,2\n3,4\n5,6\n", {"skip_lines": 3},
                   [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}, {"a": "5", "b": "6"}]),
    "excel.csv": ("sep=;\r\na;b\r\n1;x\r\n", {"delimiter": ";", "skip_lines": 1}, [{"a": "1", "b": "x"}]),
    "bars.txt": ("a|b|c\n1|2|3\n", {"delimiter": "|"}, [{"a": "1", "b": "2", "c": "3"}]),
    "tabs.tsv": ("a\tb\n1\t2\n", {"delimiter": "\t"}, [{"a": "1", "b": "2"}]),
    "single.csv": ("name\nAda\nBob\n", "csv", [{"name": "Ada"}, {"name": "Bob"}]),
    "quotes.csv": ('id,text\n1,"a ""b""\nc, d"\n2,"x"\n', "csv",
                   [{"id": "1", "text": 'a "b"\nc, d'}, {"id": "2", "text": "x"}]),
    "single-quotes.csv": ("a,b\n'x, y','z'\n'v, w','u'\n", {"quotechar": "'"},
                          [{"a": "x, y", "b": "z"}, {"a": "v, w", "b": "u"}]),
    "inches.csv": ('id,t\n1,5" disk\n2,x\n', {"bare_quotes": "keep"}, [{"id": "1", "t": '5" disk'}, {"id": "2", "t": "x"}]),
    "no-header.csv": ("1,x\n2,y\n", {"fields": ["column_1", "column_2"]},
                      [{"column_1": "1", "column_2": "x"}, {"column_1": "2", "column_2": "y"}]),
    "short.csv": ("a,b,c\n1,2,3\n4,5\n", {"ragged": "null"}, [{"a": "1", "b": "2", "c": "3"}, {"a": "4", "b": "5", "c": None}]),
    "long.csv": ("a,b\n1,2\n4,5,6\n", {"ragged": "keep"}, [{"a": "1", "b": "2"}, {"a": "4", "b": "5", "null": ["6"]}]),
    "twice.csv": ("a,a,b\nx,y,3\n", {"duplicate_names": "last"}, [{"a": "y", "b": "3"}]),
    "attributes.xml": ("<r><p id='1'><n>x</n></p><p id='2'><n>y</n></p></r>", {"item_name": "p"},
                       [{"@id": "1", "n": "x"}, {"@id": "2", "n": "y"}]),
    "lists.xml": ("<r><item><t>x</t></item><item><t>y</t><t>z</t></item></r>", {"lists": ["/t"]},
                  [{"t": ["x"]}, {"t": ["y", "z"]}]),
    "latin.xml": ('<?xml version="1.0" encoding="iso-8859-1"?><r><item><a>ü</a></item></r>'.encode("latin-1"), "xml",
                  [{"a": "ü"}]),
    "sp ace/für/a.b.jl": ('{"a b": 1, "c.d": {"é[0]": 2}, "": 3, "${vars.x}": 4, "no": 5, "x: y # z": "\\u2028"}\n', None,
                          [{"a b": 1, "c.d": {"é[0]": 2}, "": 3, "${vars.x}": 4, "no": 5, "x: y # z": "\u2028"}]),
    "breaks.csv": ('"x\ny",b\nn/a,007\n1,1\n', "csv", [{"x\ny": "n/a", "b": "007"}, {"x\ny": "1", "b": "1"}]),
    "odd-names.csv": ("a b,c.d,é,yes,\"x: y # z\",${vars.x},\n1,2,3,4,5,6,7\n", "csv",
                      [{"a b": "1", "c.d": "2", "é": "3", "yes": "4", "x: y # z": "5", "${vars.x}": "6", "": "7"}]),
}  # fmt: skip
"""What is in a file, the deserializer that is written (its name, the options of one that is clear, or none), the records."""


@pytest.mark.parametrize("name", READ)
def test_what_is_written_reads_the_file(name: str, looked: Callable[..., tuple[Any, list[Any], str]]) -> None:
    data, wanted, records = READ[name]
    config, shown, _ = looked(put(name, data))
    assert shown == records
    found = config.get("deserializer")
    if isinstance(wanted, dict):
        assert found["options"] == wanted
    else:
        assert (found is None, found and found.get("options")) == (wanted is None, None)
        assert wanted is None or found["name"] == wanted


def test_tables(looked: Callable[..., tuple[Any, list[Any], str]]) -> None:
    pa, pq, fastavro = (pytest.importorskip(name) for name in ("pyarrow", "pyarrow.parquet", "fastavro"))
    pq.write_table(pa.table({"a": list(range(20_000)), "s": [{"x": 1.5}] * 20_000}), "t.parquet", row_group_size=9_000)
    config, shown, text = looked("t.parquet", "--format", "avro")
    assert (config["deserializer"], shown[1]) == ({"name": "parquet"}, {"a": 1, "s": {"x": 1.5}})
    assert re.search(r"looked at \d,\d+ records at its beginning, all of it has about 20,000\.", text)
    with open("t.bin", "wb") as file:
        schema = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "long"}]}
        fastavro.writer(file, schema, [{"a": n} for n in range(3)])
    assert looked("t.bin")[0]["deserializer"] == {"name": "avro"}


REFUSED: dict[str, tuple[bytes | str, str]] = {
    "garbage.csv": (bytes(range(128, 256)) * 3 + bytes(range(32)) * 3,
                    "garbage.csv: this is not a format that exporters-beam reads"),
    "garbage.gz": (gzip.compress(bytes(range(256)) * 9), "garbage.gz: this is not a format that exporters-beam reads"),
    "text.gz": ("a,b\n", "text.gz: the name ends in .gz but the content is not compressed"),
    "cut.jl.gz": (gzip.compress(LINES.encode())[:-12], "cut.jl.gz: the gzip data is truncated"),
    "words.txt": ("hello there\nthis is text\n",
                  "words.txt: this is text in no format that has fields: it begins with 'hello there'"),
    "empty": ("", "empty: it is empty, and its name does not tell what would be in it"),
    "utf-16.jl": ('{"a": "ü"}\n'.encode("utf-16"), "utf-16.jl: this is JSON in utf-16, and JSON is read in UTF-8 only"),
    "numbers.json": ("[1, 2]", "numbers.json: record 1: not a JSON object"),
    "deep.xml": ("<r><es><e>1</e><e>2</e></es></r>", "deep.xml: the elements that repeat, <e>, stand in <es>"),
    "none.xml": ("<r/>", "none.xml: there is no element below the root"),
    "a.html": ("<html><body><p>x<br></body></html>", "a.html: "),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_told_in_a_sentence(name: str, run: Callable[..., Said]) -> None:
    status, told = refused(run, put(name, REFUSED[name][0]))
    assert status == 1
    assert told.startswith(REFUSED[name][1])
    assert "\n" not in told


def test_files_that_do_not_go_together_are_named(run: Callable[..., Said]) -> None:
    put("mix/a.csv", "a,b\n1,2\n")
    put("mix/b.jl", LINES)
    status, told = refused(run, "mix")
    assert (status, told) == (1, "the files are not of one format: mix/a.csv is rows of values (CSV), mix/b.jl is JSON lines; "
                                 "name those of one format by a pattern, as in --from 'in/*.csv'")  # fmt: skip
    put("mix/c.csv", "a;b\n1;2\n")
    assert "',' in mix/a.csv and between ';' in mix/c.csv" in refused(run, "mix/*.csv")[1]
    put("two/a.csv", ROWS)
    put("two/b.csv", ROWS.encode("cp1252"))
    assert "two/a.csv is utf-8, two/b.csv is cp1252" in refused(run, "two")[1]
    put("head/a.csv", "a,b\n1,2\n")
    put("head/b.csv", "1,2\n3,4\n")
    assert "the first row of head/a.csv has names, that of head/b.csv has values" in refused(run, "head")[1]


def test_a_folder_with_an_empty_file_and_one_of_ascii(looked: Callable[..., tuple[Any, list[Any], str]]) -> None:
    put("in/a.csv", "a,b\n1,x\n")
    put("in/b.csv", "")
    put("in/c.csv", "a,b\n2,ü\n")
    config, shown, text = looked("in")
    assert config["reader"] == {"name": "fs", "options": {"input": {"dir": "in"}}}
    assert (config["deserializer"], shown) == ({"name": "csv"}, [{"a": "1", "b": "x"}, {"a": "2", "b": "ü"}])
    assert "# Found: 3 files, 17 bytes, rows of values (CSV) in utf-8, not compressed; 2 records in all.\n" in text


def test_records_at_fault_are_told_and_set_aside(run: Callable[..., Said]) -> None:
    put("a.jl", '{"a": 1}\n{oops\n{"a": 3}\n')
    status, _, err = run("init", "c.yaml", "--from", "a.jl")
    assert (status, err[:67]) == (0, "note: not all can be read, 1 records of those seen, such as a.jl: r")
    assert yaml.safe_load(Path("c.yaml").read_text())["deserializer"] == {"name": "jsonlines", "on_error": "dead_letter"}
    status, out, _ = run("preview", "c.yaml")
    assert (status, out.count('  {"a": ')) == (0, 2)


def test_lines_of_two_encodings_are_not_guessed_away(run: Callable[..., Said]) -> None:
    put("a.csv", "id,name\n1,ü\n2,ß\n".encode() + "3,ö\n".encode("cp1252"))
    status, _, err = run("init", "c.yaml", "--from", "a.csv")
    assert (status, "some lines are UTF-8 and others are not" in err) == (0, True)
    status, out, _ = run("preview", "c.yaml")
    assert status == 0
    assert '{"id": "1", "name": "ü"}' in out
    assert "record 3: deserializer: the text" in out


def test_fields_are_told_with_how_many_records_have_them(looked: Callable[..., tuple[Any, list[Any], str]]) -> None:
    lines = [
        {"id": n, "price": None if n == 3 else 19.9, "offers": [{"n": "x"}], **({"note": "a\nb"} if n else {})}
        for n in range(4)
    ]
    text = looked(put("a.jl", "".join(json.dumps(line) + "\n" for line in lines)))[2]
    assert [line for line in text.splitlines() if line.startswith("#   ")] == [
        "#   id: integer, in 4 of 4 records, e.g. 0",
        "#   price: number or null, in 4 of 4 records, e.g. 19.9",
        "#   offers: list, in 4 of 4 records",
        '#   offers[].n: text, in 4 of 4 records, e.g. "x"',
        '#   note: text, in 3 of 4 records, e.g. "a\\nb"',
    ]


def test_a_large_file_is_not_read_to_its_end(looked: Callable[..., tuple[Any, list[Any], str]]) -> None:
    line = json.dumps({"text": "x" * 990}) + "\n"
    text = looked(put("a.jl", line * 12_000))[2]
    assert "looked at 5," in text
    assert re.search(r"all of it has about 12,000\.", text)


def test_the_schema_of_the_comment_is_taken_when_it_is_made_active(run: Callable[..., Said], here: Path) -> None:
    put("a.csv", "id;day;no\n1;2026-01-31;x\n2;2026-02-28;\n")
    assert run("init", "c.yaml", "--from", "a.csv", "--format", "parquet")[0] == 0
    text = Path("c.yaml").read_text()
    head, formatter, rest = text.partition("formatter:\n")
    section, _, writer = rest.partition("\n\n")
    active = "\n".join(line.replace("  # ", "  ", 1) for line in section.splitlines() if "Types are found" not in line)
    put("d.yaml", f"{head}{formatter}{active}\n\n{writer}")
    wanted = {
        "id": {"type": ["integer", "null"]},
        "day": {"type": ["string", "null"], "format": "date"},
        "no": {"type": ["string", "null"]},
    }
    options = yaml.safe_load(Path("d.yaml").read_text())["formatter"]["options"]
    assert options == {"unknown_fields": "fail", "schema": {"properties": wanted}}
    assert run("validate", "d.yaml") == (0, "d.yaml: ok\n", "")
    assert main(["run", "d.yaml", "--quiet", "--workers", "1"]) == 0
    rows = pytest.importorskip("pyarrow.parquet").read_table("out/a-0000.parquet").to_pylist()
    assert [(row["id"], row["day"].isoformat(), row["no"]) for row in rows] == [(1, "2026-01-31", "x"), (2, "2026-02-28", "")]


def test_a_folder_that_the_config_stands_in(run: Callable[..., Said], here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put("in/a.jl", LINES)
    monkeypatch.chdir(here / "in")
    assert run("init", "--from", ".")[0] == 0
    config = yaml.safe_load(Path("export.yaml").read_text())
    assert config["reader"]["options"]["input"] == {"dir": ".", "pattern": "\\.jl$"}
    assert config["writer"]["options"]["filebase"] == "../in-out/in-"
    assert run("run", "export.yaml", "--quiet", "--workers", "1") == (0, "", "")
    assert len((here / "in-out/in-0000.jl").read_text().splitlines()) == 2
    put("b.csv", "a,b\n")
    status, _, err = run("init", "c.yaml", "--from", ".")
    assert (status, "the config would be among the files that it reads" in err) == (2, True)


def test_patterns(looked: Callable[..., tuple[Any, list[Any], str]], run: Callable[..., Said]) -> None:
    put("in/day=1/a.jl", '{"a": 1}\n')
    put("in/day=2/a.jl", '{"a": 2}\n')
    put("in/day=2/b.csv", "a,b\n")
    put("in/x/day=3/a.jl", '{"a": 3}\n')
    put("in/[odd]*.jl", '{"a": 4}\n')
    assert looked("in/day=*/*.jl")[1] == [{"a": 1}, {"a": 2}]
    assert looked("in/**/a.jl")[1] == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert looked("in/day=[!1]/?.jl")[1] == [{"a": 2}]
    assert looked("in/[odd]*.jl")[1] == [{"a": 4}], "a file that is called so"
    Path("c.yaml").unlink()
    assert refused(run, "in/*.xml") == (2, "--from: there is nothing to read at in (pattern '^in/[^/]*\\\\.xml$')")
    assert refused(run, "no/*.xml") == (2, "--from: there is no folder 'no' to look for 'no/*.xml' in")
    put("a.jl", '{"a": 1}\n')
    assert looked("*.jl")[1] == [{"a": 1}]


def test_what_is_not_there(run: Callable[..., Said]) -> None:
    assert refused(run, "no.csv") == (2, "--from: there is no file or folder 'no.csv'")
    assert refused(run, "") == (2, "--from: give a file, a folder, a pattern or a URL")
    os.mkdir("in")
    assert refused(run, "in") == (2, "--from: there is nothing to read at in")
    put("in/.a.jl", LINES)
    assert "hidden" in refused(run, "in")[1]
    assert refused(run, "zz://x")[1].startswith("--from: zz:// is not the URL of a storage; known: az://")
    assert refused(run, "http://") == (2, "--from: this is not a URL: it names no server")
    assert refused(run, "in", "--reader", "fs") == (2, "--reader: --from tells the reader; give one of them")
    assert "there is no writer called 'fz'" in refused(run, "in", "--writer", "fz")[1]
    assert run("init", "c.yaml", "--format", "csv")[2] == "error: --format: it goes with --from, which looks at files\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(run: Callable[..., Said]) -> None:
    os.chmod(put("a.jl", LINES), 0)
    assert refused(run, "a.jl") == (1, "a.jl: cannot be read: Permission denied")


def test_a_file_that_exists_stays_and_nothing_is_looked_at(run: Callable[..., Said]) -> None:
    put("c.yaml", "precious")
    assert run("init", "c.yaml", "--from", "nowhere") == (2, "", "error: c.yaml: this file exists; give another name\n")
    assert Path("c.yaml").read_text() == "precious"


def test_another_writer(looked: Callable[..., tuple[Any, list[Any], str]]) -> None:
    config = looked(put("a.jl", LINES), "--writer", "console")[0]
    assert config["writer"]["name"] == "console"
