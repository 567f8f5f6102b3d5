"""What a transform gives in the place of a record is a record, or an error of the one it was given."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from exporters_beam.errors import ConfigError, ExportError
from exporters_beam.reporting.report import Report
from exporters_beam.transforms.filters import PythonexpFilter
from exporters_beam.transforms.results import surely_gives

from helpers import delivered


@dataclass(frozen=True, kw_only=True)
class Given:
    """Give what the field `give` names."""

    kind: ClassVar[str] = "transform"

    def map(self, record: Any) -> Any:
        record["seen"] = True
        return {"none": None, "list": [1], "text": "x", "number": 7, "object": record}[record["give"]]


@dataclass(frozen=True, kw_only=True)
class Several:
    """The same, for several records."""

    kind: ClassVar[str] = "transform"

    def flat_map(self, record: Any) -> Any:
        return {"none": None, "text": "xy", "object": {"a": 1}, "nones": [{}, None], "two": [{"a": 1}, {"a": 2}]}[
            record["give"]
        ]


@pytest.fixture
def source(tmp_path: Path) -> Callable[..., str]:
    def write(*values: str) -> str:
        (tmp_path / "a.jl").write_text("".join(f'{{"give": "{value}"}}\n' for value in values))
        return str(tmp_path / "a.jl")

    return write


@pytest.mark.parametrize(
    ("given", "told"),
    [("none", "the transform gave None in place of the record; it has to give an object. Methods such as item.update"),
     ("list", r"the transform gave a list, \[1\] in place of the record; it has to give an object: \{'field': value\}"),
     ("text", "gave a string, 'x' in place of the record"), ("number", "gave a number, 7 in place of the record")],
)  # fmt: skip
def test_what_is_no_object_is_an_error_of_its_record(
    given: str, told: str, source: Callable[..., str], export: Callable[..., Report]
) -> None:
    with pytest.raises(ExportError, match=rf"a\.jl: record 2: transform: .*{told}"):
        export(source("object", given), transform={"name": f"{__name__}:Given"})


@pytest.mark.parametrize("transform", ["Given", "pythonmap"])
def test_it_becomes_a_dead_letter_with_the_record_as_it_came(
    transform: str, source: Callable[..., str], export: Callable[..., Report], tmp_path: Path
) -> None:
    sections: dict[str, Any] = {"name": f"{__name__}:Given"}
    if transform == "pythonmap":
        sections = {"name": "pythonmap", "options": {"map": "item if item['give'] == 'object' else item.update(x=1)"}}
    report = export(source("object", "none", "list", "object"), transform=sections, on_error="dead_letter",
                    options={"compression": "none"})  # fmt: skip
    assert len(next(iter(delivered(tmp_path / "out").values()))) == 2
    assert report.counts["transform.dead_lettered"] == 2
    text = Path(report.dead_letters["name"]).read_text()
    assert text.count("None in place") + text.count("a list, [1] in place") == 2
    assert '"seen"' not in text and '"x"' not in text


@pytest.mark.parametrize("given", ["none", "text", "object", "nones"])
def test_several_records_are_objects_too(given: str, source: Callable[..., str], export: Callable[..., Report]) -> None:
    with pytest.raises(ExportError, match=r"a\.jl: record 2: transform: the transform gave "):
        export(source("two", given), transform={"name": f"{__name__}:Several"})


def test_a_function_that_gives_a_text_is_an_error(
    source: Callable[..., str], export: Callable[..., Report], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_texts.py").write_text("def text(record):\n    return 'x'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ExportError, match="record 1: transform: own_texts:text gave 'x'"):
        export(source("x"), transform={"name": "python", "options": {"function": "own_texts:text"}})
    sys.modules.pop("own_texts", None)


NOTHING = ["item.update(a=1)", "item.update({'a': 1})", "item['l'].sort()", "item.clear() and item", "None",
           "item['tags'].append(1) if item else item['tags'].remove(2)"]  # fmt: skip


@pytest.mark.parametrize("source", NOTHING)
def test_an_expression_that_surely_gives_none_is_refused(source: str, export: Callable[..., Report]) -> None:
    with pytest.raises(ConfigError, match="map: the expression gives None whatever the record is"):
        export("nowhere", transform={"name": "pythonmap", "options": {"map": source}})
    with pytest.raises(ConfigError, match="every record is dropped"):
        PythonexpFilter(python_expression=source)


@pytest.mark.parametrize(
    ("source", "kind"),
    [("[item]", "a list"), ("'x'", "a string, 'x'"), ("{1, 2}", "a set"), ("item['a'] > 1", "a boolean"),
     ("7", "a number, 7"), ("f'{item}'", "a string"), ("sorted(item)", "a list"), ("[1] if item else len(item)", "a number"),
     ("not item", "a boolean")],
)  # fmt: skip
def test_files_cannot_hold_values_that_are_no_objects(source: str, kind: str, export: Callable[..., Report]) -> None:
    assert surely_gives(source) == kind
    with pytest.raises(ConfigError, match=r"transform.options.map: the expression gives .* whatever the record is; files"):
        export("nowhere", transform={"name": "pythonmap", "options": {"map": source}})


@pytest.mark.parametrize(
    "source",
    ["item", "dict(item, a=1)", "{'a': 1}", "item.update(a=1) or item", "item.pop('a')", "item['x']", "item if item else 1",
     "{k: v for k, v in item.items()}", "", "{", "item['a'].update"],
)  # fmt: skip
def test_what_is_not_proved_is_not_refused(source: str) -> None:
    assert surely_gives(source) == ""


@pytest.fixture
def printed(capfdbinary: Any) -> Iterator[Any]:
    yield capfdbinary


def test_writers_without_files_take_values_but_none(source: Callable[..., str], printed: Any) -> None:
    import exporters_beam

    config: dict[str, Any] = {
        "reader": {"name": "fs", "options": {"input": source("x", "y")}},
        "writer": {"name": "console"},
    }
    exporters_beam.run({**config, "transform": {"name": "pythonmap", "options": {"map": "[item['give']]"}}})
    assert b'["x"]' in printed.readouterr().out.replace(b"\n", b"")
    with pytest.raises(ExportError, match="gave None in place of the record"):
        exporters_beam.run({**config, "transform": {"name": "pythonmap", "options": {"map": "item.get('nope')"}}})
