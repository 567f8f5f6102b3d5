"""Records that fail: skipped, dead letters, budgets, replay."""

from __future__ import annotations

import datetime
import json
import re
import shlex
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest

import exporters_beam
from exporters_beam.cli.main import main
from exporters_beam.records import Failure, Unit
from exporters_beam.reporting.verify import verify
from exporters_beam.runners import local as runner
from exporters_beam.staging.letters import read_letter, staged

from helpers import delivered, hidden, jsonl, visible, write_gz

PAGE = Path(__file__).parent.parent.parent / "docs" / "failures.md"

CHANGED_THEN_FAILED = ["item.update(seen=1)", "item.update(double=item['v'] * 2)"]


def orders(count: int) -> list[dict]:
    return [{"id": n, "v": None if n % 100 == 7 else n, "g": None if n % 100 == 13 else "abc"[n % 3]} for n in range(count)]


@pytest.fixture(autouse=True)
def _small_ranges(monkeypatch):
    monkeypatch.setattr("exporters_beam.engine.graph.RANGE_BYTES", 4000)
    monkeypatch.setattr("exporters_beam.formats.json_lines.PIECE", 1500)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Plain lines and gzip in many small ranges; in each 600 records, of which 2 * 6 fail and two lines are no JSON."""
    for name in ("0.jl", "1.jl.gz"):
        lines = jsonl(orders(600)).splitlines(keepends=True)
        lines[300] = b'{"id": 300, oops\n'
        lines[500] = b"\xff\xfe no text\n"
        (tmp_path / "in").mkdir(exist_ok=True)
        if name.endswith("gz"):
            import gzip

            (tmp_path / "in" / name).write_bytes(gzip.compress(b"".join(lines), mtime=0))
        else:
            (tmp_path / "in" / name).write_bytes(b"".join(lines))
    return tmp_path / "in"


STEPS = {
    "transform": {"name": "pythonexp", "options": {"python_expressions": CHANGED_THEN_FAILED}},
    "grouper": {"name": "python_exp", "options": {"python_expressions": ["item['g'].upper()"]}},
}
MENDED = {
    "transform": {"name": "pythonexp", "options": {"python_expressions": [
        "item.update(seen=item.get('seen', 0) + 1)", "item.update(double=(item['v'] or 0) * 2)"]}},
    "grouper": {"name": "python_exp", "options": {"python_expressions": ["(item['g'] or 'none').upper()"]}},
}  # fmt: skip


def config(folder: Path, out: Path, **more) -> dict:
    return {
        "reader": {"name": "fs", "options": {"input": {"dir": str(folder)}}},
        "writer": {"name": "fs", "options": {"filebase": f"{out}/part-"}},
        **more,
    }


def letters_of(report) -> list[dict]:
    return [json.loads(line) for line in Path(report.dead_letters["name"]).read_bytes().splitlines()]


def test_dead_letters_tell_the_step_the_place_the_reason_and_the_record(folder, tmp_path):
    report = exporters_beam.run(config(folder, tmp_path / "out", on_error="dead_letter", **STEPS))
    letters = letters_of(report)
    expected = [
        (str(folder / name), n + 1, step)
        for name in ("0.jl", "1.jl.gz")
        for n in range(600)
        for step in ["deserializer" if n in (300, 500) else "transform" if n % 100 == 7 else "grouper" if n % 100 == 13 else ""]
        if step
    ]
    assert [(letter["file"], letter["number"], letter["step"]) for letter in letters] == expected
    first, second = letters[:2]
    assert first["message"].startswith("TypeError: ") and first["component"] == "pythonexp"
    assert first["record"] == {"id": 7, "v": None, "g": "b"}, "as it came to the step, not half changed"
    assert second["record"] == {"id": 13, "v": 13, "g": None, "seen": 1, "double": 26}
    undecoded = [letter for letter in letters if letter["step"] == "deserializer"][:2]
    assert undecoded[0]["text"] == '{"id": 300, oops' and "not valid JSON" in undecoded[0]["message"]
    assert read_letter(json.dumps(undecoded[1]))[1] == b"\xff\xfe no text"
    written = {r["id"] for rs in delivered(tmp_path / "out").values() for r in rs}
    assert written == {n for n in range(600) if n % 100 not in (7, 13) and n not in (300, 500)}
    assert report.counts["transform.dead_lettered"] == 12
    assert report.counts["grouper.dead_lettered"] == 12
    assert report.counts["deserializer.dead_lettered"] == 4
    assert report.read == report.written + 28
    assert report.dead_letters["records"] == 28
    assert verify(report.manifest)[0] == []
    assert {Path(name).name for name in hidden(tmp_path / "out")} == {"manifest.json", "dead-letters.jl"}
    assert "dead letters  " + report.dead_letters["name"] in report.summary()


def test_skipped_records_are_counted_and_nothing_is_written_of_them(folder, tmp_path):
    report = exporters_beam.run(config(folder, tmp_path / "out", on_error="skip", **STEPS))
    assert (report.read, report.written) == (1200, 1172)
    assert report.counts["transform.skipped"] == 12
    assert [Path(name).name for name in hidden(tmp_path / "out")] == ["manifest.json"]
    assert verify(report.manifest)[0] == []
    assert "12 failed and skipped" in report.summary()


def test_a_steps_own_on_error_goes_before_that_of_the_config(folder, tmp_path):
    skip = {"name": "jsonlines", "on_error": "skip"}
    steps = {**STEPS, "transform": {**STEPS["transform"], "on_error": "skip"}, "deserializer": skip}
    report = exporters_beam.run(config(folder, tmp_path / "out", on_error="dead_letter", **steps))
    assert {letter["step"] for letter in letters_of(report)} == {"grouper"}
    assert report.counts["deserializer.skipped"] == 4
    steps = {**STEPS, "transform": {**STEPS["transform"], "on_error": "fail"}, "deserializer": skip}
    with pytest.raises(exporters_beam.ExportError, match=r"0\.jl: record 8: transform: TypeError"):
        exporters_beam.run(config(folder, tmp_path / "fail", on_error="skip", **steps))


@pytest.mark.parametrize("kind", ["filter_before", "filter_after"])
def test_filters_and_formats_set_records_aside_too(kind, folder, tmp_path):
    steps = {
        kind: {"name": "pythonexp", "options": {"python_expression": "item['v'] + 1 > 0"}},
        "formatter": "parquet",
        "deserializer": {"name": "jsonlines", "on_error": "skip"},
    }
    if kind == "filter_after":
        steps["filter_before"] = {"name": "dupe", "options": {"key_field": "id"}}
    report = exporters_beam.run(config(folder, tmp_path / "out", on_error="dead_letter", **steps))
    assert {letter["step"] for letter in letters_of(report)} == {kind}
    assert report.counts[f"{kind}.dead_lettered"] == (12 if kind == "filter_before" else 6)
    assert verify(report.manifest)[0] == []


def test_a_table_format_sets_aside_only_the_records_that_do_not_fit(tmp_path):
    records = [{"id": n, "v": "text" if n in (5, 1500) else n} for n in range(2000)]
    write_gz(tmp_path / "in" / "0.jl.gz", records)
    schema = {"type": "record", "name": "r", "fields": [{"name": "id", "type": "long"}, {"name": "v", "type": "long"}]}
    report = exporters_beam.run(config(tmp_path / "in", tmp_path / "out", on_error="dead_letter",
                                       formatter={"name": "avro", "options": {"schema": schema}}))  # fmt: skip
    assert [(letter["number"], letter["step"]) for letter in letters_of(report)] == [
        (6, "formatter"),
        (1501, "formatter"),
    ]
    assert report.written == 1998


VARIANTS = {
    "bundles repeated": ("--direct_runner_bundle_repeat=2",),
    "tiny bundles": (),
    "two processes": ("--direct_num_workers=2", "--direct_running_mode=multi_processing"),
}


def test_dead_letters_have_the_same_bytes_however_the_work_is_bundled(folder, tmp_path, monkeypatch):
    steps = {**STEPS, "filter_before": {"name": "dupe", "options": {"key_field": "id"}}, "on_error": "dead_letter"}
    first = exporters_beam.run(config(folder, tmp_path / "out", **steps))
    expected = [{**letter, "export": ""} for letter in letters_of(first)]
    files = {name: path.read_bytes() for name, path in visible(tmp_path / "out").items()}
    for variant, args in VARIANTS.items():
        if variant == "tiny bundles":
            monkeypatch.setattr(runner, "BUNDLE_SECONDS", 0.0)
        again = exporters_beam.run(config(folder, tmp_path / variant, **steps), beam_args=args)
        assert again.counts == first.counts, variant
        assert [{**letter, "export": ""} for letter in letters_of(again)] == expected, variant
        assert {name: path.read_bytes() for name, path in visible(tmp_path / variant).items()} == files, variant


def test_a_limit_counts_what_is_kept_and_all_letters_are_told(folder, tmp_path):
    told = config(folder, tmp_path / "out", on_error="dead_letter", **STEPS)
    told["writer"]["options"]["items_limit"] = 50
    report = exporters_beam.run(told)
    assert report.written == 50
    assert verify(report.manifest)[0] == []
    assert (
        sorted(r["id"] for rs in delivered(tmp_path / "out").values() for r in rs)
        == [n for n in range(60) if n not in (7, 13)][:50]
    )


def test_an_export_without_failures_leaves_no_letters_of_an_earlier_run(tmp_path):
    told = config(tmp_path / "in", tmp_path / "out", on_error="dead_letter", **STEPS)
    write_gz(tmp_path / "in" / "0.jl.gz", orders(20))
    exporters_beam.run(told)
    assert "dead-letters.jl" in " ".join(hidden(tmp_path / "out"))
    write_gz(tmp_path / "in" / "0.jl.gz", orders(5))
    report = exporters_beam.run(told)
    assert "dead-letters.jl" not in " ".join(hidden(tmp_path / "out"))
    assert report.dead_letters == {}


# Budgets


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"max_records": 11}, r"on_error\.max_records allows 11; for example .*/in/\d\.jl\S*: record \d+: "),
        ({"max_records": 27}, r"28 records failed .*; on_error\.max_records allows 27"),
        (
            {"max_rate": 0.02},
            r"28 of 1,200 records failed \(.*\), 2\.33%; on_error\.max_rate allows 2\.00%; for example .*/in/0\.jl: record 8: ",
        ),
    ],
)
def test_over_the_budget_nothing_is_delivered_and_a_larger_one_resumes(budget, message, folder, tmp_path):
    told = config(folder, tmp_path / "out", **STEPS)
    with pytest.raises(exporters_beam.ExportError, match=message):
        exporters_beam.run({**told, "on_error": {"action": "dead_letter", **budget}})
    assert visible(tmp_path / "out") == {}
    enough = {name: limit * 10 for name, limit in budget.items()}
    resumed = {**told, "on_error": {"action": "dead_letter", **enough}, "exporter_options": {"resume": True}}
    report = exporters_beam.run(resumed)
    assert report.dead_letters["records"] == 28
    if budget != {"max_records": 11}:
        assert report.resumed > 1000


def test_a_budget_that_is_kept_changes_nothing(folder, tmp_path):
    budget = {"action": "dead_letter", "max_records": 28, "max_rate": 0.03}
    with_it = exporters_beam.run(config(folder, tmp_path / "out", on_error=budget, **STEPS))
    exporters_beam.run(config(folder, tmp_path / "without", on_error="dead_letter", **STEPS))
    assert with_it.written == 1172
    assert {n: p.read_bytes() for n, p in visible(tmp_path / "out").items()} == {
        n: p.read_bytes() for n, p in visible(tmp_path / "without").items()
    }


# Replay


def test_mended_letters_go_through_the_rest_of_the_export(folder, tmp_path):
    first = exporters_beam.run(config(folder, tmp_path / "out", on_error="dead_letter", **STEPS))
    before = {name: path.read_bytes() for name, path in visible(tmp_path / "out").items()}
    told = config(folder, tmp_path / "out", on_error="dead_letter", **MENDED)
    report = exporters_beam.replay(told, [first.dead_letters["name"]])
    assert (report.read, report.written, report.dead_letters["records"]) == (28, 24, 4)
    after = visible(tmp_path / "out")
    assert {name: after[name].read_bytes() for name in before} == before
    new = {name: rs for name, rs in delivered(tmp_path / "out").items() if name not in before}
    assert all(re.fullmatch(r"part-0000-(A|B|C|NONE)\.replay-[0-9a-f]{8}\.jl\.gz", name) for name in new)
    records = [record for rs in new.values() for record in rs]
    assert len(records) == 24
    assert all(record["seen"] == 1 for record in records), "the transform ran once for each"
    again = letters_of(report)
    assert [(letter["file"], letter["number"]) for letter in again] == [
        (str(folder / name), n) for name in ("0.jl", "1.jl.gz") for n in (301, 501)
    ]
    assert verify(report.manifest)[0] == []
    everything = [r["id"] for rs in delivered(tmp_path / "out").values() for r in rs]
    assert sorted(everything) == sorted([n for n in range(600) if n not in (300, 500)] * 2)

    twice = exporters_beam.replay(told, [first.dead_letters["name"]])
    assert {name: p.read_bytes() for name, p in visible(tmp_path / "out").items()} == {
        name: p.read_bytes() for name, p in after.items()
    }
    assert twice.written == 24

    mended = tmp_path / "mended.jl"
    lines = Path(report.dead_letters["name"]).read_text().splitlines()
    told_again = [json.loads(line) for line in lines]
    told_again[0]["text"] = '{"id": 300, "v": 1, "g": "z"}'
    told_again[2]["record"] = {"id": 300, "v": 1, "g": "z"}
    mended.write_text("\n".join(json.dumps(letter) for letter in (told_again[0], told_again[2])))
    last = exporters_beam.replay(told, [mended])
    assert (last.written, last.dead_letters) == (2, {})
    assert [record["double"] for rs in delivered(tmp_path / "out").values() for record in rs if record["id"] == 300] == [2, 2]


def test_a_step_that_is_gone_is_passed_over_in_a_replay(folder, tmp_path):
    first = exporters_beam.run(config(folder, tmp_path / "out", on_error="dead_letter", **STEPS))
    report = exporters_beam.replay(config(folder, tmp_path / "out", on_error="dead_letter"), [first.dead_letters["name"]])
    assert (report.read, report.written) == (28, 24)


def test_a_replay_that_may_not_fail_delivers_nothing_when_it_does(folder, tmp_path):
    first = exporters_beam.run(config(folder, tmp_path / "out", on_error="dead_letter", **STEPS))
    before = set(visible(tmp_path / "out"))
    with pytest.raises(exporters_beam.ExportError, match=r"0\.jl: record 8: transform: TypeError"):
        exporters_beam.replay(config(folder, tmp_path / "out", **STEPS), [first.dead_letters["name"]])
    assert set(visible(tmp_path / "out")) == before


def test_letters_that_are_wrong_are_refused_in_one_sentence(folder, tmp_path, capsys):
    first = exporters_beam.run(config(folder, tmp_path / "out", on_error="dead_letter", **STEPS))
    own, other = tmp_path / "own.json", tmp_path / "other.json"
    own.write_text(json.dumps(config(folder, tmp_path / "out", on_error="dead_letter", **STEPS)))
    other.write_text(json.dumps(config(tmp_path, tmp_path / "out", on_error="dead_letter", **STEPS)))
    letters = first.dead_letters["name"]
    empty = tmp_path / "empty.jl"
    empty.write_text("\n")
    lines = Path(letters).read_text().splitlines()
    broken = tmp_path / "broken.jl"
    broken.write_text(lines[0] + "\n" + lines[1][:50])
    step = tmp_path / "step.jl"
    step.write_text(json.dumps({**json.loads(lines[0]), "step": "nothing"}))
    gone = tmp_path / "gone.jl"
    gone.write_text(json.dumps({k: v for k, v in json.loads(lines[0]).items() if k != "record"}))
    for told, file, text in (
        (other, letters, "these dead letters are those of another export, "),
        (own, str(folder / "0.jl"), f"{folder / '0.jl'}:1: this is not a dead letter: it has no export, step, file"),
        (own, str(tmp_path / "none.jl"), "the dead letters cannot be read: No such file"),
        (own, str(empty), "there are no dead letters in this file"),
        (own, str(broken), f"{broken}:2: this is not a dead letter: "),
        (own, str(step), f"{step}:1: 'nothing' is not a step; there are deserializer, "),
        (own, str(gone), "it has no record that could be sent on; give one under `record`"),
    ):
        capsys.readouterr()
        assert main(["replay", str(told), file]) == 2
        said = capsys.readouterr().err.strip()
        assert text in said and said.count("\n") == 0 and said.startswith("error: ")


def test_values_that_json_has_no_form_for_come_back_as_they_were():
    record = {
        "price": Decimal("1.50"), "day": datetime.date(2024, 2, 29), "at": datetime.datetime(2024, 2, 29, 12, 0, 0, 7),
        "raw": b"\x00\xff", "n": 2**70, "nan": float("inf"), "half": "\ud800", "like": {"$decimal": "2"},
        "deep": [{"x": [Decimal("1")]}], "t": datetime.time(1, 2, 3),
    }  # fmt: skip
    line = json.loads(staged(Failure((Unit(0, "f"), 0, 0), "f", "transform", "it failed", record)))
    letter = {"export": "e", "file": "f", "number": 1, **line}
    assert read_letter(json.dumps(letter))[1] == record


def test_a_touched_file_of_dead_letters_is_noticed(folder, tmp_path):
    report = exporters_beam.run(config(folder, tmp_path / "out", on_error="dead_letter", **STEPS))
    path = Path(report.dead_letters["name"])
    path.write_bytes(path.read_bytes().replace(b'"id": 7', b'"id": 8'))
    assert [text for text in verify(report.manifest)[0] if "its content has changed" in text]
    path.unlink()
    assert verify(report.manifest)[0] == [f"{path}: No such file or directory"]


def test_letters_go_where_the_config_says_and_a_replay_replaces_none(folder, tmp_path):
    on_error = {"action": "dead_letter", "file": f"{tmp_path}/letters/%Y.jl"}
    told = config(folder, tmp_path / "out", on_error=on_error, **STEPS)
    first = exporters_beam.run(told)
    path = Path(first.dead_letters["name"])
    assert path == tmp_path / "letters" / f"{datetime.date.today():%Y}.jl"
    before = path.read_bytes()
    again = exporters_beam.replay(told, [path])
    assert path.read_bytes() == before
    assert re.fullmatch(r"\d{4}\.replay-[0-9a-f]{8}\.jl", Path(again.dead_letters["name"]).name)
    assert sorted(p.name for p in path.parent.iterdir()) == sorted([path.name, Path(again.dead_letters["name"]).name])


# The config


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"on_error": "dead_leter"}, r'on_error: "dead_leter" is not one of the choices; did you mean "dead_letter"\?'),
        ({"on_error": {"action": "stop"}}, r'on_error\.action: the string "stop" is not one of the choices'),
        ({"on_error": {"max_rate": 5}}, r"on_error\.max_rate: 5 is too large: it is a share of the records, 0 to 1"),
        ({"on_error": {"max_recrods": 5}}, r'on_error\.max_recrods: unknown option; did you mean "max_records"\?'),
        ({"on_error": 5}, r"on_error: wrong type: found 5, expected one of fail, skip, dead_letter, or a mapping"),
        ({"transform": {"name": "none", "on_error": "skp"}},
         r'transform\.on_error: "skp" is not one of the choices; did you mean "skip"'),
        ({"on_error": "dead_letter", "writer": {"name": "memory", "options": {"filebase": "x"}}},
         r"on_error\.file: say where dead letters go: this writer has no folder for them"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_on_error_is_told_before_anything_starts(sections, message, tmp_path):
    with pytest.raises(exporters_beam.ConfigError, match=message):
        exporters_beam.run(config(tmp_path, tmp_path / "out", **sections))


def test_the_preview_shows_what_fails_and_goes_on(folder, tmp_path, capsys):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(config(folder, tmp_path / "out", on_error="skip", **STEPS)))
    assert main(["preview", "-n", "20", str(path)]) == 0
    out = capsys.readouterr().out
    assert f"failed (skip): {folder}/0.jl: record 8: transform: TypeError" in out
    assert f"failed (skip): {folder}/0.jl: record 14: grouper: AttributeError" in out


def test_explain_says_what_becomes_of_failures(folder, tmp_path, capsys):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(config(folder, tmp_path / "out", on_error={"action": "skip", "max_records": 3}, **STEPS)))
    assert main(["explain", str(path)]) == 0
    out = capsys.readouterr().out
    assert "fails at deserializer or transform or grouper or formatter is dropped, and counted" in out
    assert "nothing is delivered before all is staged and its failed records are counted" in out


# The page


def test_the_page_shows_what_happens(tmp_path, monkeypatch, capsys):
    """Every command of docs/failures.md in order; what it prints holds the lines that the page shows."""
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8")
    for name, block in re.findall(r"^```(?:json|yaml) (\S+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        Path(name).write_text(block, encoding="utf-8")
    shown = 0
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for command, lines in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", block, re.MULTILINE):
            if command.startswith("exporters-beam "):
                words = [w for word in shlex.split(command)[1:] for w in sorted(map(str, Path().glob(word))) or [word]]
                assert main(words) == 0
                out = capsys.readouterr().err
            else:
                out = subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout
            for line in lines.splitlines():
                pattern = ".*".join(map(re.escape, line.split("…")))
                assert re.search(f"^{pattern}$", out, re.MULTILINE), (command, line, out)
                shown += 1
    assert shown == 9
