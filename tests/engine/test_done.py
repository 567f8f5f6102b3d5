"""What customers see when an export is whole, and that they see it only then."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam.cli.main import main
from exporters_beam.config.spec import load
from exporters_beam.engine import closing
from exporters_beam.errors import ConfigError, DestinationError
from exporters_beam.planning.explain import text
from exporters_beam.planning.plan import make, make_each
from exporters_beam.reporting.verify import beside, verify
from exporters_beam.runners.own_output import refuse_own_output
from exporters_beam.writers.fs import FsWriter

from helpers import jsonl, write_gz

Run = Callable[..., Any]
DONE = {"success_file": "_SUCCESS", "manifest": "manifest.json"}
FILES = ["g=a/part-0000.jl", "g=b/part-0000.jl"]
ALL = ["_SUCCESS", *FILES, "manifest.json"]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def run(tmp_path: Path, out: Path) -> Run:
    """Runs an export of these records into folders by `g`; gives the report."""

    def go(records: int = 10, done: Any = DONE, resume: bool = False, **sections: Any) -> Any:
        source, data = tmp_path / "in.jl", jsonl([{"n": n, "g": "ab"[n % 2]} for n in range(records)])
        if not source.exists() or source.read_bytes() != data:
            source.write_bytes(data)
        config = {
            "reader": {"name": "fs", "options": {"input": str(tmp_path / "in.jl")}},
            "partition_by": ["g"],
            "done": done,
            "writer": {"name": "fs", "options": {"filebase": f"{out}/part-", "compression": "none"}},
            "exporter_options": {"resume": resume},
            **sections,
        }
        return exporters_beam.run({name: part for name, part in config.items() if part is not None})

    return go


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files in the order in which they were delivered."""
    names: list[str] = []
    publish = FsWriter.publish

    def noting(self: FsWriter, file: Any, fill: Any, scratch: str) -> Any:
        found = publish(self, file, fill, scratch)
        names.append(Path(found.name).name)
        return found

    monkeypatch.setattr(FsWriter, "publish", noting)
    return names


@contextmanager
def failing_at(nth: int) -> Iterator[None]:
    """The nth file cannot be delivered."""
    publish, left = FsWriter.publish, [nth]

    def failing(self: FsWriter, file: Any, fill: Any, scratch: str) -> Any:
        left[0] -= 1
        if not left[0]:
            raise DestinationError(f"cannot deliver {file.name}: No space left on device")
        return publish(self, file, fill, scratch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FsWriter, "publish", failing)
        yield


def bytes_of(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: found[name].read_bytes() for name in sorted(found) if ".exporters" not in name}


def test_a_manifest_for_customers_and_then_a_success_file(run: Run, out: Path, published: list[str], tmp_path: Path) -> None:
    report = run(writer={"name": "fs", "options": {"filebase": f"{out}/part-", "compression": "none", "generate_md5": True}})
    assert published[2:] == ["md5checksum.md5", "manifest.json", "_SUCCESS"]
    assert sorted(bytes_of(out)) == sorted([*ALL, "md5checksum.md5"]) and bytes_of(out)["_SUCCESS"] == b""
    told = json.loads((out / "manifest.json").read_text())
    checksum = told.pop("checksum")
    assert hashlib.sha256(json.dumps(told, sort_keys=True, ensure_ascii=False).encode()).hexdigest() == checksum
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", told.pop("time"))
    files = [{"name": name, "records": 5, "bytes": len(data := (out / name).read_bytes()),
              "md5": hashlib.md5(data).hexdigest(), "group": [name[2]]} for name in FILES]  # fmt: skip
    assert told == {"version": 1, "export": report.export_id, "records": 10, "bytes": sum(file["bytes"] for file in files),
                    "dead_letters": 0, "files": files}  # fmt: skip
    assert str(tmp_path) not in (out / "manifest.json").read_text()
    wrong, own = verify(report.manifest)
    assert wrong == [] and [*beside(report.manifest, own, [])] == []
    (out / "manifest.json").write_text("{}")
    assert "manifest.json: it has 2 bytes" in verify(report.manifest)[0][0]


@pytest.mark.parametrize("nth", [1, 3, 4])
def test_what_says_that_all_is_there_stands_only_where_all_is(nth: int, run: Run, out: Path) -> None:
    run(8)
    with failing_at(nth), pytest.raises(DestinationError, match="No space left"):
        run(10)
    there = bytes_of(out)
    assert "_SUCCESS" not in there and ("manifest.json" in there) == (nth == 4), "what an earlier run said is no longer true"
    report = run(10, resume=True)
    assert report.resumed == 10 and sorted(bytes_of(out)) == ALL and verify(report.manifest)[0] == []
    if nth == 4:
        assert bytes_of(out)["manifest.json"] == there["manifest.json"]


def test_a_run_that_is_killed_behind_it_says_the_same_again(run: Run, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch, pytest.raises(exporters_beam.ExportError):
        patch.setattr(closing, "write_whole", lambda path, text, what: (_ for _ in ()).throw(MemoryError()))
        run()
    before = bytes_of(out)
    assert sorted(before) == ALL
    assert verify(run(resume=True).manifest)[0] == [] and bytes_of(out) == before


@pytest.mark.slow
def test_a_run_that_fails_before_it_delivers_leaves_the_earlier_export_whole(run: Run, out: Path) -> None:
    run(8)
    before = bytes_of(out)
    with pytest.raises(exporters_beam.ExportError):
        run(10, transform={"name": "pythonexp", "options": {"python_expressions": ["item.update(x=1 / (9 - item['n']))"]}})
    with pytest.raises(DestinationError, match="nothing was delivered"):
        run(10, checks={"records": {"min": 11}, "on_fail": "hold"})
    assert bytes_of(out) == before


@pytest.mark.slow
def test_one_of_an_earlier_run_under_another_name_is_removed(run: Run, out: Path) -> None:
    run(done={"manifest": "manifest-1.json", "success_file": "_SUCCESS"})
    with failing_at(1), pytest.raises(DestinationError):
        run(8, done={"manifest": "manifest-2.json"})
    assert sorted(bytes_of(out)) == FILES
    run(8, done={"manifest": "manifest-2.json"})
    assert sorted(bytes_of(out)) == [*FILES, "manifest-2.json"]


def test_resume_makes_it_again_where_it_is_gone_or_asked_for(run: Run, out: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(done=None)
    run(resume=True)
    assert f"since then {out}/manifest.json is asked for, {out}/_SUCCESS is asked for; it is made again" in caplog.text
    assert sorted(bytes_of(out)) == ALL
    caplog.clear()
    run(resume=True)
    assert "complete already" in caplog.text
    (out / "_SUCCESS").unlink()
    run(resume=True)
    assert "_SUCCESS is gone or has changed" in caplog.text and sorted(bytes_of(out)) == ALL


@pytest.mark.slow
def test_an_export_of_nothing_is_whole_too(run: Run, out: Path) -> None:
    run(0)
    assert sorted(bytes_of(out)) == ["_SUCCESS", "manifest.json"]
    assert json.loads((out / "manifest.json").read_text())["files"] == []
    run(0, empty="file", partition_by=None)
    assert json.loads((out / "manifest.json").read_text())["files"][0]["name"] == "part-0000.jl"


def test_a_file_with_records_cannot_have_its_name(run: Run, out: Path) -> None:
    writer = {"name": "fs", "options": {"filebase": f"{out}/{{groups[0]}}", "compression": "none"}}
    by_name = {"name": "file_key", "options": {"keys": ["g"]}}
    with pytest.raises(DestinationError, match=r"out/b\.jl: .* the name of done\.manifest; nothing was delivered"):
        run(partition_by=None, grouper=by_name, writer=writer, done={"manifest": "b.jl"})
    assert bytes_of(out) == {}


def test_several_writers_say_it_each_for_itself(run: Run, tmp_path: Path, out: Path) -> None:
    def to(name: str, **more: Any) -> dict[str, Any]:
        return {"name": "fs", "as": name, "options": {"filebase": f"{out}/{name}/part-", "compression": "none"}, **more}

    writers = [to("one"), to("two", when="item['n'] < 4", done={"manifest": "daily/files.json"})]
    run(writer=None, writers=writers, partition_by=None)
    assert sorted(bytes_of(out)) == ["one/_SUCCESS", "one/manifest.json", "one/part-0000.jl", "two/daily/files.json",
                                     "two/part-0000.jl"]  # fmt: skip
    told = json.loads((out / "two/daily/files.json").read_text())
    assert told["records"] == 4 and told["files"][0]["name"] == "../part-0000.jl"
    (out / "one/_SUCCESS").unlink()
    (out / "one/_SUCCESS").mkdir()
    with pytest.raises(DestinationError, match=r"one.*cannot remove .*/one/_SUCCESS"):
        run(8, writer=None, writers=writers, partition_by=None)
    assert (out / "one/part-0000.jl").read_bytes().count(b"\n") == 10, "as it was before"
    assert not (out / "one/manifest.json").exists() and (out / "two/daily/files.json").exists()


def planned(**sections: Any) -> Any:
    writer = {"name": "fs", "options": {"filebase": "out/%Y/part-"}}
    return make(load({"reader": {"name": "fs", "options": {"input": "in"}}, "writer": writer, "done": DONE, **sections}))


def test_explain_tells_of_it() -> None:
    told = text(planned(done={"success_file": "ok/%H%%", "manifest": "m-%j.json"}))
    assert re.search(r"- done: when all files stand, out/\d{4}/m-\d{3}\.json, then out/\d{4}/ok/\d\d%; one of an earlier", told)


def test_an_export_does_not_read_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    reader = {"name": "fs", "options": {"input": {"dir": "d", "pattern": r"\.json$"}}}
    with pytest.raises(ConfigError, match=r"done\.manifest: files such as d/manifest\.json are among those"):
        refuse_own_output(planned(reader=reader, writer={"name": "fs", "options": {"filebase": "d/part-"}}))


def to_fs(**more: Any) -> dict[str, Any]:
    return {"name": "fs", "options": {"filebase": "out/a-", **more}}


MISTAKES = {
    "nothing": ({}, to_fs(), "done: name a success_file, a manifest, or both"),
    "no mapping": ("_SUCCESS", to_fs(), 'done: wrong type: found "_SUCCESS", expected a mapping'),
    "unknown": ({"sucess_file": "a"}, to_fs(), 'done.sucess_file: unknown option; did you mean "success_file"?'),
    "elsewhere": ({"manifest": "../m.json"}, to_fs(), 'done.manifest: "../m.json" is not a name below the folder of filebase'),
    "absolute": ({"manifest": "/m.json"}, to_fs(), 'done.manifest: "/m.json" is not a name below the folder of filebase'),
    "folder": ({"success_file": "ok/"}, to_fs(), 'done.success_file: "ok/" is not the name of a file'),
    "books": ({"manifest": ".exporters/m"}, to_fs(), "done.manifest: "),
    "group": ({"manifest": "{groups[0]}.json"}, to_fs(), "done.manifest: "),
    "the same": ({"manifest": "a", "success_file": "a"}, to_fs(), "done.success_file: out/a is the name of the manifest"),
    "checksums": ({"manifest": "md5checksum.md5"}, to_fs(generate_md5=True), "is the name of the file of checksums"),
    "console": (DONE, "console", "done: the writer console delivers no files to a place where customers look"),
    "records": (DONE, {"name": "rest_api", "options": {"url": "http://h/"}}, "done: the writer rest_api delivers no files"),
    "mail": (DONE, {"name": "mail", "options": {"emails": ["a@b.c"], "from": "a@b.c", "subject": "s"}}, "done: the writer"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_place(mistake: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done, writer, told = MISTAKES[mistake]
    config = {"reader": {"name": "fs", "options": {"input": "in"}}, "done": done, "writer": writer}
    (tmp_path / "c.json").write_text(json.dumps(config))
    assert main(["validate", str(tmp_path / "c.json")]) == 2
    assert told in capsys.readouterr().err


def test_two_writers_cannot_say_it_in_one_place() -> None:
    def made(writers: list[Any], done: Any = DONE) -> Any:
        return make_each(load({"reader": {"name": "fs", "options": {"input": "in"}}, "writers": writers, "done": done}))

    writers = [to_fs(), {**to_fs(), "as": "b", "options": {"filebase": "out/b-"}}]
    with pytest.raises(ConfigError, match=r"done\.manifest: writers\[0\] and writers\[1\] would both deliver out/man"):
        made(writers)
    console = [{"name": "rest_api", "options": {"url": "http://h/"}}]
    with pytest.raises(ConfigError, match="done: none of the writers delivers files"):
        made(console)
    with pytest.raises(ConfigError, match=r"writers\[0\]\.done: the writer rest_api delivers no files"):
        made([{**console[0], "done": DONE}], None)
    assert [plan.done for plan in made([*console, to_fs()])] == [(), (("manifest", "out/manifest.json"),
                                                                     ("success_file", "out/_SUCCESS"))]  # fmt: skip


@pytest.mark.slow
def test_a_replay_has_its_own(run: Run, out: Path, tmp_path: Path) -> None:
    wrong = {"name": "pythonexp", "options": {"python_expressions": ["item.update(x=1 / (9 - item['n']))"]}}
    letters = {"action": "dead_letter", "file": f"{tmp_path}/failed.jl"}
    run(transform=wrong, on_error=letters, done={"manifest": "meta/files.json", "success_file": "_SUCCESS"})
    told = json.loads((out / "meta/files.json").read_text())
    assert (told["records"], told["dead_letters"]) == (9, 1)
    config = {
        "reader": {"name": "fs", "options": {"input": f"{tmp_path}/in.jl"}},
        "partition_by": ["g"],
        "transform": "none",
        "on_error": letters,
        "done": {"manifest": "meta/files.json", "success_file": "_SUCCESS"},
        "writer": {"name": "fs", "options": {"filebase": f"{out}/part-", "compression": "none"}},
    }
    (tmp_path / "c.json").write_text(json.dumps(config))
    assert main(["replay", str(tmp_path / "c.json"), f"{tmp_path}/failed.jl", "--quiet"]) == 0
    names = [re.sub(r"replay-[0-9a-f]+", "replay-X", name) for name in bytes_of(out)]
    assert names == ["_SUCCESS", "_SUCCESS.replay-X", *FILES, "g=b/part-0000.replay-X.jl", "meta/files.json",
                     "meta/files.replay-X.json"]  # fmt: skip
    assert json.loads((out / "meta/files.json").read_text()) == told


def test_the_examples_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs/delivered.md").read_text()
    monkeypatch.chdir(tmp_path)
    write_gz(tmp_path / "items.jl.gz", [{"sku": n, "country": "DKSE"[n % 2 * 2 :][:2]} for n in range(3)])
    (tmp_path / "c.yaml").write_text(page.partition("```yaml\n")[2].partition("```")[0])
    assert main(["run", "c.yaml", "--quiet"]) == 0
    (folder,) = (tmp_path / "feeds").glob("2*")
    listed = page.partition("```\n\n```\n")[2].partition("```")[0].replace("2026-11-30", folder.name).split()
    assert sorted(f"feeds/{folder.name}/{name}" for name in bytes_of(folder)) == sorted(listed)
    shown = json.loads(page.partition("```json\n")[2].partition("```")[0])
    told = json.loads((folder / f"manifest-{folder.name}.json").read_text())
    assert [*told] == [*shown] and [[*file] for file in told["files"]] == [[*file] for file in shown["files"]]
    exec(page.partition("```python\n")[2].partition("```")[0].replace("FOLDER", repr(str(folder))), {})
