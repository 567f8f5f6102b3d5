"""One config with a mistake in every newer section: all are told at once, each with its place, the value and what to do."""

from __future__ import annotations

from exporters_beam.cli.main import main

CONFIG = """\
reader: {name: fs, options: {input: items.jl}}
partition_by: [{weekday: scraped_at}]
steps:
  - transform: {name: fields, options: {slect: [a], types: {price: nmuber}, mask: {mail: {kep: 2}}, hash: {mail: sha255}}}
  - transform: {name: explode, options: {feild: offers}}
  - transform: {name: lookup, options: {file: shops.csv, "on": shop, how: outer}}
  - transform: {name: sort_keys, options: {order: up}}
  - filter: {name: sample, options: {rate: 2}}
writers:
  - {name: fs, as: Archive, options: {filebase: a/items-}, wen: "item['a']"}
  - {name: fs, as: b, when: "item['a'] ==", options: {filebase: b/items-}}
  - {name: fs, as: b, options: {filebase: c/items-}, formatter: {name: csv, options: {quoting: al, decimal: ';;'}}}
done: {sucess_file: _SUCCESS}
bundle: {name: day.tar}
encrypt: {pgp: []}
empty: fiel
checks: {records: {mn: 1, change: 50}, coverage: {price: 1.5}, on_fail: hodl}
statistics: {feilds: [a]}
contract: {schema: {properties: {a: {type: strin}}}, new_fields: dorp}
new_only: {settled: soon, changed: reed}
after: archive
follow: {evry: 10s}
window: {field: at, size: 7m, zone: Mars, lateness: soon, ahed: 1d}
tests:
  - {nam: x, given: [{a: 1}], expects: []}
"""

TOLD = """\
2:17: partition_by[0].weekday: unknown key; did you mean "day"?
4:41: steps[0].transform.options.slect: unknown option; did you mean "select"?
5:32: steps[1].transform.options.field: this option is missing
5:42: steps[1].transform.options.feild: unknown option; did you mean "field"?
6:31: steps[2].transform.options.key: this option is missing
6:58: steps[2].transform.options.on: unknown option; known: file, key,
6:70: steps[2].transform.options.how: the string "outer" is not one of the choices; known: left, inner, required
7:44: steps[3].transform.options.order: unknown option; known: nested
8:38: steps[4].filter.options.rate: 2 is too large: it is a share of the records, 0 to 1; write 0.02 for 2 percent
10:16: writers[0].as: "Archive" is not a name for a writer: it begins with a small letter,
10:60: writers[0].wen: unknown key; did you mean "when"?
11:23: writers[1].when: line 1, column 13: invalid syntax
12:16: writers[2].as: writers[1] is called b already; give one of them another name: as: b_2
12:87: writers[2].formatter.options.quoting: the string "al" is not one of the choices; did you mean "all"?
13:8: done.sucess_file: unknown option; did you mean "success_file"?
14:10: bundle.name: "day.tar" does not end with .zip, and the archive is one of zip
15:11: encrypt.pgp: give at least one public key
16:1: empty: "fiel" is not one of the choices; did you mean "file"?
17:64: checks.on_fail: the string "hodl" is not one of the choices; did you mean "hold"?
18:14: statistics.feilds: unknown option; did you mean "fields"?
19:54: contract.new_fields: the string "dorp" is not one of the choices; did you mean "drop"?
20:27: new_only.changed: the string "reed" is not one of the choices; did you mean "read"?
21:1: after: "archive" is not one of keep, delete and {archive: FOLDER}; known: keep, delete
22:10: follow.evry: unknown option; did you mean "every"?
23:59: window.ahed: unknown option; did you mean "ahead"?
25:5: tests[0].name: this key is missing
25:6: tests[0].nam: unknown key; did you mean "name"?
25:31: tests[0].expects: unknown key; did you mean "expect"?
"""


def test_all_are_told_at_once_each_with_its_place(tmp_path, capsys):
    path = tmp_path / "bad.yaml"
    path.write_text(CONFIG)
    assert main(["validate", str(path)]) == 2
    told = capsys.readouterr().err.splitlines()
    expected = TOLD.splitlines()
    assert [line for line, each in zip(told, expected, strict=True) if not line.startswith(f"error: {path}:{each}")] == []
