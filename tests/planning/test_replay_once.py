"""Each dead letter is delivered once, however often and in whatever parts letters are sent in."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam.reporting.verify import verify
from exporters_beam.staging.books import locked

from helpers import delivered, hidden, jsonl, visible

BAD = 6


def fans_out(record: Any) -> Iterator[Any]:
    """Three records of each, of which the last fails the filter behind."""
    for n in range(3):
        yield {**record, "n": n}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    records = [{"id": i, **({} if i < BAD else {"price": i})} for i in range(20)]
    (tmp_path / "in.jl").write_bytes(jsonl(records))
    return tmp_path


BROKEN = "item.update(gross=item['price'] * 2)"
MENDED = "item.update(gross=item.get('price', 0) * 2)"
HALF = "item.update(gross=item.get('price', 0) * 2 if item['id'] % 2 else item['price'])"


def config(place: Path, expression: str = MENDED, **more: Any) -> dict[str, Any]:
    return {
        "reader": {"name": "fs", "options": {"input": str(place / "in.jl")}},
        "transform": {"name": "pythonexp", "options": {"python_expressions": [expression]}},
        "writer": {"name": "fs", "options": {"filebase": f"{place}/out/part-", "compression": "none"}},
        "on_error": "dead_letter",
        **more,
    }


@pytest.fixture
def letters(place: Path) -> list[str]:
    report = exporters_beam.run(config(place, BROKEN))
    assert report.dead_letters["records"] == BAD
    return Path(report.dead_letters["name"]).read_text().splitlines()


def send(place: Path, *parts: list[str], told: dict[str, Any] | None = None) -> Any:
    paths = []
    for n, part in enumerate(parts):
        path = place / f"letters-{n}-{random.Random(repr(part)).getrandbits(40)}.jl"
        path.write_text("".join(line + "\n" for line in part))
        paths.append(path)
    return exporters_beam.replay(told or config(place), paths)


def counts(place: Path) -> Counter[int]:
    return Counter(record["id"] for records in delivered(place / "out").values() for record in records)


ONCE = Counter(range(20))


def test_the_same_letters_in_other_files_and_another_order(place: Path, letters: list[str], caplog: Any) -> None:
    assert send(place, letters).written == BAD
    files = visible(place / "out")
    assert send(place, letters).written == BAD and "the export is complete already" in caplog.text
    assert send(place, letters[::-1]).written in (0, BAD)
    assert send(place, letters[:2], letters[2:]).written in (0, BAD)
    assert send(place, [json.dumps(json.loads(letters[0]), indent=None, sort_keys=True)]).written == 0
    assert "1 of 1 letters were delivered by a replay before and are not sent in again" in caplog.text
    assert visible(place / "out") == files and counts(place) == ONCE


def test_a_part_and_then_all(place: Path, letters: list[str]) -> None:
    assert send(place, letters[:2]).written == 2
    assert send(place, letters[1:4]).written == 2
    last = send(place, letters)
    assert (last.read, last.written) == (2, 2)
    assert counts(place) == ONCE
    for manifest in (place / "out").glob(".exporters/*/manifest.json"):
        assert verify(str(manifest))[0] == []


def test_lines_that_come_twice(place: Path, letters: list[str]) -> None:
    assert send(place, letters + letters[::-1], letters[:3]).written == BAD
    assert counts(place) == ONCE


def test_a_mended_letter_is_the_same_letter(place: Path, letters: list[str]) -> None:
    mended = json.loads(letters[0])
    mended["record"]["price"] = 5
    with pytest.raises(exporters_beam.ConfigError, match=r"letter 2 and letter 1 of \S+ are both of \S+in\.jl: record 1: "
                                                         r"transform, and say different things; give one of them"):  # fmt: skip
        send(place, [letters[0], json.dumps(mended)])
    assert send(place, [json.dumps(mended)]).written == 1
    assert send(place, letters).written == BAD - 1
    assert counts(place) == ONCE


def test_letters_that_fail_again(place: Path, letters: list[str]) -> None:
    """They are the same letters, in the new file and in the old one."""
    half = config(place, HALF)
    first = send(place, letters, told=half)
    assert (first.written, first.dead_letters["records"]) == (3, 3)
    again = Path(first.dead_letters["name"]).read_text().splitlines()
    old = send(place, letters)
    assert (old.read, old.written) == (3, 3)
    send(place, again)
    assert counts(place) == ONCE


def test_letters_that_fail_again_from_the_new_file(place: Path, letters: list[str]) -> None:
    first = send(place, letters, told=config(place, HALF))
    again = Path(first.dead_letters["name"])
    assert exporters_beam.replay(config(place), [again]).written == 3
    assert send(place, letters).written == 0
    assert counts(place) == ONCE


def test_records_that_one_record_became(place: Path) -> None:
    fans = {"name": "python", "options": {"function": "test_replay_once:fans_out"}}
    picky = {"name": "pythonexp", "options": {"python_expression": "1 / (item['n'] - 1) < 9 and 1 / item['n'] < 9"}}
    told = config(place, transform=fans, filter_after=picky)
    first = exporters_beam.run(told)
    assert (first.written, first.dead_letters["records"]) == (20, 40)
    letters = Path(first.dead_letters["name"]).read_text().splitlines()
    fine = config(place, transform=fans, filter_after={"name": "pythonexp", "options": {"python_expression": "True"}})
    for part in (letters[:7], letters[5:20], letters, letters):
        send(place, part, told=fine)
    assert counts(place) == Counter(dict.fromkeys(range(20), 3))


def test_a_replay_that_was_killed_is_undone_whatever_is_sent_in_next(
    place: Path, letters: list[str], monkeypatch: Any, caplog: Any
) -> None:
    def killed(*_: Any) -> Any:
        raise MemoryError

    told = config(place, grouper={"name": "file_key", "options": {"keys": ["id"]}})
    with monkeypatch.context() as patch:
        patch.setattr("exporters_beam.engine.closing.WriteManifest.process", killed)
        with pytest.raises(exporters_beam.ExportError):
            send(place, letters[:4], told=told)
    assert counts(place).total() == 20 - BAD + 4  # published, and in no manifest
    assert send(place, letters[2:], told=told).written == 4
    assert "a replay was broken off before it was complete; what it had published is removed: " in caplog.text
    assert send(place, letters, told=told).written == 2
    assert counts(place) == ONCE
    assert {Path(name).name for name in hidden(place / "out")} == {"manifest.json", "dead-letters.jl"}


def test_of_two_replays_at_once_one_says_so(place: Path, letters: list[str]) -> None:
    origin = json.loads(letters[0])["reader"]
    with (
        locked(str(place / "out" / ".exporters" / f"replays-{origin}")),
        pytest.raises(exporters_beam.DestinationError, match="another run of this export is under way"),
    ):
        send(place, letters)
    assert send(place, letters).written == BAD
