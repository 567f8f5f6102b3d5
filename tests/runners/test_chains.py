"""Exports that read only what is new: every file once, whatever happens between the runs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam import ConfigError, DestinationError, SourceError
from exporters_beam.cli.main import main
from exporters_beam.config.spec import load
from exporters_beam.planning.plan import make_each
from exporters_beam.records import Link, Unit
from exporters_beam.reporting import chain as chains
from exporters_beam.reporting.chain import RESET, SKIPPED, Broken, fold, folded, manifests, move, state_of
from exporters_beam.runners import chains as batches
from exporters_beam.runners.chains import opened

from helpers import delivered, jsonl

Run = Callable[..., Any]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    return tmp_path


def put(name: str, *numbers: int) -> None:
    path = Path("in", name)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(jsonl([{"n": n} for n in numbers]))


def config(**more: Any) -> dict[str, Any]:
    return {
        "reader": {"name": "fs", "options": {"input": {"dir": "in"}}},
        "new_only": True,
        "writer": {"name": "fs", "options": {"filebase": "out/n-{batch:03d}-", "compression": "none"}},
        **more,
    }


def numbers(root: str = "out") -> dict[str, list[int]]:
    return {name: [record["n"] for record in records] for name, records in delivered(Path(root)).items()}


def books() -> Path:
    (found,) = (path for path in Path("out/.exporters").iterdir() if "-before-" not in path.name)
    return found


def told(capsys: Any, *args: str) -> tuple[int, str]:
    capsys.readouterr()
    status = main([*args])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out + err


def written(**more: Any) -> str:
    Path("c.json").write_text(json.dumps(config(**more)))
    return "c.json"


def test_each_run_reads_what_has_come_and_nothing_twice(folder, capsys):
    path = written()
    put("a.jl", 1, 2)
    put("b.jl", 3)
    assert told(capsys, "run", path)[0] == 0
    status, text = told(capsys, "run", path)
    assert status == 0 and text.startswith("there is nothing new since batch 1 of ") and text.count("\n") == 1
    put("0.jl", 4)
    os.utime("in/a.jl", ns=(1, os.stat("in/a.jl").st_mtime_ns))
    assert told(capsys, "run", path, "--report", "r.json")[0] == 0
    assert numbers() == {"n-001-0000.jl": [1, 2, 3], "n-002-0000.jl": [4]}
    assert json.loads(Path("r.json").read_text())["counts"]["read"] == 1
    assert sorted(each.name for each in books().rglob("*") if each.is_file()) == ["manifest.json", "manifest.json"]
    status, text = told(capsys, "state", path)
    assert "batches  2; the last one of 2" in text and "read     3 files, 36 bytes" in text
    status, text = told(capsys, "runs", path)
    assert [line.split("  ")[-1] for line in text.splitlines()] == [
        "3 records in 1 file, 27 bytes",
        "1 records in 1 file, 9 bytes",
    ]
    assert told(capsys, "verify", "--chain", path) == (0, f"{books()}: ok, 2 batches, 2 files, 4 records\n")


def test_a_clock_that_jumps_changes_nothing_but_dates(folder, monkeypatch, capsys):
    path = written(writer={"name": "fs", "options": {"filebase": "out/%Y/n-{batch:03d}-", "compression": "none"}})
    for n, year in enumerate((2026, 2038, 2019, 2026)):
        put(f"{n}.jl", n)
        clock = type("Clock", (datetime,), {"now": classmethod(lambda cls, tz=None, year=year: datetime(year, 5, 6, 7, 8, 9))})
        monkeypatch.setattr(batches, "datetime", clock)
        assert told(capsys, "run", path, "--quiet")[0] == 0
    assert numbers() == {f"{year}/n-00{n + 1}-0000.jl": [n] for n, year in enumerate((2026, 2038, 2019, 2026))}
    assert told(capsys, "run", path)[1].startswith("there is nothing new since batch 4")
    assert told(capsys, "verify", "--chain", path)[1].endswith("ok, 4 batches, 4 files, 4 records\n")


def test_what_is_there_may_be_counted_as_read_and_what_was_read_be_read_again(folder, capsys):
    path = written()
    put("a.jl", 1)
    assert told(capsys, "state", path, "--skip") == (0, "1 unit of input count as read from now on, and are not delivered\n")
    put("b.jl", 2)
    exporters_beam.run(path)
    assert told(capsys, "state", path, "--reset")[0] == 0
    exporters_beam.run(path)
    assert told(capsys, "state", path, "--since", "2020-01-01")[1].startswith("what 4 batches since 2020-01-01")
    assert told(capsys, "state", path, "--since", "yesterday")[0] == 2
    put("c.jl", 3)
    exporters_beam.run(path)
    assert told(capsys, "run", path, "--full", "--quiet")[0] == 0
    assert numbers() == {
        "n-002-0000.jl": [2],
        "n-004-0000.jl": [1, 2],
        "n-006-0000.jl": [1, 2, 3],
        "n-007-0000.jl": [1, 2, 3],
    }
    assert told(capsys, "verify", "--chain", path)[0] == 0


def test_a_file_that_has_changed_is_told(folder, capsys, caplog):
    put("a.jl", 1)
    put("b.jl", 2)
    exporters_beam.run(config())
    put("a.jl", 1, 10)
    with pytest.raises(SourceError, match=r"in/a.jl: read by a batch before, and changed since; say under new_only"):
        exporters_beam.run(config())
    put("c.jl", 3)
    exporters_beam.run(config(new_only={"changed": "ignore"}))
    assert "in/a.jl: read by a batch before, and changed since; what is new in it is not delivered" in caplog.text
    exporters_beam.run(config(new_only={"changed": "read"}))
    assert numbers() == {"n-001-0000.jl": [1, 2], "n-002-0000.jl": [3], "n-003-0000.jl": [1, 10]}
    Path("in/b.jl").chmod(0o600)
    assert exporters_beam.run(config()).note.startswith("there is nothing new since batch 3")


def test_a_batch_reads_what_was_written_down_when_it_began(folder):
    """Killed before anything was staged, the next run reads the same files, under the same number and with the same time."""
    put("a.jl", 1)
    spec = load(config(writer={"name": "fs", "options": {"filebase": "out/%Y/n-{batch}-", "compression": "none"}}))
    with opened(spec) as chain:
        (link,) = chain.begin(False) or ()
    intent = books() / "000001" / "intent.json"
    told = json.loads(intent.read_text())
    intent.write_text(json.dumps({**told, "now": "2019-03-01T12:00:00"}))
    put("b.jl", 2)
    exporters_beam.run(spec.document)
    assert numbers() == {"2019/n-1-0000.jl": [1]}
    exporters_beam.run(spec.document)
    assert list(numbers().values()) == [[1], [2]]
    assert link.number == 1


def test_a_batch_that_failed_is_ended_before_anything_newer_is_read(folder, capsys):
    path = written()
    put("a.jl", 1)
    Path("in/b.jl").write_text('{"n": 2}\nnonsense\n')
    status, text = told(capsys, "run", path)
    assert status == 1 and "b.jl" in text
    assert "begun    batch 1 of " in told(capsys, "state", path)[1]
    put("c.jl", 3)
    assert told(capsys, "run", path)[0] == 1
    assert told(capsys, "state", path, "--skip")[0] in (0, 2)
    assert told(capsys, "run", path, "--quiet")[0] == 0
    assert not any(1 in each for each in numbers().values())


def test_what_was_read_is_put_away_when_the_manifest_stands(folder, caplog):
    put("a.jl", 1)
    put("deep/b.jl", 2)
    exporters_beam.run(config(after={"archive": "done/{batch}"}))
    assert sorted(str(path) for path in Path("done").rglob("*.jl")) == ["done/1/a.jl", "done/1/deep/b.jl"]
    assert not list(Path("in").rglob("*.jl"))
    put("a.jl", 3)
    put("deep/c.jl", 4)
    os.makedirs("done/2/a.jl")
    exporters_beam.run(config(after={"archive": "done/{batch}"}))
    assert "after: in/a.jl: it stays where it is: " in caplog.text
    assert Path("in/a.jl").exists() and Path("done/2/deep/c.jl").exists()
    exporters_beam.run(config(after="delete", new_only={"changed": "fail"}))
    put("b.jl", 5)
    exporters_beam.run(config(after="delete"))
    assert list(numbers().values()) == [[1, 2], [3, 4], [5]] and sorted(os.listdir("in")) == ["a.jl", "deep"]
    put("x.jl", 6)
    with pytest.raises(ConfigError, match=r"after\.archive: what is moved to in/old/x.jl would be read again"):
        exporters_beam.run(config(after={"archive": "in/old"}))


def test_what_was_not_put_away_yet_is_so_by_the_next_run(folder, monkeypatch):
    put("a.jl", 1)
    monkeypatch.setattr("exporters_beam.readers.fs.FsReader.delete", lambda self, unit: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        exporters_beam.run(config(after="delete"))
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    assert (books() / "000001" / "manifest.json").exists() and Path("in/a.jl").exists()
    assert exporters_beam.run(config(after="delete")).note.startswith("there is nothing new since batch 1")
    assert not Path("in/a.jl").exists() and numbers() == {"n-001-0000.jl": [1]}


def test_a_file_that_is_being_written_is_waited_for(folder, caplog):
    put("a.jl", 1)
    os.utime("in/a.jl", (1, 1))
    put("future.jl", 2)
    os.utime("in/future.jl", (4e9, 4e9))
    exporters_beam.run(config(new_only={"settled": "50ms"}))
    assert numbers() == {"n-001-0000.jl": [1, 2]}
    put("b.jl", 3)
    with opened(load(config(new_only={"settled": "1h"}))) as chain:
        chain.spec.new_only.__dict__["settled_seconds"] = 0.0
    assert exporters_beam.run(config(new_only={"settled": "0s"})).written == 1


@pytest.mark.parametrize("touch", ["changed", "gone", "moved", "other", "intent"])
def test_manifests_that_somebody_touched_end_the_export(folder, capsys, touch):
    path = written()
    for n in range(3):
        put(f"{n}.jl", n)
        exporters_beam.run(path)
    second = books() / "000002" / "manifest.json"
    if touch == "changed":
        second.write_text(second.read_text().replace('"in/1.jl"', '"in/7.jl"'))
    elif touch == "gone":
        shutil.rmtree(second.parent)
    elif touch == "moved":
        second.rename(second.with_name("old.json"))
    elif touch == "other":
        shutil.copy(books() / "000001" / "manifest.json", second)
    else:
        (second.parent / "intent.json").write_text("{}")
    status, text = told(capsys, "run", path)
    assert status == 2 and text.count("\n") == 1 and ("batch 2" in text or "000002" in text), text
    assert told(capsys, "verify", "--chain", path)[0] == (0 if touch == "intent" else 1)
    status, text = told(capsys, "state", path, "--reset")
    assert status == 0 and "-before-1" in text
    exporters_beam.run(path)
    assert numbers()["n-005-0000.jl"] == [0, 1, 2] and len(numbers()) == 4


def test_two_runs_at_once_are_one_too_many(folder):
    put("a.jl", 1)
    with opened(load(config())), pytest.raises(DestinationError, match="another run of this export is under way"):
        exporters_beam.run(config())
    exporters_beam.run(config())


def test_a_writer_that_failed_gets_the_batch_alone(folder, capsys):
    writers = [
        {"name": "fs", "as": name, "options": {"filebase": f"{name}/n-{{batch}}-", "compression": "none"}}
        for name in ("one", "two")
    ]
    more = {"writer": None, "writers": writers, "staging": "books"}
    put("a.jl", 1)
    Path("two").write_text("in the way")
    path = written(**more)
    assert told(capsys, "run", path)[0] == 1
    put("b.jl", 2)
    Path("two").unlink()
    assert told(capsys, "run", path, "--quiet")[0] == 0
    assert numbers("one") == numbers("two") == {"n-1-0000.jl": [1]}
    assert told(capsys, "run", path, "--quiet")[0] == 0
    assert numbers("one") == numbers("two") == {"n-1-0000.jl": [1], "n-2-0000.jl": [2]}
    later = {"name": "fs", "as": "three", "options": {"filebase": "three/n-{batch}-"}}
    status, text = told(capsys, "run", written(**{**more, "writers": [*writers, later]}))
    assert status == 2 and "they have not had the same batches (the last one of each: one 2, two 2, three 0)" in text


def test_what_changes_in_the_config_holds_from_the_next_batch_on(folder, capsys):
    put("a.jl", 1, 2)
    exporters_beam.run(config())
    put("b.jl", 3, 4)
    keep = {"name": "pythonexp", "options": {"python_expression": "item['n'] > 3"}}
    exporters_beam.run(config(filter_before=keep))
    assert numbers() == {"n-001-0000.jl": [1, 2], "n-002-0000.jl": [4]}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"new_only": {"setled": 1}}, 'new_only.setled: unknown option; did you mean "settled"?'),
        ({"new_only": {"settled": "soon"}}, 'new_only.settled: "soon" is not a time; write 30s, 5m, 12h or 1d'),
        ({"new_only": "yes, please"}, "new_only: wrong type"),
        ({"new_only": {"changed": "reed"}}, 'is not one of the choices; did you mean "read"?'),
        ({"after": "archive"}, 'after: "archive" is not one of keep, delete and {archive: FOLDER}'),
        ({"after": {"archive": "/"}}, "after.archive: give the name of a folder"),
        ({"new_only": None}, "filebase: {batch} is the number of a run that reads only what is new"),
        ({"new_only": None, "after": "delete"}, "after: what was read is put away where each run reads what is new"),
        ({"writer": {"name": "fs", "options": {"filebase": "out/n-"}}}, "filebase: each batch would replace"),
        ({"writer": {"name": "fs", "options": {"filebase": "out/n-{batch:x!}"}}}, "filebase: {batch:x!}: "),
        (
            {"writer": {"name": "fs", "options": {"filebase": "out/n-{batch}", "items_limit": 3}}},
            "items_limit: what lies behind",
        ),
        (
            {"writer": {"name": "fs", "options": {"filebase": "out/n-{batch}", "generate_md5": True}}},
            "generate_md5: each batch",
        ),
        ({"done": {"manifest": "m.json"}}, "done.manifest: each batch would replace"),
        ({"bundle": {"name": "m.zip"}}, "bundle.name: each batch would replace"),
        ({"on_error": {"action": "dead_letter", "file": "f.jl"}}, "on_error.file: each batch would replace"),
        ({"reader": "random"}, "new_only: the reader random cannot tell what is new"),
        ({"writer": "console"}, "new_only: what was read has to be known by the next run"),
    ],
)
def test_a_wrong_config_is_told_with_its_place(folder, capsys, more, expected):
    command = "run" if more.get("writer") == "console" else "validate"
    status, text = told(capsys, command, written(**more))
    assert status == 2 and expected in text, text


def test_many_batches_are_folded_into_few_files(tmp_path, monkeypatch):
    """What has been read, and the manifests of all batches, are the same however they are kept."""
    monkeypatch.setattr(chains, "FOLD", 3)
    folder, before = str(tmp_path / "c"), ""
    expected: dict[str, tuple[int, str]] = {}
    for n in range(1, 41):
        if n == 17:
            expected = {}
        units = [Unit(0, f"f{n % 7}", n, f"e{n}")]
        expected |= {unit.name: (unit.size, unit.etag) for unit in units}
        move(folder, Link("c", n, f"2026-01-01T00:00:{n:02d}", before), units, RESET if n == 17 else SKIPPED)
        state = state_of(folder, "c")
        assert (state.last.number, state.known) == (n, expected)
        fold(folder, state)
        before = state.last.checksum
        again = state_of(folder, "c")
        assert (again.last, again.known) == (state.last, expected)
        assert [each["chain"]["batch"] for each in manifests(folder, "c")] == list(range(1, n + 1))
    assert len(os.listdir(folder)) < 10 and folded(folder)[0][:2] == (1, 27)
    (tmp_path / "c" / "state.gz").write_bytes(b"damaged")
    assert state_of(folder, "c").known == expected
    path = Path(folded(folder)[0][2])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(Broken, match="damaged"):
        list(manifests(folder, "c"))


def test_the_page_shows_what_runs(folder, capsys):
    page = (Path(__file__).parents[2] / "docs/only-new.md").read_text()
    first, second = (block.partition("```")[0] for block in page.split("```yaml\n")[1:])
    (folder / "incoming").mkdir()
    Path("incoming/a.jl").write_bytes(jsonl([{"n": n} for n in range(3)]))
    Path("export.yaml").write_text(first)
    shown = page.split("```\n$ exporters-beam run export.yaml\n")[1].partition("```")[0].splitlines()
    text = told(capsys, "run", "export.yaml")[1] + told(capsys, "run", "export.yaml")[1]
    for line in shown:
        if line.startswith(("read", "written", "delivered")):
            assert line.partition(", ")[0] in text
    assert "there is nothing new since batch 1 of 20" in text
    os.utime("incoming/a.jl", (1, 1))
    Path("later.yaml").write_text(second.replace("60s", "10ms"))
    assert told(capsys, "run", "later.yaml")[0] == 0
    assert len(list(Path("done").glob("20*/a.jl"))) == 1 and not os.listdir("incoming")


def test_batches_to_another_bucket_are_another_chain():
    def chain(bucket: str) -> str:
        writer = {"name": "s3", "options": {"bucket": bucket, "filebase": "n-{batch}-"}}
        (plan,) = make_each(load(config(writer=writer)))
        return plan.chain

    assert chain("one") == chain("one") != chain("two")
