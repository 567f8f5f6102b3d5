"""A snapshot is delivered as what is different from the delivery before, and what was delivered makes up the snapshot."""

from __future__ import annotations

import json
import random
import shutil
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam import ConfigError, DestinationError
from exporters_beam.cli.main import main
from exporters_beam.config.spec import load
from exporters_beam.errors import ExportError, RecordError
from exporters_beam.planning.plan import make
from exporters_beam.staging.deltas import packed_rows, rows_of, write_state
from exporters_beam.transforms.delta import Told, record_hash, record_of

from examples import at_least
from helpers import delivered, jsonl, visible

Records = list[dict[str, Any]]

NAME = "out/%Y%m%d-%H%M%S%f/part-"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("exporters_beam.engine.graph.RANGE_BYTES", 300)
    monkeypatch.setattr("exporters_beam.formats.json_lines.PIECE", 100)
    return tmp_path


def config(**more: Any) -> dict[str, Any]:
    return {
        "reader": {"name": "fs", "options": {"input": {"dir": "in"}}},
        "delta": {"key": ["id", "at.place"]},
        "writer": {"name": "fs", "options": {"filebase": NAME, "compression": "none"}},
        **more,
    }


def put(records: Records) -> None:
    """A snapshot, in two files."""
    shutil.rmtree("in", ignore_errors=True)
    Path("in").mkdir()
    for n in range(2):
        Path(f"in/{n}.jl").write_bytes(jsonl(records[n::2]))


def run(records: Records, workers: int | None = None, **more: Any) -> tuple[dict[str, Any], Records]:
    """Deliver a snapshot: what the manifest tells of the deltas, and the records that were delivered."""
    put(records)
    report = exporters_beam.run(config(**more), workers=workers)
    return json.loads(Path(report.manifest).read_text()), [
        json.loads(line) for file in report.files for line in Path(file["name"]).read_bytes().splitlines()
    ]


def told(capsys: Any, *args: str) -> tuple[int, str]:
    capsys.readouterr()
    status = main([*args])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return status, out + err


def verified(capsys: Any, **more: Any) -> tuple[int, str]:
    Path("c.json").write_text(json.dumps(config(**more)))
    return told(capsys, "verify", "--delta", "c.json")


def key_of(record: dict[str, Any]) -> str:
    """The key of a record, written by hand: a name with a dot goes before a path."""
    place = record["at.place"] if "at.place" in record else record["at"]["place"]
    return json.dumps([record["id"], place], sort_keys=True)


KEYS = [1, "1", 0, "", "ä\u0301", "é", "\ud800", "\0decimal", [1, "1"], {"b": 1, "a": [None]}, 10**30, "x" * 300, -0.5, False]
VALUES = [None, 0, 1, 1.0, True, "1", "", [], {}, {"a": {"b": 1}}, [[1], [1.0]], "\u2028", 10**25, -0.0, 0.0]


def snapshot(rng: random.Random, before: Records) -> Records:
    """Some of the records of the snapshot before, some of them changed or in another order, and others."""
    found = {key_of(record): record for record in before if rng.random() < 0.7}
    for record in list(found.values()):
        if rng.random() < 0.3:
            found[key_of(record)] = dict(reversed([*record.items()])) | {"v": rng.choice(VALUES)}
    for _ in range(rng.randrange(30)):
        key = rng.choice([*KEYS[:-1], rng.randrange(2, 60), str(rng.randrange(60))])
        place = (
            {"at.place": rng.choice(["b", 1])} if rng.random() < 0.3 else {"at": {"place": rng.choice(["a", "a.b"]), "x": 1}}
        )
        record = {"id": key, **place, "v": rng.choice(VALUES), "t": "x" * rng.randrange(40)}
        found[key_of(record)] = record
    records = list(found.values())
    rng.shuffle(records)
    return records


def applied(state: dict[str, Any], deltas: Records) -> dict[str, Any]:
    """What a customer does who gets them."""
    state = dict(state)
    for record in deltas:
        change = record.pop("_change")
        if change == "deleted":
            del state[key_of(record)]
            continue
        assert (key_of(record) in state) == (change == "changed")
        state[key_of(record)] = record
    return state


def exact(records: Any) -> list[str]:
    return sorted(json.dumps(record, sort_keys=True) for record in records)


@pytest.mark.parametrize("seed", range(1, 1 + at_least(1)))
def test_deltas_applied_in_order_are_each_snapshot(seed, capsys):
    rng, records, state = random.Random(seed), [], {}
    for number in range(1, 7):
        records = [] if number == 5 else snapshot(rng, records)
        before = dict(state)
        manifest, deltas = run(records)
        state = applied(state, deltas)
        assert exact(state.values()) == exact(records)
        delta = manifest["delta"]
        assert delta["number"] == number and (delta["base"] or {}).get("number") == (number - 1 or None)
        same = {key for key in before.keys() & state.keys() if exact([before[key]]) == exact([state[key]])}
        assert delta["unchanged"] == len(same) and delta["deleted"] == len(before.keys() - state.keys())
        assert delta["new"] == len(state.keys() - before.keys()) and delta["state"]["keys"] == len(records)
        assert [unit["name"] for unit in manifest["units"]] == ["in/0.jl", "in/1.jl"]
    status, text = verified(capsys)
    assert (status, text.count("; proved record by record: ok\n")) == (0, 6), text


def many(numbers: range, **more: Any) -> Records:
    return [{"id": n, "at": {"place": "x"}, "t": "y" * (n % 7), **more} for n in numbers]


@pytest.mark.parametrize("form", [
    {"name": "csv", "options": {"fields": ["id", "t", "_change"]}},
    {"name": "parquet"},
])  # fmt: skip
def test_other_formats(form, capsys):
    sections = {"delta": {"key": ["id"]}, "formatter": form}
    assert exporters_beam_run(many(range(40)), **sections)["delta"]["new"] == 40
    delta = exporters_beam_run([*many(range(10, 40)), {"id": 9, "t": "other"}], **sections)["delta"]
    assert (delta["new"], delta["changed"], delta["unchanged"], delta["deleted"]) == (0, 1, 30, 9)
    status, text = verified(capsys, **sections)
    assert (status, text.count("; proved by states, not by what is in the files: ok\n")) == (0, 2)


def exporters_beam_run(records: Records, **more: Any) -> Any:
    put(records)
    return json.loads(Path(exporters_beam.run(config(**more)).manifest).read_text())


def bytes_of(root: str) -> dict[str, bytes]:
    return {name.partition("/")[2]: path.read_bytes() for name, path in visible(Path(root)).items()}


def test_two_workers_and_what_was_broken_off_give_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.undo()
    found = []
    for name in ("one", "two", "resumed"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        run(many(range(300)))
        put([*many(range(50, 300)), *many(range(10), v=1), *many(range(900, 950))])
        shutil.move("out", "first")
        shutil.copytree("first/.exporters", "out/.exporters")
        if name == "resumed":
            with monkeypatch.context() as broken:
                broken.setattr("exporters_beam.engine.delta.write_state", stop)
                with pytest.raises(ExportError, match="broken off"):
                    exporters_beam.run(config())
            assert len([*Path("out/.exporters").glob("deltas-*/*.state")]) == 1
        spec = load(config()).with_settings(resume=name == "resumed")
        launch(spec, 2 if name == "two" else None)
        (state,) = Path("out/.exporters").glob("deltas-*/000002-*.state")
        found.append((bytes_of("out"), state.read_bytes()))
    assert found[0] == found[1] == found[2]
    assert sum(data.count(b'"deleted"') for data in found[0][0].values()) == 40


def launch(spec: Any, workers: int | None) -> None:
    from exporters_beam.runners.launch import run as launched

    launched(spec, workers=workers)


def stop(*args: Any) -> str:
    raise DestinationError("broken off")


def test_what_cannot_be_compared_ends_the_run_or_is_set_aside(capsys):
    twice = [*many(range(20)), {"id": 3.0, "at.place": "x"}]
    with pytest.raises(
        DestinationError, match=r"two records of this snapshot have the same key: {'id': 3.*; nothing was deliv"
    ):
        run(twice)
    assert not Path("out").exists()
    odd = [{"id": 1}, {"id": None, "at.place": 1}, {"id": 2, "at": {"place": "x"}, "_change": "new"}]
    with pytest.raises(ExportError, match=r"the record has no at.place, which is part of its key \(delta.key\)"):
        run([*many(range(20)), odd[0]])
    manifest, deltas = run([*many(range(20, 40)), *odd], on_error={"action": "dead_letter"})
    assert len(deltas) == manifest["delta"]["state"]["keys"] == 20
    letters = [json.loads(line) for line in Path(manifest["dead_letters"]["name"]).read_text().splitlines()]
    assert sorted((letter["step"], letter["message"].partition(",")[0]) for letter in letters) == [
        ("delta", "the record has a field _change already"),
        ("delta", "the record has no at.place"),
        ("delta", "the record has no value in id"),
    ]
    assert run(many(range(20, 41)), on_error={"action": "dead_letter"})[0]["delta"]["number"] == 2
    csv = {"formatter": {"name": "csv", "options": {"fields": ["id", "v", "_change"]}}, "delta": {"key": ["id"]}}
    with pytest.raises(
        ConfigError, match=r"delta.key: the delivery before has the key id, at.place, so the two cannot be comp"
    ):
        run(many(range(3)), **csv)
    assert verified(capsys)[0] == 0


def test_options(capsys):
    own = {"delta": {"key": ["id"], "deletes": False, "field": "what"}}
    run(many(range(9)), **own)
    manifest, deltas = run(many(range(5, 10)), **own)
    assert deltas == [{"id": 9, "at": {"place": "x"}, "t": "yy", "what": "new"}] and manifest["delta"]["deleted"] == 5
    manifest, deltas = run(many(range(5, 10)), delta={**own["delta"], "against": "none"})
    assert manifest["delta"] | {"state": 0} == {
        "number": 3, "base": None, "new": 5, "changed": 0, "unchanged": 0, "deleted": 0, "state": 0,
    }  # fmt: skip
    assert run(many(range(5, 10)), **own)[1] == []
    assert verified(capsys, **own)[1].count(": ok\n") == 4


def test_a_delivery_that_others_stand_on_is_not_replaced(capsys):
    daily = {"writer": {"name": "fs", "options": {"filebase": "out/%Y/part-", "compression": "none"}}}
    run(many(range(9)), **daily)
    with pytest.raises(ConfigError, match="delivery 1 has the same names, and this one would replace it"):
        run(many(range(8)), **daily)
    assert len(next(iter(delivered(Path("out")).values()))) == 9
    for place, why in {
        "manifest": r"was changed after it was written",
        "state": r"state of delivery 1 has changed since",
    }.items():
        (path,) = [*Path("out/.exporters").glob("deltas-*/*.state" if place == "state" else "[0-9a-f]*/manifest.json")]
        before = path.read_bytes()
        for data in (before.replace(b"\x00", b"\x01") if place == "state" else before.replace(b'"new": 9', b'"new": 8'), None):
            path.unlink() if data is None else path.write_bytes(data)
            with pytest.raises(ConfigError, match=why if data else "is gone|cannot be read"):
                run(many(range(8)), writer={"name": "fs", "options": {"filebase": "out/%Y/part-"}}, staging=None)
            assert verified(capsys, **daily)[0] == 1
            path.write_bytes(before)
    assert verified(capsys, **daily)[0] == 0


def test_what_was_delivered_has_to_be_what_the_states_say(capsys):
    run(many(range(9)))
    run([*many(range(3, 9)), *many(range(3), v=1)])
    last = max(visible(Path("out")).items())[1]
    manifest = next(path for path in Path("out/.exporters").glob("[0-9a-f]*/manifest.json") if last.name in path.read_text()
                    and '"number": 2' in path.read_text())  # fmt: skip
    for old, new, why in (
        (b'"v":1', b'"v":2', "delivery 2: a changed record is another one in its files than in its state"),
        (b"changed", b"deleted", "delivery 2: a record that is changed in its state is deleted in its files"),
    ):
        data, books = last.read_bytes(), manifest.read_bytes()
        last.write_bytes(data.replace(old, new, 1))
        resign(manifest, last)
        link = next(Path("out/.exporters").glob("deltas-*/000002-*.json"))
        kept = link.read_text()
        link.write_text(json.dumps({key: value for key, value in json.loads(kept).items() if key != "checksum"}))
        status, text = verified(capsys)
        assert status == 1 and f"error: {why}\n" in text and "Traceback" not in text
        for path, before in ((last, data), (manifest, books), (link, kept.encode())):
            path.write_bytes(before)
    assert verified(capsys)[0] == 0


def resign(manifest: Path, file: Path) -> None:
    """A manifest that says of a file what it holds now."""
    from hashlib import md5

    from exporters_beam.reporting.manifest import manifest_checksum

    told = json.loads(manifest.read_text())
    told["files"][0]["md5"] = md5(file.read_bytes(), usedforsecurity=False).hexdigest()
    manifest.write_text(json.dumps({**told, "checksum": manifest_checksum(told)}))


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no dates": ({"writer": {"name": "fs", "options": {"filebase": "out/part-"}}}, "the next delivery would replace this one"),
    "new_only": ({"new_only": True}, "deltas are those of whole snapshots"),
    "writers": (
        {"writer": None, "writers": [{"name": "fs", "as": n, "options": {"filebase": f"{n}/%d-"}} for n in "ab"]},
        "deltas go to one `writer`",
    ),
    "no files": ({"writer": {"name": "console"}}, "delivers no files"),
    "limit": (
        {"writer": {"name": "fs", "options": {"filebase": NAME, "items_limit": 3}}},
        "what lies behind the limit would count as deleted",
    ),
    "hold": ({"checks": {"records": {"min": 1}, "on_fail": "hold"}}, "what is held would be compared again"),
    "fields": ({"formatter": {"name": "csv", "options": {"fields": ["id"]}}}, "files have no _change"),
    "no key": ({"delta": {"key": []}}, "delta.key: name at least one field"),
    "key twice": ({"delta": {"key": ["a", "a"]}}, "a is named twice"),
    "field": ({"delta": {"key": ["a"], "field": "a"}}, "a is a field of the key"),
    "against": ({"delta": {"key": ["a"], "against": "first"}}, "against"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_together(case):
    sections, why = REFUSED[case]
    with pytest.raises(ConfigError) as caught:
        make(load({name: part for name, part in config(**sections).items() if part is not None}))
    assert why in str(caught.value)


def test_checks_look_at_the_whole_snapshot():
    checks = {"checks": {"records": {"min": 9}}}
    run(many(range(9)), **checks)
    assert run(many(range(9)), **checks)[0]["checks"] == {"records": 9}
    with pytest.raises(DestinationError, match="8 records, at least 9 are wanted"):
        run(many(range(8)), **checks)


class TestHashes:
    told = Told(("id",), "_change")

    def test_values_that_differ_have_other_hashes(self):
        values = [1, 1.0, True, "1", None, "null", [1], {"a": 1}, float("nan"), Decimal("1.0"), date(2026, 1, 1),
                  datetime(2026, 1, 1), "2026-01-01", b"1", -0.0, 0.0, "\ud800", 10**30]  # fmt: skip
        assert len({record_hash({"v": value}) for value in values}) == len(values)
        assert record_hash({"a": 1, "b": 2}) == record_hash({"b": 2, "a": 1})

    @pytest.mark.parametrize(
        "value", [Decimal("1.50"), date(2026, 1, 1), datetime(2026, 1, 1, 2), b"\xff", {"\0decimal": "1"}, "ä"]
    )
    def test_a_deleted_record_has_the_values_of_its_key(self, value):
        record = {"id": value, "v": 1}
        assert record_of(self.told.key(record)[32:]) == {"id": value}
        assert self.told.key({"id": value, "v": 2})[:16] == self.told.key(record)[:16] == self.told.key_hash({"id": value})

    @pytest.mark.parametrize(
        "record",
        [
            {"id": [Decimal(1), {"\0decimal": "1"}]},
            {"id": float("nan")},
            {"id": {1, 2}},
            {"id": 1, "v": object()},
            [1],
            {"v": 1},
        ],
    )
    def test_records_that_cannot_be_compared(self, record):
        with pytest.raises(RecordError):
            self.told.key(record)

    def test_a_state_is_read_bucket_by_bucket(self, tmp_path):
        rng = random.Random(1)
        rows = {rng.randbytes(16): (rng.randbytes(16), b"{}" * (n % 9)) for n in range(2000)}
        by = [[(own, *rest) for own, rest in rows.items() if own[0] == bucket] for bucket in range(256)]
        packed = [packed_rows(each) for each in by]
        write_state(str(tmp_path / "s"), [len(each) for each in packed], packed)
        assert [list(rows_of(str(tmp_path / "s"), bucket)) for bucket in range(256)] == [sorted(each) for each in by]
