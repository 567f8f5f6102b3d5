"""An export that is killed goes on where it was: nothing lost, nothing twice, the same bytes."""

from __future__ import annotations

import gzip
import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import exporters_beam
from exporters_beam.readers.random import RandomReader
from exporters_beam.staging.books import locked
from exporters_beam.staging.listing import listed_before

from helpers import hidden, visible, write_gz

CHILD = Path(__file__).with_name("child.py")

SHAPES = {
    "plain": {},
    "grouped": {"grouper": {"name": "file_key", "options": {"keys": ["g"]}}},
    "parquet": {"formatter": {"name": "parquet"}, "grouper": {"name": "file_key", "options": {"keys": ["g"]}}},
    "dupe": {"filter_before": {"name": "dupe", "options": {"key_field": "key"}}},
}


def config(folder: Path, out: Path, shape: str = "plain") -> dict:
    return {
        "reader": {"name": "fs", "options": {"input": {"dir": str(folder)}}},
        "writer": {"name": "fs", "options": {"filebase": f"{out}/part-"}},
        **SHAPES[shape],
    }


def child(asked: dict, **more) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(CHILD), json.dumps(asked)], capture_output=True, text=True, timeout=120, **more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    rng = random.Random(3)
    place = tmp_path_factory.mktemp("source")
    for n in range(3):
        write_gz(place / f"{n}.jl.gz", [{"id": 400 * n + i, "g": rng.choice("abc"), "key": rng.randrange(500), "t": "x" * 40}
                                        for i in range(400)])  # fmt: skip
    return place


@pytest.fixture(scope="module")
def undisturbed(folder, tmp_path_factory) -> dict[str, dict[str, bytes]]:
    found = {}
    for shape in SHAPES:
        out = tmp_path_factory.mktemp("undisturbed") / "out"
        assert child({"config": config(folder, out, shape), "small": True}).returncode == 0
        found[shape] = {name: path.read_bytes() for name, path in visible(out).items()}
    return found


def bytes_of(out: Path) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in visible(out).items()} if out.exists() else {}


# The kill-step of suite.py kills each shape at further calls, and its kill-random at any moment.
@pytest.mark.parametrize(("shape", "call", "nth"), [
    ("plain", "fsync", 1), ("plain", "replace", 2), ("grouped", "rename", 6), ("grouped", "replace", 3),
    ("parquet", "replace", 3), ("dupe", "rename", 1),
])  # fmt: skip
def test_killed_at_a_commit_and_resumed(shape, call, nth, folder, undisturbed, tmp_path):
    out = tmp_path / "out"
    asked = {"config": config(folder, out, shape), "small": True}
    killed = child({**asked, "fault": {"call": call, "nth": nth, "how": "kill"}})
    assert killed.returncode == -signal.SIGKILL
    delivered = bytes_of(out)
    assert all(undisturbed[shape][name] == data for name, data in delivered.items())
    again = child({**asked, "resume": True})
    assert again.returncode == 0, again.stderr
    assert bytes_of(out) == undisturbed[shape]
    assert [Path(name).name for name in hidden(out)] == ["manifest.json"]


def test_committed_ranges_are_not_read_again(folder, undisturbed, tmp_path):
    out = tmp_path / "out"
    asked = {"config": config(folder, out), "small": True}
    child({**asked, "fault": {"call": "rename", "nth": 6, "how": "kill"}})
    told = json.loads(child({**asked, "resume": True}).stdout)
    assert told["counts"]["read"] == 1200
    assert 300 < told["resumed"] < 1200


def test_a_run_without_resume_begins_again(folder, undisturbed, tmp_path):
    out = tmp_path / "out"
    asked = {"config": config(folder, out), "small": True}
    child({**asked, "fault": {"call": "rename", "nth": 6, "how": "kill"}})
    told = json.loads(child(asked).stdout)
    assert told["resumed"] == 0
    assert bytes_of(out) == undisturbed["plain"]


def test_another_config_is_not_resumed_and_told_what_changed(folder, tmp_path):
    out = tmp_path / "out"
    asked = {"config": config(folder, out), "small": True}
    child({**asked, "fault": {"call": "rename", "nth": 5, "how": "kill"}})
    changed = config(folder, out)
    changed["writer"]["options"]["compression"] = "bz2"
    done = child({"config": changed, "small": True, "resume": True})
    assert done.returncode == 2
    assert 'writer.options.compression was null and is "bz2"' in done.stderr


def test_changed_input_is_not_resumed_and_told_what_changed(tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    for n in range(3):
        write_gz(folder / f"{n}.jl.gz", [{"id": i, "t": "x" * 40} for i in range(400)])
    asked = {"config": config(folder, out), "small": True}
    child({**asked, "fault": {"call": "rename", "nth": 5, "how": "kill"}})
    write_gz(folder / "0.jl.gz", [{"id": 1}])
    write_gz(folder / "1.jl.gz", [{"id": 1}])
    write_gz(folder / "2.jl.gz", [{"id": 1}])
    done = child({**asked, "resume": True})
    assert done.returncode == 2
    assert "the input has changed since the run that was broken off: changed: " in done.stderr
    assert all(f"{folder}/{n}.jl.gz" in done.stderr for n in range(3))


def test_the_random_reader_makes_what_the_killed_run_would_have_made(tmp_path):
    """Without a seed each run draws its own; what is drawn stands in the books."""
    out = tmp_path / "out"
    reader = {"name": "exporters.readers.random_reader.RandomReader", "options": {"number_of_items": 25_000}}
    asked = {"config": {**config(tmp_path, out), "reader": reader}, "small": True}
    killed = child({**asked, "fault": {"call": "rename", "nth": 2, "how": "kill"}})
    assert killed.returncode == -signal.SIGKILL
    (books,) = (out / ".exporters").glob("*")
    drawn = listed_before(str(books))[0].etag.removeprefix("25000-")
    again = child({**asked, "resume": True})
    assert again.returncode == 0, again.stderr
    assert 0 < json.loads(again.stdout)["resumed"] < 25_000
    undisturbed = RandomReader(number_of_items=25_000, seed=int(drawn))
    (unit,) = undisturbed.units()
    delivered = [json.loads(line) for _, path in sorted(visible(out).items()) for line in gzip.open(path)]
    assert delivered == [record for _, records in undisturbed.read(unit, 0) for record in records]


def test_there_is_nothing_to_resume(folder, undisturbed, tmp_path):
    done = child({"config": config(folder, tmp_path / "out"), "small": True, "resume": True})
    assert done.returncode == 0
    assert "there is nothing to resume" in done.stderr
    assert bytes_of(tmp_path / "out") == undisturbed["plain"]


def test_an_export_that_is_complete_writes_nothing_new(folder, tmp_path):
    asked = {"config": config(folder, tmp_path / "out")}
    first = child(asked)
    before = {path: path.stat().st_mtime_ns for path in visible(tmp_path / "out").values()}
    again = child({**asked, "resume": True})
    assert (first.returncode, again.returncode) == (0, 0)
    assert json.loads(again.stdout)["counts"] == json.loads(first.stdout)["counts"]
    assert {path: path.stat().st_mtime_ns for path in visible(tmp_path / "out").values()} == before


def test_of_two_runs_at_once_one_wins_and_the_other_says_so(folder, tmp_path):
    from exporters_beam.config import spec
    from exporters_beam.planning.place import books_of
    from exporters_beam.planning.plan import make

    plan = make(spec.load(config(folder, tmp_path / "out")))
    with (
        locked(books_of(plan).folder),
        pytest.raises(exporters_beam.DestinationError, match=r"another run of this export is under way \(process \d+ on"),
    ):
        exporters_beam.run(config(folder, tmp_path / "out"))
    assert exporters_beam.run(config(folder, tmp_path / "out")).written == 1200
