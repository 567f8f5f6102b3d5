"""Records that are sent in batches: each once, in order, whatever happens in between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from folder_target import FolderTarget, there

import exporters_beam
from exporters_beam.errors import ExportError
from exporters_beam.reporting.verify import verify

from helpers import jsonl

TARGET = "folder_target:FolderTarget"


@pytest.fixture(autouse=True)
def _books(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "out").mkdir()


def config(tmp_path: Path, records: list[Any] | None = None, **sections: Any) -> dict[str, Any]:
    if records is not None:
        (tmp_path / "in.jl").write_bytes(jsonl(records))
    options = {"folder": str(tmp_path / "out"), "items_per_buffer_write": 10, **sections.pop("options", {})}
    return {
        "reader": {"name": "fs", "options": {"input": str(tmp_path / "in.jl")}},
        "writer": {"name": TARGET, "options": options},
        **sections,
    }


def command(tmp_path: Path, what: str, told: dict[str, Any], *args: str) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(told))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((*sys.path, str(Path(__file__).parent)))}
    return subprocess.run([sys.executable, "-m", "exporters_beam", what, str(path), *args], env=env, text=True,
                          capture_output=True, timeout=120)  # fmt: skip


NUMBERED = [{"id": n} for n in range(35)]


def test_all_records_arrive_in_order_in_batches(tmp_path: Path) -> None:
    report = exporters_beam.run(config(tmp_path, NUMBERED))
    assert there(tmp_path / "out") == NUMBERED
    (target,) = report.targets
    assert (target["name"], target["batches"], target["records"]) == (f"folder://{tmp_path}/out", 4, 35)
    assert report.counts["written"] == 35 and not report.files
    notes = (tmp_path / "out" / "notes").read_text().split("\n")
    assert notes[0] == f"begun {target['delivery']}" and "complete 4 35" in notes
    assert "4 batches to folder://" in report.summary()


def test_values_keep_their_types_on_the_way(tmp_path: Path) -> None:
    values = {"d": Decimal("1.50"), "t": date(2026, 1, 2), "n": None, "l": [1, {"a": 2.5}], "big": 1 << 70}
    exporters_beam.run({"reader": {"name": "memory", "options": {"records": [values]}},
                        "writer": {"name": TARGET, "options": {"folder": str(tmp_path / "out")}}})  # fmt: skip
    (found,) = there(tmp_path / "out")
    assert found == {**values, "d": "1.50", "t": "2026-01-02"}  # as this target writes decimals and dates


def test_the_same_export_again_changes_nothing_and_another_delivery_sends_it_again(tmp_path: Path) -> None:
    exporters_beam.run(config(tmp_path, NUMBERED))
    exporters_beam.run(config(tmp_path))
    assert there(tmp_path / "out") == NUMBERED
    exporters_beam.run(config(tmp_path, options={"delivery_id": "again"}))
    assert len(there(tmp_path / "out")) == 70


def test_other_records_under_the_same_delivery_are_refused(tmp_path: Path) -> None:
    exporters_beam.run(config(tmp_path, NUMBERED))
    (path,) = (tmp_path / "out").glob("*-0002.json")
    path.write_text(path.read_text().replace('"checksum": "', '"checksum": "0'))
    with pytest.raises(ExportError, match=r"batch 2 of this delivery .* sent before with other records.*`delivery_id`"):
        exporters_beam.run(config(tmp_path))


@pytest.mark.parametrize(("moment", "ledger"), [("after-2", True), ("kill-2", True), ("after-2", False)])
def test_killed_and_resumed(tmp_path: Path, moment: str, ledger: bool) -> None:
    told = config(tmp_path, [{"id": n, "bad": n == 7} for n in range(35)], options={"ledger": ledger},
                  on_error={"action": "dead_letter", "file": str(tmp_path / "letters.jl")})  # fmt: skip
    (tmp_path / "out" / moment).touch()
    assert command(tmp_path, "run", told, "--workers", "1").returncode != 0
    done = command(tmp_path, "run", told, "--workers", "1", "--resume", "--report", str(tmp_path / "report.json"))
    assert done.returncode == 0, done.stderr
    twice = 0 if ledger or moment == "kill-2" else 10  # without a ledger: what was sent and not noted comes again
    assert len(there(tmp_path / "out")) == 34 + twice
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["counts"]["written"] == 34 and report["counts"]["writer.dead_lettered"] == 1
    (letter,) = map(json.loads, (tmp_path / "letters.jl").read_text().splitlines())
    assert (letter["number"], letter["step"], letter["message"]) == (8, "writer", "it is bad")
    assert command(tmp_path, "run", told, "--resume").stderr.count("complete already") == 1


def test_a_target_that_is_away_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exporters_beam.engine.sending.FIRST_WAIT", 0.01)
    (tmp_path / "out" / "away-3").touch()
    exporters_beam.run(config(tmp_path, NUMBERED))
    assert there(tmp_path / "out") == NUMBERED
    (tmp_path / "out" / "away-3").touch()
    with pytest.raises(ExportError, match="the folder is away"):
        exporters_beam.run(config(tmp_path, NUMBERED[:5], exporter_options={"disable_retries": True}))


def test_a_refused_record_ends_the_export_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"in\.jl: record 13: writer: it is bad"):
        exporters_beam.run(config(tmp_path, [{"id": n, "bad": n == 12} for n in range(20)]))
    assert len(there(tmp_path / "out")) == 10


def test_refused_records_become_letters_that_are_sent_again(tmp_path: Path) -> None:
    letters = tmp_path / "letters.jl"
    told = config(tmp_path, [{"id": n, "bad": n % 5 == 1} for n in range(20)], filter={"name": "pythonexp", "options": {
        "python_expression": "item['id'] != 3"}}, on_error={"action": "dead_letter", "file": str(letters)})  # fmt: skip
    report = exporters_beam.run(told)
    assert (report.written, report.counts["writer.dead_lettered"]) == (15, 4)
    found = [json.loads(line) for line in letters.read_text().splitlines()]
    assert [(letter["number"], letter["record"]["id"]) for letter in found] == [(2, 1), (7, 6), (12, 11), (17, 16)]
    assert not verify(report.manifest, None, FolderTarget(folder=str(tmp_path / "out")).count)[0]
    for letter in found[1:]:
        letter["record"]["bad"] = False
    letters.write_bytes(jsonl(found))
    done = command(tmp_path, "replay", told, str(letters))
    assert done.returncode == 0, done.stderr
    assert sorted(record["id"] for record in there(tmp_path / "out")) == [n for n in range(20) if n not in (1, 3)]


@pytest.mark.parametrize("texts", [False, True])
@pytest.mark.parametrize("filtered", [None, "filter_before", "filter_after"])
@pytest.mark.parametrize("limit", [0, 61])
def test_letters_name_the_record_whatever_was_left_out_before_it(
    tmp_path: Path, texts: bool, filtered: str | None, limit: int
) -> None:
    """Blank lines, what cannot be decoded and what filters drop leave gaps; blocks and batches end anywhere."""
    lines = []
    for n in range(90):
        lines += [b"", b"{nonsense"] if n % 17 == 3 else []
        lines.append(json.dumps({"id": n, "at": len(lines) + 1, "bad": n % 7 == 2}).encode())
    (tmp_path / "in.jl").write_bytes(b"\n".join(lines))
    letters = tmp_path / "letters.jl"
    keeps = {"name": "pythonexp", "options": {"python_expression": "item['id'] % 3 > 0"}}
    sections = {"on_error": {"action": "dead_letter", "file": str(letters)}, **({filtered: keeps} if filtered else {})}
    told = config(tmp_path, None, options={"texts": texts, "items_limit": limit}, **sections)
    report = exporters_beam.run(told)
    kept = [n for n in range(90) if not filtered or n % 3 > 0][: limit or None]
    assert [record["id"] for record in there(tmp_path / "out")] == [n for n in kept if n % 7 != 2]
    refused = [letter for letter in map(json.loads, letters.read_text().splitlines()) if letter["step"] == "writer"]
    assert [(letter["number"], letter["record"]["id"]) for letter in refused] == [
        (letter["record"]["at"], n) for letter, n in zip(refused, [n for n in kept if n % 7 == 2], strict=True)
    ]
    assert report.written == len([n for n in kept if n % 7 != 2])


def test_the_writer_has_its_own_on_error(tmp_path: Path) -> None:
    told = config(tmp_path, [{"id": n, "bad": n == 1} for n in range(3)])
    told["writer"]["on_error"] = "skip"
    assert exporters_beam.run(told).counts["writer.skipped"] == 1
    told["writer"] = {"name": "fs", "options": {"filebase": str(tmp_path / "files/x")}, "on_error": "skip"}
    with pytest.raises(exporters_beam.ConfigError, match=r"writer\.on_error: fs delivers files, and no record fails there"):
        exporters_beam.run(told)


def test_more_refusals_than_allowed_end_the_export(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"refused 3 records; on_error.max_records allows 2; for example .*in.jl: record 1: "):
        exporters_beam.run(config(tmp_path, [{"id": n, "bad": True} for n in range(3)],
                                  on_error={"action": "skip", "max_records": 2}))  # fmt: skip


def test_several_batches_at_once(tmp_path: Path) -> None:
    records = [{"id": n} for n in range(300)]
    exporters_beam.run(config(tmp_path, records, options={"concurrency": 4}))
    assert there(tmp_path / "out") == records


def test_limits_and_no_records(tmp_path: Path) -> None:
    report = exporters_beam.run(config(tmp_path, NUMBERED, options={"items_limit": 13}))
    assert there(tmp_path / "out") == NUMBERED[:13]
    report = exporters_beam.run(config(tmp_path, []))
    assert report.targets[0]["batches"] == 0 and "complete 0 0" in (tmp_path / "out" / "notes").read_text()


def test_verify_counts_again(tmp_path: Path) -> None:
    report = exporters_beam.run(config(tmp_path, NUMBERED))
    told = config(tmp_path)
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(told))
    done = command(tmp_path, "verify", told, report.manifest)
    next((tmp_path / "out").glob("*-0001.json")).unlink()
    wrong, _ = verify(report.manifest, None, FolderTarget(folder=str(tmp_path / "out")).count)
    assert wrong == [f"folder://{tmp_path}/out: 25 records of this delivery are there, 35 were sent"]
    assert done.returncode == 2  # the config is no manifest


def test_check_looks_and_writes_nothing(tmp_path: Path) -> None:
    told = config(tmp_path, NUMBERED)
    done = command(tmp_path, "check", told)
    assert (done.returncode, done.stdout) == (0, f"reader fs: ok\nwriter {TARGET}: ok\n")
    told["writer"]["options"]["folder"] = "gone"
    done = command(tmp_path, "check", told)
    assert done.returncode == 1
    assert done.stderr == f"error: writer {TARGET}: option folder: gone is not there; make it first\n"


def test_sections_of_files_are_refused(tmp_path: Path) -> None:
    told = config(tmp_path, NUMBERED, formatter={"name": "json"}, grouper={"name": "file_key", "options": {"keys": ["id"]}})
    with pytest.raises(
        exporters_beam.ConfigError, match=r"grouper: .* sends records, which have no groups; leave this section out"
    ) as error:
        exporters_beam.run(told)
    assert "formatter: folder_target:FolderTarget sends records, and writes no files" in str(error.value)


def test_what_is_listed_once_is_read_to_its_end_as_it_was(tmp_path: Path) -> None:
    queue = tmp_path / "queue"
    queue.write_text("".join(f"{n}\n" for n in range(25)))
    told = {"reader": {"name": "folder_target:Queue", "options": {"path": str(queue)}},
            "writer": {"name": TARGET, "options": {"folder": str(tmp_path / "out"), "items_per_buffer_write": 10}}}  # fmt: skip
    (tmp_path / "out" / "kill-1").touch()
    assert command(tmp_path, "run", told, "--workers", "1").returncode != 0
    with queue.open("a") as file:
        file.write("25\n26\n")
    done = command(tmp_path, "run", told, "--workers", "1", "--resume")
    assert done.returncode == 0, done.stderr
    assert [record["id"] for record in there(tmp_path / "out")] == [*range(25)]


def test_what_a_reader_cannot_decode_is_a_letter(tmp_path: Path) -> None:
    queue, letters = tmp_path / "queue", tmp_path / "letters.jl"
    queue.write_text("1\nx\n3\n")
    told = {"reader": {"name": "folder_target:Queue", "options": {"path": str(queue)}},
            "writer": {"name": "fs", "options": {"filebase": f"{tmp_path}/files/part-", "compression": "none"}},
            "on_error": {"action": "dead_letter", "file": str(letters)}}  # fmt: skip
    report = exporters_beam.run(told)
    (letter,) = map(json.loads, letters.read_text().splitlines())
    assert (report.written, letter["text"], letter["message"], letter["file"]) == (2, "x", "x is no number", "queue[0]")
    letters.write_bytes(jsonl([{**letter, "text": "2"}]))
    done = command(tmp_path, "replay", told, str(letters))
    assert done.returncode == 0, done.stderr
    (made,) = (tmp_path / "files").glob("*replay*")
    assert made.read_text() == '{"id":2}\n'
    told.pop("on_error")
    with pytest.raises(ExportError, match=r"queue\[0\]: record 2: deserializer: x is no number"):
        exporters_beam.run(told)


def test_explain_says_that_records_are_staged(tmp_path: Path) -> None:
    done = command(tmp_path, "explain", config(tmp_path, NUMBERED))
    assert "records, staged as blocks" in done.stdout, done.stderr
