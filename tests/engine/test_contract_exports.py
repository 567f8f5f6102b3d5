"""A contract in a config: what is delivered, what fails with which sentence, what is replayed, and mistakes in the section."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import exporters_beam
from exporters_beam.cli.main import main

from helpers import delivered, jsonl

OFFERS = {"items": {"properties": {"n": {"type": "integer"}}}}
SCHEMA = {"properties": {"sku": {"type": "string"}, "price": {"type": "number"}, "offers": OFFERS}, "required": ["sku"]}
RECORDS: list[dict[str, Any]] = [
    {"sku": "a", "price": 1},
    {"sku": "b", "price": "2.5"},
    {"sku": "c", "price": 3, "colour": "red", "offers": [{"n": 1, "m": 2}]},
    {"sku": 4, "price": 4},
]


def config(folder: Path, contract: Any, **sections: Any) -> dict[str, Any]:
    (folder / "in.jl").write_bytes(jsonl(RECORDS))
    return {
        "reader": {"name": "fs", "options": {"input": str(folder / "in.jl")}},
        "contract": contract,
        "writer": {"name": "fs", "options": {"filebase": str(folder / "out/part-"), "compression": "none"}},
        **sections,
    }


def test_what_is_not_allowed_is_delivered_left_out_or_set_aside_and_nothing_is_lost(tmp_path) -> None:
    contract = {"schema": SCHEMA, "new_fields": "drop", "types": "dead_letter"}
    report = exporters_beam.run(config(tmp_path, contract))
    assert delivered(tmp_path / "out")["part-0000.jl"] == [RECORDS[0], {"sku": "c", "price": 3, "offers": [{"n": 1}]}]
    letters = [json.loads(line) for line in Path(report.dead_letters["name"]).read_text().splitlines()]
    assert [(each["number"], each["step"], each["path"], each["message"], each["record"]) for each in letters] == [
        (2, "contract_types", "contract", 'price: "2.5" is not a number, as the contract says', RECORDS[1]),
        (4, "contract_types", "contract", "sku: 4 is not a text, as the contract says", RECORDS[3]),
    ]
    assert report.counts["contract_new_fields.colour new, left out"] == 1
    assert report.warnings == (
        "contract: 1 record has the field colour, which its schema does not have; it was left out",
        "contract: 1 record has the field offers[].m, which its schema does not have; it was left out",
    )
    (tmp_path / "c.json").write_text(json.dumps(config(tmp_path, {**contract, "coerce": True})))
    assert main(["replay", str(tmp_path / "c.json"), report.dead_letters["name"], "--quiet"]) == 0
    found = delivered(tmp_path / "out")
    (again,) = (rows for name, rows in found.items() if "replay" in name)
    assert again == [{"sku": "b", "price": 2.5}, {"sku": "4", "price": 4}]


def test_what_is_frozen_ends_the_export_with_field_file_and_record(tmp_path, capsys) -> None:
    (tmp_path / "c.json").write_text(
        json.dumps(config(tmp_path, {"schema": SCHEMA, "new_fields": "freeze", "types": "accept"}))
    )
    assert main(["run", str(tmp_path / "c.json")]) == 1
    assert capsys.readouterr().err == (
        f"error: {tmp_path}/in.jl: record 3: contract_new_fields: colour is a field that the contract does not have "
        "(and 1 more); change its schema, or say with contract.new_fields what becomes of it: accept, drop or dead_letter\n"
    )
    assert not (tmp_path / "out/part-0000.jl").exists()


def test_a_contract_is_for_all_writers_and_stands_behind_the_steps(tmp_path) -> None:
    writers = [{"name": "fs", "as": name, "fields": {"select": [name]}, "options": {"filebase": str(tmp_path / name / "part-")}}
               for name in ("sku", "price")]  # fmt: skip
    steps = [{"transform": {"name": "fields", "options": {"drop": ["colour"], "types": {"price": "number"}}}}]
    asked = config(
        tmp_path, {"schema": SCHEMA, "new_fields": "dead_letter", "types": "dead_letter"}, writers=writers, steps=steps
    )
    report = exporters_beam.run({name: part for name, part in asked.items() if name != "writer"})
    assert {name: delivered(tmp_path / name)["part-0000.jl.gz"] for name in ("sku", "price")} == {
        "sku": [{"sku": "a"}, {"sku": "b"}], "price": [{"price": 1.0}, {"price": 2.5}]}  # fmt: skip
    assert report.counts["contract_new_fields.dead_lettered"] == report.counts["contract_types.dead_lettered"] == 1


def test_a_contract_holds_where_a_config_is_applied_to_records(tmp_path) -> None:
    asked = config(tmp_path, {"schema": SCHEMA, "new_fields": "drop", "types": "dead_letter", "coerce": True})
    found = exporters_beam.apply(asked, [{"sku": 7, "new": 1}, {"price": 1}])
    assert list(found.records) == [{"sku": "7"}]
    assert [(each.step, each.error) for each in found.failed] == [("contract_types", "sku: it is required, and missing")]


MISTAKES = {
    "no schema": ({"new_fields": "drop"}, "contract.schema: this option is missing"),
    "action": ({"schema": SCHEMA, "new_fields": "freez"}, 'contract.new_fields: the string "freez" is not one of the '
               'choices; did you mean "freeze"?'),
    "type": ({"schema": {"properties": {"a": {"type": "int"}}}}, 'contract.schema.properties.a.type: there is no type "int"; '
             'did you mean "integer"?'),
    "empty": ({"schema": {}}, 'contract.schema: give a JSON Schema that has "properties" or an Avro schema'),
    "file": ({"schema": "no-such-file.json"}, "contract.schema: no-such-file.json cannot be read: No such file or directory"),
    "kind": ("strict", 'contract: wrong type: found "strict", expected a mapping: {schema: {properties: …}}'),
    "unknown": ({"schema": SCHEMA, "type": "drop"}, 'contract.type: unknown option; did you mean "types"?'),
    "coerce": ({"schema": SCHEMA, "coerce": "yes"}, 'contract.coerce: wrong type: found the string "yes", expected'),
    "list": ({"schema": {"properties": {"a": {"type": "array"}}}}, "contract.schema.properties.a: say what the list holds"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_its_place(mistake, tmp_path, capsys) -> None:
    given, told = MISTAKES[mistake]
    (tmp_path / "c.json").write_text(json.dumps(config(tmp_path, given)))
    assert main(["validate", str(tmp_path / "c.json")]) == 2
    assert told in capsys.readouterr().err
